"""Changes the file of keys, so that servers which read it meanwhile see the old or the new one."""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config.errors import ConfigError, ConflictingCommand
from gateway.auth.keys import KeyRecord, KeysFile, decode, encode
from gateway.auth.watched import WatchedFile

MAX_BYTES = 8 * 1024 * 1024  # some 25,000 keys
LOCK_S = 10.0
_PAUSE_S = 0.05


class KeyStore:
    """The file of keys, for whoever creates and revokes them; blocks."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser().resolve()  # a link to the file stays one

    def read(self) -> tuple[KeyRecord, ...]:
        """All keys; none when there is no file yet.

        Raises:
            ConfigError: it is no file of keys.
            OSError: it cannot be read.
        """
        try:
            return decode(WatchedFile(str(self.path), MAX_BYTES).read(), str(self.path)).keys
        except FileNotFoundError:
            return ()

    def add(self, record: KeyRecord) -> None:
        """Keep one more key.

        Raises:
            ConfigError: as `read`, or there is no room for it.
            OSError: the folder is not there or may not be written.
        """
        self._change(lambda keys: (*keys, record))

    def revoke(self, key_id: str) -> KeyRecord:
        """Forget a key and tell which it was; a running server refuses it within a second.

        Raises:
            ConfigError: as `read`, or there is no such key.
            OSError: the file cannot be written.
        """
        found: list[KeyRecord] = []

        def without(keys: tuple[KeyRecord, ...]) -> tuple[KeyRecord, ...]:
            found.extend(record for record in keys if record.id == key_id)
            if not found:
                raise ConfigError(f"{self.path} has no key {key_id!r}; see mlx-serving keys list")
            return tuple(record for record in keys if record.id != key_id)

        self._change(without)
        return found[0]

    def _change(self, change: Callable[[tuple[KeyRecord, ...]], tuple[KeyRecord, ...]]) -> None:
        with self._locked():
            data = encode(KeysFile(keys=change(self.read())))
            if len(data) > MAX_BYTES:
                raise ConfigError(f"{self.path}: no room for more keys; revoke some")
            self._replace(data)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the folder: the file itself is another one after each change."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _lock(folder, str(self.path))
            yield
            os.fsync(folder)
        finally:
            os.close(folder)

    def _replace(self, data: bytes) -> None:
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(opened, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, self.path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _lock(folder: int, path: str) -> None:
    deadline_at = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline_at:
                raise ConflictingCommand(f"{path}: somebody else is changing it") from None
            time.sleep(_PAUSE_S)
        else:
            return
