"""When what was produced is sent: all of one turn of the event loop in one go."""

import asyncio
from collections.abc import Callable

AT_ONCE = 64


class Flusher:
    """Calls `flush` soon, once for all that asked meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        self._loop = loop
        self._flush = flush
        self._asked = 0  # since the last time
        self._later = False

    def soon(self) -> None:
        """Once this turn of the loop has collected all it produces, or `AT_ONCE` asked: then the
        others have something to do while it goes on."""
        self._asked += 1
        if self._asked == 1:
            self._loop.call_soon(self.now)
        elif self._asked == AT_ONCE:
            self.now()

    def now(self) -> None:
        """Instead of soon: a turn of the loop less, for those who are sure that all is there."""
        if self._asked:
            self._asked = 0
            self._flush()

    def after_answers(self) -> None:
        """Once what became ready in this turn was written to clients, who wait for that first."""
        if not self._later:
            self._later = True
            self._loop.call_soon(self._answered)

    def _answered(self) -> None:
        self._later = False
        self.soon()
