"""When what was produced is sent: all of one turn of the event loop in one go."""

import asyncio
from collections.abc import Callable

LATER_S = 0.005


class Flusher:
    """Calls `flush` soon or a little later, once for all that asked meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None]) -> None:
        self._loop = loop
        self._flush = flush
        self._soon = self._later = False

    def soon(self) -> None:
        """Once this turn of the loop has collected all it produces."""
        if not self._soon:
            self._soon = True
            self._loop.call_soon(self._run)

    def later(self) -> None:
        """With what comes next, or in some milliseconds.

        Nobody waits for a lease that is given back, and one that goes with the next request costs
        control no wake-up of its own.
        """
        if not self._soon and not self._later:
            self._later = True
            self._loop.call_later(LATER_S, self._run)

    def _run(self) -> None:
        self._soon = self._later = False
        self._flush()
