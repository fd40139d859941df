"""Options that several commands share. METAVARs FILE and DIR tell shells what to complete."""

import argparse
from os.path import abspath
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

MODEL = "MODEL[=ALIAS]"


def port(text: str) -> int:
    """A TCP port; 0 means any free one."""
    return _between(text, 0, 65535)


def count(text: str) -> int:
    """How many processes."""
    return _between(text, 1, 64)


def positive(text: str) -> int:
    """A number of lines or the like."""
    return _between(text, 1, 1000)


def days(text: str) -> int:
    """How long a key is good: up to ten years."""
    return _between(text, 1, 3650)


def limit(text: str) -> int:
    """Requests, tokens or streams at most."""
    return _between(text, 1, 1_000_000_000)


def not_negative(text: str) -> float:
    """Seconds, up to a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds from 0 to 86400, got {text!r}")
    return seconds


def _between(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"expected a number from {low} to {high}, got {text!r}")
    return number


def add_place(parser: argparse.ArgumentParser) -> None:
    """How to find a running server's runtime directory."""
    parser.add_argument("--port", type=port, metavar="P", help="the server's HTTP port")
    parser.add_argument(
        "--runtime-dir", type=abspath, metavar="DIR", help="where the server has its sockets"
    )


def split_model(text: str) -> tuple[str, str | None]:
    """MODEL or MODEL=ALIAS; a folder may have an equals sign in its name."""
    from pathlib import Path

    if "=" not in text or Path(text).is_dir():
        return text, None
    model, _, alias = text.rpartition("=")
    if not model or not alias:
        raise argparse.ArgumentTypeError(f"expected MODEL or MODEL=ALIAS, got {text!r}")
    return model, alias


def absolute(model: str) -> str:
    """The model as another process can find it: a local folder by its full path."""
    from pathlib import Path

    folder = Path(model).expanduser()
    return str(folder.resolve()) if model != "demo" and folder.is_dir() else model
