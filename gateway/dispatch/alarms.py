"""When streams are looked at although nothing happened to them."""

import asyncio
import math
import time
from collections.abc import Callable

from gateway.dispatch.stream import State, Stream
from gateway.dispatch.wheel import TICK_S, TimerWheel


class Alarms:
    """Calls `due` with each stream and the time at its `wake_at`; event loop only."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, due: Callable[[Stream, float], None]
    ) -> None:
        self._loop = loop
        self._due = due
        self._wheel: TimerWheel[Stream] = TimerWheel()
        self._ticking = False

    def set(self, stream: Stream, at: float) -> None:
        """Look at the stream then, or at its deadline, and at no other time.

        One whose alarm is set for an earlier time keeps it: looking once more costs less than
        moving it, and most have ended by then.
        """
        wake_at = at if at < stream.deadline_at else stream.deadline_at
        stream.wake_at = wake_at
        if wake_at < stream.alarm_at:
            stream.alarm_at = wake_at
            self._wheel.set(stream, wake_at)
            if not self._ticking:
                self._ticking = True
                self._loop.call_later(TICK_S, self._tick)

    def discard(self, stream: Stream) -> None:
        """Never look at the stream again."""
        self._wheel.discard(stream)

    def _tick(self) -> None:
        now = time.monotonic()
        for stream in self._wheel.due(now):
            stream.alarm_at = math.inf
            if stream.wake_at <= now:
                self._due(stream, now)
            elif stream.state is not State.ENDED:  # a moment ago, by what was due before it
                self.set(stream, stream.wake_at)
        self._ticking = bool(self._wheel)
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)
