"""Stored responses: a file each, in a folder for each tenant.

Files in the runtime directory, because several gateways run on a node and any of them may be asked
for a response: all see the same files, a gateway or the control process may die without losing one,
and nothing but the file system has to be up. They are written aside and renamed, so that whoever
reads one sees all of it or none. What changes a response that others may change as well holds a
lock. Ids are random and tell when they were made, so what is expired is seen by its name.

A tenant's folder is named by a hash, and an id is looked for in the folder of whoever asks alone:
another tenant's response is not there.

Everything here waits for the disk: call it in a thread.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from config.settings import ResponsesSettings
from gateway.auth.identity import Identity
from gateway.responses.ids import is_response_id
from gateway.responses.keeping import Kept, is_expired, to_drop
from gateway.responses.presence import forget_absent, is_present
from gateway.responses.record import Change, Record, orphaned

_ID_CHARS = len("resp_") + 48
_SWEEP_SHARE = 16  # of the bytes that are allowed: after so many new ones the rest is looked at
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
log = logging.getLogger(__name__)


def tenant_of(identity: Identity) -> str:
    """The folder of whoever asks: keys of one tenant share it, a key without has its own."""
    owner = f"tenant/{identity.tenant}" if identity.tenant else f"key/{identity.key_id}"
    return hashlib.blake2b(owner.encode(), digest_size=16).hexdigest()


class Store:
    """`folder` is private to the user, and made here; `clock` is wall clock."""

    def __init__(
        self, folder: Path, settings: ResponsesSettings, clock: Callable[[], float] = time.time
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._ttl_s = settings.ttl_s
        self._max_bytes = settings.max_bytes
        self._clock = clock
        self._unswept_bytes = 0

    def keep(self, tenant: str, record: Record) -> bool:
        """Store a response; whether there was room for it."""
        data = _encode(record)
        if len(data) > self._max_bytes:
            log.warning("%s: a response of %d bytes is not stored", record.response.id, len(data))
            return False
        try:
            self._write(self._path(tenant, record.response.id), data)
        except OSError as error:
            log.warning("%s: not stored: %s", record.response.id, error.strerror)
            return False
        self._unswept_bytes += len(data)
        if self._unswept_bytes > self._max_bytes // _SWEEP_SHARE:
            self.sweep()
        return True

    def get(self, tenant: str, response_id: str) -> Record | None:
        """A response; None: there is none, or none any more.

        One whose owner died failed.
        """
        record = self._read(tenant, response_id)
        if record is None or not record.running or is_present(self.folder, record.owner):
            return record
        return self.change(tenant, response_id, orphaned)

    def change(self, tenant: str, response_id: str, change: Change) -> Record | None:
        """What a response is after a change that may depend on what it is; None: there is none.

        Raises:
            OSError: it could not be written.
        """
        with self._locked():
            record = self._read(tenant, response_id)
            changed = None if record is None else change(record)
            if changed is not None:
                self._write(self._path(tenant, response_id), _encode(changed))
            return changed or record

    def delete(self, tenant: str, response_id: str) -> bool:
        """Forget a response; whether there was one."""
        with self._locked():
            found = self._read(tenant, response_id) is not None
            if found:
                self._remove(tenant, response_id)
            return found

    def is_given_up(self, tenant: str, response_id: str) -> bool:
        """Whether nobody will write more of a response or its events."""
        record = self._read(tenant, response_id)
        return record is None or not is_present(self.folder, record.owner)

    def events_path(self, tenant: str, response_id: str) -> Path:
        """Where the events of a response are, if they are kept."""
        return self.folder / tenant / f"{response_id}.events"

    def sweep(self) -> None:
        """Forget what is expired or too much, and what dead processes left."""
        self._unswept_bytes = 0
        with contextlib.suppress(OSError):  # the next time, then
            kept = list(self._kept())
            for one in to_drop(kept, self._clock(), self._ttl_s, self._max_bytes):
                self._remove(one.tenant, one.id)
            forget_absent(self.folder)

    def _kept(self) -> Iterator[Kept]:
        sizes: Counter[tuple[str, str]] = Counter()
        for tenant in os.scandir(self.folder):
            if tenant.is_dir(follow_symlinks=False):
                for file in os.scandir(tenant.path):
                    response_id = file.name[:_ID_CHARS]
                    with contextlib.suppress(FileNotFoundError):
                        if is_response_id(response_id):
                            size_bytes = file.stat(follow_symlinks=False).st_size
                            sizes[tenant.name, response_id] += size_bytes
        for (name, response_id), size_bytes in sizes.items():
            yield Kept(name, response_id, size_bytes)

    def _remove(self, tenant: str, response_id: str) -> None:
        for path in (self.folder / tenant).glob(f"{response_id}.*"):
            path.unlink(missing_ok=True)

    def _read(self, tenant: str, response_id: str) -> Record | None:
        if not is_response_id(response_id):
            return None
        if is_expired(response_id, self._clock(), self._ttl_s):
            return None
        try:
            return _decode(self._path(tenant, response_id).read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            log.warning("%s: cannot be read: %s", response_id, error)
            return None

    def _path(self, tenant: str, response_id: str) -> Path:
        return self.folder / tenant / f"{response_id}.json"

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        aside = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
