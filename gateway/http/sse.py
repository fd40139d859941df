"""Answers that are sent as they come: server-sent events, without a task switch for each.

A token becomes bytes in the callback that brings it and goes straight to the transport, which
collects what one loop turn wrote. The head is held back until it is known that there is an answer.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Generic

import msgspec

from config.errors import ServingError
from gateway.answer import Ending
from gateway.http.chunks import DONE, Chunks, L
from gateway.http.errors import error_event
from gateway.http.logprobs import Spelling
from gateway.http.server.exchange import EventSink, Request
from gateway.http.shapes import usage
from gateway.text.pieces import Piece
from transport.messages.data import TokenLogprobs

KEEP_ALIVE_S = 10.0
_KEEP_ALIVE = b": keep-alive\n\n"
_encode = msgspec.json.Encoder().encode


class Patience:
    """Keeps a client company whose stream cannot be prepared yet, as its model is being loaded."""

    __slots__ = ("_heard_at", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._heard_at = request.arrived_at

    def show(self) -> None:
        """It goes on; to be called often. Begins the stream when its client heard nothing for so
        long, and from then on errors are events."""
        now = time.monotonic()
        if now - self._heard_at >= KEEP_ALIVE_S:
            self._heard_at = now
            self._request.start_events().write(_KEEP_ALIVE)


class HeldEvents:
    """The events of one request, on the event loop; held back until the first one of its answer.

    Where nothing is written for a while `idle` is, so that nobody on the way takes the connection
    for dead.
    """

    def __init__(self, first: bytes = b"", idle: bytes = _KEEP_ALIVE) -> None:
        """`first` goes before everything else."""
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._over = False
        self._unsent: list[bytes] = [first]
        self._sink: EventSink | None = None
        self._idle = idle
        self._quiet = True  # since the timer went off last
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, begin: Callable[[], EventSink]) -> None:
        """Send events until the last one; they write themselves, and this only waits.

        Raises:
            ServingError: it failed before; nothing was sent.
        """
        self._timer = self._loop.call_later(KEEP_ALIVE_S, self._keep_alive)
        try:
            await self._started
            sink = begin()
            sink.write(b"".join(self._unsent))
            self._sink = sink
            await self._done
            sink.end()
        finally:
            self._timer.cancel()

    def write(self, event: bytes) -> None:
        """Send one event, or keep it until the head is out; after the end it is dropped."""
        if self._over:
            return
        self._quiet = False
        if self._sink is not None:
            self._sink.write(event)
            return
        self._unsent.append(event)
        if not self._started.done():
            self._started.set_result(None)

    def finish(self) -> None:
        """There are no more events."""
        self._over = True
        if not self._done.done():
            self._done.set_result(None)

    def fail(self, error: ServingError, event: bytes) -> None:
        """End with an event that tells of an error, or only with the error if nothing was sent."""
        if self._started.done():
            self.write(event)
        else:
            self._started.set_exception(error)
        self.finish()

    def _keep_alive(self) -> None:
        if self._quiet:
            self.write(self._idle)
        self._quiet = True
        self._timer = self._loop.call_later(KEEP_ALIVE_S, self._keep_alive)


class EventStream(HeldEvents, Generic[L]):
    """The events of several choices; `n` in a row are of one prompt."""

    def __init__(self, chunks: Chunks[L], *, n: int = 1) -> None:
        super().__init__()
        self.chunks = chunks
        self._n = n
        self._choices: list[StreamedChoice[L]] = []
        self._ends: dict[int, Ending] = {}

    def choice(self, spelling: Spelling[L] | None = None) -> "StreamedChoice[L]":
        """The output of one more choice; make all of them before the first begins."""
        index = len(self._choices)
        choice = StreamedChoice(self, index, spelling)
        self._choices.append(choice)
        self._unsent.append(self.chunks.first(index))
        return choice

    def end(self, index: int, end: Ending | ServingError) -> None:
        """A choice ended; with the last one the stream ends."""
        if isinstance(end, ServingError):
            self.fail(end, error_event(end))
            return
        self._ends[index] = end
        event = self.chunks.last(index, end.reason)
        last = len(self._ends) == len(self._choices)
        if last:
            if self.chunks.include_usage:
                ends = [self._ends[place] for place in range(len(self._ends))]
                event += self.chunks.usage(usage(ends, self._n))
            event += DONE
        self.write(event)
        if last:
            self.finish()


class StreamedChoice(Generic[L]):
    """Writes one choice; an `Output`."""

    def __init__(self, stream: EventStream[L], index: int, spelling: Spelling[L] | None) -> None:
        self._stream = stream
        self._index = index
        self._spelling = spelling
        self._write = stream.write
        self._before, self._after = stream.chunks.text_frame(index)

    def on_text(self, text: str, tokens: list[int]) -> None:
        """See `Output`."""
        if text:
            self._write(b"%b%b%b" % (self._before, _encode(text), self._after))

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """See `Output`."""
        if self._spelling is not None and logprobs:
            spelled = self._spelling.spell(tokens, logprobs)
            self._stream.write(self._stream.chunks.piece(self._index, piece, spelled))
        elif piece.reasoning or piece.tool_calls:
            self._stream.write(self._stream.chunks.piece(self._index, piece, None))
        else:
            self.on_text(piece.content, tokens)

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        self._stream.end(self._index, end)
