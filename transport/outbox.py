"""Hands items from any thread to the one thread that owns the sockets and polls."""

import contextlib
import os
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue with a file descriptor that is readable while there is something to take."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)

    def fileno(self) -> int:
        """For a poller; readable after a `put`."""
        return self._read_fd

    def put(self, item: T) -> None:
        """Queue one item; any thread."""
        self._items.append(item)
        self.wake()

    def put_here(self, item: T) -> None:
        """Queue one item; only the polling thread, which takes it before it polls again."""
        self._items.append(item)

    def wake(self) -> None:
        """Make the descriptor readable without an item; any thread."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so the reader wakes anyway
            os.write(self._write_fd, b".")

    def take(self, *, readable: bool = True) -> list[T]:
        """All that is queued now, in order; the polling thread only, which may know that the
        descriptor was not `readable`."""
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._read_fd, 65536)
        return [self._items.popleft() for _ in range(len(self._items))]

    def close(self) -> None:
        """Free the descriptors; no `put` may come after."""
        os.close(self._read_fd)
        os.close(self._write_fd)
