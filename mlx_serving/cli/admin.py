"""`mlx-serving admin VERB`: ask a running server's supervisor, over its admin socket."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlx_serving.cli.arguments import MODEL, add_place, count, not_negative, positive, split_model

if TYPE_CHECKING:
    from mlx_serving.cli.arguments import Commands

Verb = Callable[[str, str], ArgumentParser]

_NAME = "a child, a group or a model"


def add(commands: "Commands", common: ArgumentParser) -> None:
    """Describe the command and its verbs to the parser."""
    parser = commands.add_parser("admin", help="look at and steer a running server")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, help: str) -> ArgumentParser:
        added = verbs.add_parser(name, parents=[common], help=help)
        added.add_argument("--json", action="store_true", help="print the raw reply")
        add_place(added)
        added.set_defaults(run=run, verb=name)
        return added

    verb("status", "how every process fares")
    verb("children", "the tree of groups and children")
    verb("version", "what runs there")
    verb("config", "the configuration in force")
    _add_steering(verb)
    _add_watching(verb)


def _add_steering(verb: Verb) -> None:
    restart = verb("restart", "stop and start anew")
    restart.add_argument("name", metavar="NAME", help=_NAME)
    recycle = verb("recycle", "replace engines by fresh ones, without losing a stream")
    recycle.add_argument("name", metavar="NAME", help=_NAME)
    stop = verb("stop", "stop a part, or the whole server")
    stop.add_argument("name", metavar="NAME", nargs="?", help=f"{_NAME}; without it the server")
    drain = verb("drain", "let running work finish and take nothing new")
    drain.add_argument("name", metavar="NAME", help=_NAME)
    drain.add_argument(
        "--timeout", type=not_negative, default=30.0, metavar="SECONDS", help="at most so long"
    )
    load = verb("load", "serve one more model")
    load.add_argument("model", type=split_model, metavar=MODEL)
    load.add_argument("--replicas", type=count, metavar="N", help="engines of it")
    unload = verb("unload", "serve a model no longer")
    unload.add_argument("name", metavar="NAME", help="a model")
    for parser in (restart, recycle, stop, drain, load, unload):
        parser.add_argument("--no-wait", action="store_true", help="do not wait until it is done")


def _add_watching(verb: Verb) -> None:
    logs = verb("logs", "what a child wrote")
    logs.add_argument("name", metavar="NAME", help=_NAME)
    logs.add_argument("--lines", type=positive, default=100, metavar="N", help="the last N")
    events = verb("events", "what happened")
    events.add_argument(
        "--since", type=int, default=0, metavar="N", help="only those after event number N"
    )
    for parser in (logs, events):
        parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")


def run(arguments: Namespace) -> int:
    """Ask, wait for the answer and print it."""
    from mlx_serving.cli.admin_session import session

    return session(arguments)
