"""Tells whether the process that works on something still lives."""

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

_SUFFIX = ".alive"


class Presence:
    """Holds a locked file as long as this process lives; the system unlocks it at its end."""

    def __init__(self, folder: Path) -> None:
        self.name = secrets.token_hex(8)
        self._path = folder / f"{self.name}{_SUFFIX}"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Be gone."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def is_present(folder: Path, name: str) -> bool:
    """Whether the holder of this name lives."""
    try:
        fd = os.open(folder / f"{name}{_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def forget_absent(folder: Path) -> None:
    """Remove what the dead left."""
    for path in folder.glob(f"*{_SUFFIX}"):
        if not is_present(folder, path.name.removesuffix(_SUFFIX)):
            with contextlib.suppress(OSError):
                path.unlink()
