"""A small file that may change while we run."""

import os
import stat
from pathlib import Path

from config.errors import ConfigError

LOOK_S = 1.0


class WatchedFile:
    """Says when a file has to be read again; it is looked at once in `LOOK_S` at most.

    Whoever changes it should write aside and rename, else half of it may be read.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = Path(path).expanduser()
        self._max_bytes = max_bytes
        self._look_at = 0.0
        self._seen: tuple[int, int, int] | str | None = "nothing yet"

    def changed(self, now: float) -> bool:
        """Whether it is another one than at the last look, or gone; True at the first.

        `now` is the monotonic clock.
        """
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def read(self) -> bytes:
        """The content.

        Raises:
            ConfigError: no plain file, too large, or anybody may write it.
            OSError: it is not there or may not be read.
        """
        # Without O_NONBLOCK to open a named pipe waits for a writer.
        with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{self.path}: this is no plain file")
            if found.st_mode & stat.S_IWOTH:
                raise ConfigError(f"{self.path}: everybody may write it; run chmod o-w on it")
            data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise ConfigError(f"{self.path}: larger than {self._max_bytes} bytes")
        return data
