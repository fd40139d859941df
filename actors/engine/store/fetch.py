"""Files on their way from disk to memory, so that no step of the engine waits for one. No mlx."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

AHEAD_BYTES = 64 * 1024 * 1024  # read and not taken yet
TOGETHER_BYTES = 16 * 1024 * 1024
log = logging.getLogger(__name__)


class File(NamedTuple):
    """One that should be there, with the head that it should have."""

    name: str
    head: bytes
    size: int  # of what follows the head


Load = Callable[[Sequence[File]], list[memoryview]]


class Reading:
    """Files that are read one after the other, up to the first that is not there."""

    def __init__(self, files: Iterable[File]) -> None:
        self.files = files
        self.bodies: deque[memoryview] = deque()
        self.ended = False  # nothing more comes to `bodies`
        self.dropped = False  # nobody wants the rest


class Fetcher:
    """One thread that reads for all; the others are called by one thread."""

    def __init__(self, load: Load) -> None:
        """`load` gives what was read of these files, up to the first that is not there."""
        self._load = load
        self._changed = threading.Condition()
        self._queue: deque[Reading] = deque()
        self._ahead = 0  # bytes
        self._closing = False
        threading.Thread(target=self._work, name="kv-fetch", daemon=True).start()

    def begin(self, files: Iterable[File]) -> Reading:
        """Read these after all those before; `files` is gone through in the thread."""
        reading = Reading(files)
        with self._changed:
            self._queue.append(reading)
            self._changed.notify_all()
        return reading

    def take(self, reading: Reading, most_bytes: int) -> list[memoryview]:
        """What has come of it and was not taken: so much, but at least one if there is any."""
        found: list[memoryview] = []
        with self._changed:
            while reading.bodies and (not found or most_bytes >= reading.bodies[0].nbytes):
                found.append(reading.bodies.popleft())
                most_bytes -= found[-1].nbytes
                self._ahead -= found[-1].nbytes
            self._changed.notify_all()
        return found

    def drop(self, reading: Reading) -> None:
        """Read no more of it."""
        with self._changed:
            reading.dropped = True
            self._ahead -= sum(body.nbytes for body in reading.bodies)
            reading.bodies.clear()
            self._changed.notify_all()

    def wait(self, reading: Reading, within_s: float) -> None:
        """Until something has come of it, or nothing will."""
        with self._changed:
            self._changed.wait_for(lambda: reading.bodies or reading.ended, within_s)

    def close(self) -> None:
        """Read nothing more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (reading := self._next()) is not None:
            try:
                self._read(reading)
            except Exception:  # whoever waits for it must not wait for ever
                log.exception("stored blocks could not be read")
            with self._changed:
                reading.ended = True
                self._changed.notify_all()

    def _next(self) -> Reading | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            return None if self._closing else self._queue.popleft()

    def _read(self, reading: Reading) -> None:
        for files in _together(reading.files):
            if not self._wait_for_room(reading, sum(file.size for file in files)):
                return
            bodies = self._load(files)
            with self._changed:
                if not reading.dropped:
                    reading.bodies += bodies
                    self._ahead += sum(body.nbytes for body in bodies)
                self._changed.notify_all()
            if len(bodies) < len(files):
                return

    def _wait_for_room(self, reading: Reading, size: int) -> bool:
        """False: nothing more is to be read of it."""

        def may_go_on() -> bool:
            free = not self._ahead or self._ahead + size <= AHEAD_BYTES
            return free or reading.dropped or self._closing

        with self._changed:
            self._changed.wait_for(may_go_on)
            return not reading.dropped and not self._closing


def _together(files: Iterable[File]) -> Iterator[list[File]]:
    """As many as are read at once."""
    found: list[File] = []
    for file in files:
        if found and sum(one.size for one in found) + file.size > TOGETHER_BYTES:
            yield found
            found = []
        found.append(file)
    if found:
        yield found
