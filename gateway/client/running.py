"""The requests of each client, and how they end: in one message, whatever happens."""

import asyncio
import logging
from collections.abc import Callable

import zmq

from config.errors import Cancelled, ServingError
from gateway.answer import Answers, Ending
from gateway.text.pieces import Piece
from transport.messages.client import (
    Chunk,
    Failed,
    Finished,
    FromGateway,
    Models,
    Tokens,
    ToolCallPart,
)
from transport.messages.data import TokenLogprobs

MAX_OWED = 1000
UNREAD = "the client did not read its messages"
log = logging.getLogger(__name__)


class Peer:
    """One client, as long as it has requests.

    When it is gone, everything of it is dropped. When it does not read, so that its queue is full,
    its requests are cancelled, and what ends them is sent as soon as there is room; above
    `MAX_OWED` such messages it is one instead, which ends them all.
    """

    def __init__(self, identity: bytes, send: Callable[[bytes, FromGateway], None]) -> None:
        self.running: dict[str, Running] = {}
        self._identity = identity
        self._send = send
        self._owed: list[FromGateway] = []

    @property
    def idle(self) -> bool:
        """Nothing is left to be said to it."""
        return not self.running and not self._owed

    def add(self, request_id: str) -> "Running":
        """A new request."""
        running = self.running[request_id] = Running(self, request_id)
        return running

    def send(self, message: FromGateway) -> None:
        """Send what is owed and then this."""
        try:
            self._pay()
            self._send(self._identity, message)
        except zmq.Again:
            self._stuck(message)
        except zmq.ZMQError:
            log.debug("client %s is gone", self._identity.hex())
            self.drop()

    def finish(self, message: Finished | Failed | Tokens) -> None:
        """End a request with its last message; one that ended already stays so."""
        running = self.running.pop(message.request_id, None)
        if running is not None:
            running.stop()
            self.send(message)

    def fail(self, request_id: str, error: ServingError) -> None:
        """End a request with an error."""
        self.finish(failed(request_id, error))

    def cancel(self, request_id: str) -> None:
        """Its client wants no more of it."""
        running = self.running.get(request_id)
        if running is not None:
            self.finish(Finished(request_id, "cancelled", *running.cost()))

    def drop(self) -> None:
        """Nobody is there any more."""
        self._owed.clear()
        running, self.running = self.running, {}
        for request in running.values():
            request.stop()

    def _pay(self) -> None:
        sent = 0
        try:
            for message in self._owed:
                self._send(self._identity, message)
                sent += 1
        finally:
            del self._owed[:sent]

    def _stuck(self, message: FromGateway) -> None:
        if isinstance(message, Finished | Failed | Models | Tokens):
            self._owed.append(message)
        for request_id in list(self.running):
            self.running.pop(request_id).stop()
            self._owed.append(Failed(request_id, Cancelled.code, UNREAD, retryable=False))
        if len(self._owed) > MAX_OWED:
            text = f"{UNREAD}; all its requests are over"
            self._owed = [Failed("", Cancelled.code, text, retryable=False)]


class Running:
    """One request from arrival to end."""

    def __init__(self, peer: Peer, request_id: str) -> None:
        self.request_id = request_id
        self.task: asyncio.Task[None] | None = None
        self.answers: Answers | None = None
        self._peer = peer
        self._ends: dict[int, Ending] = {}
        self._n = 1

    def outputs(self, n: int) -> "list[RunningAnswer]":
        """What takes its `n` answers."""
        self._n = n
        return [RunningAnswer(self, index) for index in range(n)]

    def send(self, chunk: Chunk) -> None:
        """A part of an answer."""
        self._peer.send(chunk)

    def end(self, index: int, end: Ending | ServingError) -> None:
        """An answer ended; with the last one, or the first that fails, the request does."""
        if isinstance(end, ServingError):
            self._peer.fail(self.request_id, end)
            return
        self._ends[index] = end
        if len(self._ends) == self._n:
            self._peer.finish(self._finished())

    def cost(self) -> tuple[int, int]:
        """Prompt and completion tokens so far."""
        return self.answers.cost if self.answers else (0, 0)

    def stop(self) -> None:
        """Whatever is still under way for it ends; nothing is sent."""
        if self.answers is not None:
            self.answers.cancel()
        elif self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def _finished(self) -> Finished:
        ends = [self._ends[index] for index in range(self._n)]
        return Finished(
            self.request_id,
            ends[0].reason,
            ends[0].prompt_tokens,
            sum(end.completion_tokens for end in ends),
            min(end.cached_tokens for end in ends),  # the others found what the first had read
            [end.reason for end in ends] if self._n > 1 else [],
        )


class RunningAnswer:
    """One answer of a request; an `Output`."""

    def __init__(self, running: Running, index: int) -> None:
        self._running = running
        self._request_id = running.request_id
        self._index = index

    def on_text(self, text: str, tokens: list[int]) -> None:
        """See `Output`."""
        self._running.send(Chunk(self._request_id, text, tokens, self._index))

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """See `Output`."""
        calls = [
            ToolCallPart(call.index, call.arguments, call.id, call.name)
            for call in piece.tool_calls
        ]
        self._running.send(
            Chunk(
                self._request_id,
                piece.content,
                tokens,
                self._index,
                logprobs,
                piece.reasoning,
                calls,
            )
        )

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        self._running.end(self._index, end)


def failed(request_id: str, error: ServingError) -> Failed:
    """The message for an error."""
    return Failed(
        request_id, error.code, error.message, error.retryable, error.param, error.retry_after_s
    )
