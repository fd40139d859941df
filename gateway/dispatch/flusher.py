"""When what was produced is sent: all of one turn of the event loop in one go."""

import asyncio
from collections.abc import Callable

LATER_S = 0.005
AT_ONCE = 32


class Flusher:
    """Calls `flush` soon or a little later, once for all that asked meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        self._loop = loop
        self._flush = flush
        self._soon = self._later = False
        self._asked = 0
        self._timed = False  # a timer runs, of this `later` or of one that was served before

    def soon(self) -> None:
        """Once this turn of the loop has collected all it produces, or `AT_ONCE` asked: then the
        others have something to do while it goes on."""
        self._asked += 1
        if self._asked == AT_ONCE:
            self._soon = True
            self._run()
        elif not self._soon:
            self._soon = True
            self._loop.call_soon(self._run)

    def after_answers(self) -> None:
        """Once what became ready in this turn was written to clients, who wait for that first."""
        self._loop.call_soon(self.soon)

    def now(self) -> None:
        """Instead of soon: a turn of the loop less, for those who are sure that all is there."""
        if self._soon:
            self._run()

    def later(self) -> None:
        """With what comes next, or in some milliseconds.

        Nobody waits for a lease that is given back, and one that goes with the next request costs
        control no wake-up of its own.
        """
        if not self._soon and not self._later:
            self._later = True
            if not self._timed:
                self._timed = True
                self._loop.call_later(LATER_S, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timed = False
        self._run()

    def _run(self) -> None:
        """Once; whatever else was to do the same finds it done."""
        if self._soon or self._later:
            self._soon = self._later = False
            self._asked = 0
            self._flush()
