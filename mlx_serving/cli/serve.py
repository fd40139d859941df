"""`mlx-serving serve`: run the server until it is told to stop."""

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from mlx_serving.cli.arguments import MODEL, absolute, add_place, count, split_model

if TYPE_CHECKING:
    from config.settings import Settings
    from mlx_serving.cli.arguments import Commands


def add(commands: "Commands", common: ArgumentParser) -> None:
    """Describe the command to the parser."""
    parser = commands.add_parser("serve", parents=[common], help="serve models over HTTP")
    parser.add_argument(
        "models",
        nargs="*",
        type=split_model,
        metavar=MODEL,
        help="demo (the default), a local folder or a hub id; ALIAS is what clients call it",
    )
    parser.add_argument("--replicas", type=count, metavar="N", help="engines of each model")
    parser.add_argument("--gateways", type=count, metavar="N", help="HTTP processes")
    parser.add_argument("--host", metavar="H", help="address to listen on (127.0.0.1)")
    add_place(parser)
    parser.add_argument(
        "--keys-file", metavar="FILE", help="API keys that clients need; see mlx-serving keys"
    )
    parser.add_argument("--config", metavar="FILE", help="settings; see mlx-serving config")
    parser.add_argument(
        "--strict-config", action="store_true", help="refuse deprecated and ineffective settings"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when the process that started us dies"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Serve; the exit code is the supervisor's."""
    settings = settings_for(arguments)
    _check_models(settings)
    _check_auth(settings)
    _warn_of_hardware(settings)
    from mlx_serving.serve import run_server

    return run_server(
        settings, verbose=arguments.verbose, exit_with_parent=arguments.exit_with_parent
    )


def settings_for(arguments: Namespace) -> "Settings":
    """The settings that the command line, the environment and the file give together.

    Raises:
        ConfigError: with every fault.
    """
    from pathlib import Path

    from msgspec.structs import replace

    from config.load import read_settings

    file = Path(arguments.config) if arguments.config else None
    settings, notices = read_settings(
        file, overrides=_overrides(arguments), strict=arguments.strict_config
    )
    for notice in notices:
        print(notice.text, file=sys.stderr)
    if arguments.replicas is None:
        return settings
    models = tuple(replace(model, replicas=arguments.replicas) for model in settings.models)
    return replace(settings, models=models)


def _overrides(arguments: Namespace) -> dict[str, Any]:
    server = {
        "host": arguments.host,
        "port": arguments.port,
        "gateways": arguments.gateways,
        "runtime_dir": arguments.runtime_dir,
    }
    models = [{"model": absolute(model), "alias": alias} for model, alias in arguments.models]
    auth = {"keys_file": arguments.keys_file}
    return {"server": server, "models": models or None, "auth": auth}


def _check_models(settings: "Settings") -> None:
    import re
    from pathlib import Path

    from config.errors import ConfigError

    for model in settings.models:
        if model.model.startswith(("/", "./", "../", "~")):
            if not Path(model.model).expanduser().is_dir():
                raise ConfigError(f"no folder {model.model}; name an existing one or a hub id")
        elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model.model):
            raise ConfigError(f"{model.model!r} is neither demo nor a folder nor a hub id")


def _check_auth(settings: "Settings") -> None:
    from gateway.auth.check import check_files

    check_files(settings.auth)


def _warn_of_hardware(settings: "Settings") -> None:
    from config.hardware import detect, warning

    text = warning(detect(), settings.hardware.policy)
    if text:
        print(f"mlx-serving: {text}", file=sys.stderr)
