"""A folder of stored blocks that outlives the process. Knows files and threads, and no mlx.

Files are written by one thread, aside, and renamed when they are whole; nothing waits for the
disk's cache, since a file that a power cut tore fails its checksum. All engines of a node may
share the folder: what a file holds is in its name, so there is no index to keep in step. The
time of modification is the time of last use.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from actors.engine.store.record import CHECKSUM_BYTES, checksum, payload

QUEUE_BYTES = 64 * 1024 * 1024  # copies that wait for the writer
KEEP_FRACTION = 0.9  # of the limit, when there is too much
_READERS = 4
_SUFFIX, _ASIDE = ".safetensors", ".tmp"
_ABANDONED_S = 600.0  # a file aside of this age has lost its writer

log = logging.getLogger(__name__)


class DiskStats(Struct, frozen=True):
    """Counts since the start; `bytes` is what this process knows to lie in the folder."""

    written_blocks: int
    skipped_blocks: int  # evicted faster than the disk writes
    loaded_blocks: int
    rejected_blocks: int  # damaged or foreign
    bytes: int
    writing: bool  # False: the disk is full or refuses


class Offer(Struct, frozen=True):
    """One file that could be written."""

    name: str
    size: int
    used_time: float
    parts: Callable[[], list[bytes]]  # the head, then the arrays; asked only when there is room


class Job(Struct, frozen=True):
    """One file to write."""

    offer: Offer
    parts: list[bytes]


class DiskTier:
    """One thread offers, one loads; nothing here raises OSError.

    `identity` names the model's files (`model_identity`): blocks of other models are other blocks.
    """

    def __init__(self, directory: Path, max_bytes: int, identity: str) -> None:
        self.identity = identity
        self.max_bytes = max_bytes
        self._folder = directory
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._pending = 0  # bytes offered and not yet written
        self._bytes = 0
        self._written = self._skipped = self._loaded = self._rejected = 0
        self._writing, self._closing, self._opened = True, False, False
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="kv-read")
        self._writer = threading.Thread(target=self._work, name="kv-write", daemon=True)
        self._writer.start()

    # --- the engine's side ---

    def offer(self, offer: Offer, until: float | None = None) -> None:
        """Have a block written, if there is room in the queue, or will be until this moment.

        `until` is `time.monotonic()` seconds; None waits for nothing.
        """
        if self._touch(offer.name, offer.used_time):
            return
        size = offer.size
        with self._changed:
            if until is not None:
                left_s = until - time.monotonic()
                self._changed.wait_for(lambda: self._has_room(size) or not self._writing, left_s)
            if not self._writing or size > self.max_bytes or not self._has_room(size):
                self._skipped += 1
                return
        job = Job(offer, offer.parts())
        with self._changed:
            self._pending += size
            self._jobs.append(job)
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._pending or self._pending + size <= QUEUE_BYTES

    def has(self, name: str) -> bool:
        """Whether there is a file of this name; it may still be a bad one."""
        return os.path.exists(self._path(name))

    def load(self, wanted: Sequence[tuple[str, bytes, int]]) -> list[memoryview]:
        """The payloads of these (name, expected head, payload bytes), up to the first not there.

        Reads in threads and waits for them: not for the engine's thread. A file that is damaged or
        not what its name says is deleted.
        """
        found: list[memoryview] = []
        for body in self._readers.map(lambda one: self._read(*one), wanted):
            if body is None:
                break
            found.append(body)
        for name, _, _ in reversed(wanted[: len(found)]):  # the first are used by most
            self._touch(name)
        with self._changed:
            self._loaded += len(found)
        return found

    def stats(self) -> DiskStats:
        """Counters for metrics."""
        with self._changed:
            return DiskStats(
                written_blocks=self._written,
                skipped_blocks=self._skipped,
                loaded_blocks=self._loaded,
                rejected_blocks=self._rejected,
                bytes=self._bytes,
                writing=self._writing,
            )

    def flush(self, within_s: float) -> bool:
        """Wait until all that was offered is written; False when time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._opened and not self._pending, within_s)

    def close(self, within_s: float) -> None:
        """Write what was offered and end the threads; what is not done in time is left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join(within_s)
        self._readers.shutdown(wait=False, cancel_futures=True)

    # --- files ---

    def _path(self, name: str) -> Path:
        return self._folder / (name + _SUFFIX)

    def _touch(self, name: str, used_time: float | None = None) -> bool:
        """Note a use, by default now; False when there is no such file."""
        try:
            os.utime(self._path(name), None if used_time is None else (used_time, used_time))
        except OSError:
            return False
        return True

    def _read(self, name: str, expected_head: bytes, size: int) -> memoryview | None:
        path = self._path(name)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size != len(expected_head) + size + CHECKSUM_BYTES:
                    raise ValueError("its size is wrong")
                body = payload(file.read(), expected_head)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._reject(path, error)
            return None
        return body

    def _reject(self, path: Path, error: Exception) -> None:
        with self._changed:
            self._rejected += 1
            first = self._rejected == 1
        if first:
            log.warning(
                "kv_cache.disk: deleted %s: %s; others like it go without a word", path, error
            )
        _delete(path)

    # --- the writer's thread ---

    def _work(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._trim()
        except OSError as error:
            self._stop_writing(error)
        with self._changed:
            self._opened = True
            self._changed.notify_all()
        while (job := self._next()) is not None:
            try:
                self._write(job)
            except OSError as error:
                self._stop_writing(error)
            with self._changed:
                self._pending -= job.offer.size
                self._changed.notify_all()

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            return self._jobs.popleft() if self._jobs else None

    def _write(self, job: Job) -> None:
        if not self._writing:
            return
        aside = self._folder / f"{job.offer.name}.{os.getpid()}{_ASIDE}"
        try:
            with aside.open("wb") as file:
                for part in job.parts:
                    file.write(part)
                file.write(checksum(job.parts))
                size = file.tell()
            os.utime(aside, (job.offer.used_time, job.offer.used_time))
            aside.replace(self._path(job.offer.name))
        except OSError:
            _delete(aside)
            raise
        with self._changed:
            self._written += 1
            self._bytes += size
        if self._bytes > self.max_bytes:
            self._trim()

    def _trim(self) -> None:
        """Count what is there, whoever wrote it, and make room when it is too much."""
        with os.scandir(self._folder) as entries:
            ours = [entry for entry in entries if entry.name.endswith((_SUFFIX, _ASIDE))]
        found = [(stat, Path(entry.path)) for entry in ours if (stat := _stat(entry))]
        files = sorted((stat.st_mtime, stat.st_size, path) for stat, path in found)
        total = sum(size for _, size, _ in files)
        keep = self.max_bytes * KEEP_FRACTION if total > self.max_bytes else total
        abandoned = time.time() - _ABANDONED_S
        for used, size, path in files:
            gone = used < abandoned if path.suffix == _ASIDE else total > keep
            if gone:
                _delete(path)
                total -= size
        with self._changed:
            self._bytes = total

    def _stop_writing(self, error: OSError) -> None:
        with self._changed:
            first, self._writing = self._writing, False
        if first:
            log.warning("kv_cache.disk: %s; nothing more is written to it", error)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None  # another engine has deleted it


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("cannot delete %s: %s", path, error)
