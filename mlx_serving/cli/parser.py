"""The words and options of the command line."""

import argparse
import sys
from typing import Any, NoReturn

from mlx_serving.cli import admin, chat, completion, config, keys, serve, version


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        print(f"mlx-serving: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> Parser:
    """The parser of `mlx-serving`; its result names the command's function in `run`."""
    parser = Parser(
        prog="mlx-serving", description="Serve language models on one Mac or a fleet of them."
    )
    parser.add_argument(
        "--version", action=version.ShowVersion, nargs=0, help="print the version and leave"
    )
    common = Parser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="say more, of errors too")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (serve, admin, keys, chat, config, completion, version):
        command.add(commands, common)
    return parser
