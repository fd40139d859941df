"""A client's request as parts that go to engines, and their vectors put together again.

Each part has texts of like length, which are computed together with little padding; several
engines share a large request, and one that dies loses a part and not the whole.
"""

import asyncio
from collections.abc import Iterator, Sequence

from config.errors import Cancelled, ServingError
from config.limits import Allowance
from gateway.dispatch.types import Completed, CompletedEmbedding
from transport.messages.data import TokenLogprobs

PART_TOKENS = 16_384
PART_INPUTS = 512


def parts_of(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of the inputs that go together, the shortest first."""
    part: list[int] = []
    tokens = 0
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if part and (tokens + lengths[place] > PART_TOKENS or len(part) == PART_INPUTS):
            yield part
            part, tokens = [], 0
        part.append(place)
        tokens += lengths[place]
    if part:
        yield part


class Collected:
    """The vectors of all inputs, as they come; event loop only."""

    def __init__(self, inputs: int) -> None:
        self.vectors: list[bytes] = [b""] * inputs
        self.allowance: Allowance | None = None
        self._left = inputs
        # Every part ends within the request's time.
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def all(self) -> list[bytes]:
        """The vectors, once all are there.

        Raises:
            ServingError: a part failed.
        """
        await self._done
        return self.vectors

    def put(self, places: list[int], vectors: bytes) -> None:
        """A part is there."""
        size = len(vectors) // len(places)
        for i, place in enumerate(places):
            self.vectors[place] = vectors[i * size : (i + 1) * size]
        self._left -= len(places)
        if self._left == 0 and not self._done.done():
            self._done.set_result(None)

    def fail(self, error: ServingError) -> None:
        """A part failed, so the request has; the first failure counts."""
        if not self._done.done():
            self._done.set_exception(error)


class Part:
    """A `Sink` for the vectors of some inputs."""

    def __init__(self, of: Collected, places: list[int]) -> None:
        self._of = of
        self._places = places

    def on_allowed(self, allowance: Allowance) -> None:
        """See `Sink`."""
        self._of.allowance = allowance

    def on_tokens(self, tokens: list[int], logprobs: Sequence[TokenLogprobs] = ()) -> None:
        """See `Sink`; an embedding model has none."""

    def on_end(self, end: Completed | ServingError) -> None:
        """See `Sink`."""
        if isinstance(end, CompletedEmbedding):
            self._of.put(self._places, end.vectors)
        elif isinstance(end, ServingError):
            self._of.fail(end)
        else:
            self._of.fail(Cancelled("the request was cancelled"))
