"""What prompts lack in memory and find on disk: read by a thread, taken in between steps.

No prompt waits for it longer than it would take to compute much of it, and what is being read for
one prompt is not read for another one as well.
"""

from collections import deque
from dataclasses import dataclass

from actors.engine.store.blocks import BlockShelf
from actors.engine.store.fetch import Reading
from actors.engine.store.spill import Spill

LAND_BYTES = 32 * 1024 * 1024  # copied into memory in one step: a few milliseconds
FETCH_S = 5.0  # for the disk, and for the prompts before


@dataclass(slots=True, eq=False)
class Coming:
    """Blocks of a prompt on their way."""

    data: bytes
    salt: str
    known: int  # how many blocks of the prompt come before the next one
    digests: frozenset[bytes]
    reading: Reading
    over: bool = False


@dataclass(slots=True, eq=False)
class Fetch:
    """A prompt's wait; `until` in monotonic seconds. `coming` is its own, once that has begun."""

    data: bytes
    salt: str
    until: float
    over: bool = False
    coming: Coming | None = None


class Arrivals:
    """Of one shelf; engine thread only."""

    def __init__(self, shelf: BlockShelf, spill: Spill) -> None:
        self._shelf = shelf
        self._spill = spill
        self._coming: deque[Coming] = deque()

    def are_due(self, fetch: Fetch, now: float) -> bool:
        """Whether blocks of this prompt are on their way. The first call has them read, or one of
        the next when others of its blocks come for another prompt."""
        if fetch.coming is None and not fetch.over:
            self._begin(fetch)
        if now >= fetch.until or (fetch.coming is not None and fetch.coming.over):
            fetch.over = True
        return not fetch.over

    def _begin(self, fetch: Fetch) -> None:
        known, places = self._shelf.lacking(fetch.data, fetch.salt)
        first = next(places, None)
        if first is not None and any(first[0].digest in c.digests for c in self._coming):
            return
        if first is None or not self._spill.has(*first):
            fetch.over = True
            return
        wanted = [first, *places]
        digests = frozenset(place.digest for place, _ in wanted)
        reading = self._spill.begin(wanted)
        fetch.coming = Coming(fetch.data, fetch.salt, known, digests, reading)
        self._coming.append(fetch.coming)

    def land(self) -> None:
        """Take in some of what was read, in the order in which it was asked for."""
        left = LAND_BYTES
        while self._coming and left > 0:
            coming = self._coming[0]
            ended = coming.reading.ended  # before the last look
            bodies = self._spill.fetcher.take(coming.reading, left)
            left -= sum(body.nbytes for body in bodies)
            if bodies and self._put(coming, bodies):
                continue
            if bodies:
                self._spill.fetcher.drop(coming.reading)
            elif not ended:
                return
            coming.over = True
            self._coming.popleft()

    def _put(self, coming: Coming, bodies: list[memoryview]) -> bool:
        first, coming.known = coming.known, coming.known + len(bodies)
        return self._shelf.put(coming.data, coming.salt, first, bodies)

    def wait(self, within_s: float) -> None:
        """Until something was read, if anything is to come."""
        if self._coming:
            self._spill.fetcher.wait(self._coming[0].reading, within_s)

    def close(self) -> None:
        """Have nothing more read."""
        self._spill.fetcher.close()
