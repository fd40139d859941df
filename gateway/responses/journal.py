"""The events of a background response on disk, so that any gateway can send them again."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

FLUSH_S = 0.05
POLL_S = 0.1
MAX_READ_BYTES = 1024 * 1024
_END = b"\n\n"
_OVER = b": over"  # the last line, which is no event
log = logging.getLogger(__name__)


class Journal:
    """Appends events to a new file a few times a second; event loop only.

    When they cannot be written the file goes, and the response goes on without.
    """

    def __init__(self, path: Path) -> None:
        """Raises: OSError: the file cannot be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd: int | None = os.open(path, flags, 0o600)
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._unwritten: list[bytes] = []

    def put(self, event: bytes) -> None:
        """One more event."""
        if not self._unwritten:
            self._loop.call_later(FLUSH_S, self._flush)
        self._unwritten.append(event)

    def close(self) -> None:
        """There is no more."""
        self._unwritten.append(_OVER + _END)
        self._flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _flush(self) -> None:
        data = b"".join(self._unwritten)
        self._unwritten.clear()
        if self._fd is None or not data:
            return
        try:
            os.write(self._fd, data)
        except OSError as error:
            log.warning("the events of a response are not kept: %s", error.strerror)
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None


async def replayed(path: Path, skip: int, given_up: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The events in a file but the first `skip`, and those that are still to come.

    `given_up`, asked in a thread, says when nobody writes to it any more. A file that goes is the
    end as well.
    """
    offset, rest = 0, b""
    while True:
        last = await asyncio.to_thread(given_up)  # before reading: then nothing can follow
        data = await asyncio.to_thread(_read_from, path, offset)
        if data is None:
            return
        offset += len(data)
        *events, rest = (rest + data).split(_END)
        over = bool(events) and events[-1] == _OVER
        if sent := events[skip : -1 if over else None]:
            yield _END.join(sent) + _END
        skip = max(0, skip - len(events))
        if over or (last and not data):
            return
        if not data:
            await asyncio.sleep(POLL_S)


def _read_from(path: Path, offset: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(MAX_READ_BYTES)
    except FileNotFoundError:
        return None
