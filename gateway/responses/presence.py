"""Tells whether the process that works on something still lives."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".alive"


class Presence:
    """Holds a locked file as long as this process lives; the system unlocks it at its end."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(8)
        self._path = folder / f"{self.name}{_SUFFIX}"
        self._fd = _locked_file(self._path)
        while not self._path.exists():  # it was taken for a dead one's before it was locked
            os.close(self._fd)
            self._fd = _locked_file(self._path)

    def close(self) -> None:
        """Be gone."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def is_present(folder: Path, name: str) -> bool:
    """Whether the holder of this name lives."""
    with _absent(folder / f"{name}{_SUFFIX}") as absent:
        return not absent


def forget_absent(folder: Path) -> None:
    """Remove what the dead left."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with _absent(path) as absent:
            if absent:
                path.unlink(missing_ok=True)


def _locked_file(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


@contextlib.contextmanager
def _absent(path: Path) -> Iterator[bool]:
    """Whether nobody holds this file; meanwhile nobody can begin to."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)
