"""An embedding engine's requests, from their arrival to their vectors; no sockets.

Every request that `accept` took ends in exactly one `Embedded`, `Finished("cancelled")` or `Failed`
in some `Outputs`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from actors.engine.embedding.model import Embedder, Vectors
from actors.engine.embedding.waiting import Text, Waiting
from actors.engine.request import Key, Outputs, failed
from config.errors import (
    ContextTooLong,
    EngineFailed,
    InvalidRequest,
    QueueFull,
    RequestTimeout,
    ServingError,
)
from transport.messages.data import Embed, Embedded, Failed, Finished
from transport.messages.topology import ModelCard

MAX_WAITING_TOKENS = 4_000_000  # 16 MB, and minutes of work
SMOOTHING = 0.2
FIRST_TOKEN_S = 1e-4  # what a token takes, until one was timed


@dataclass(slots=True, eq=False)
class Request:
    """One request and how far it is; times in monotonic seconds."""

    embed: Embed
    gateway: bytes
    arrived_at: float
    deadline_at: float
    vectors: Vectors
    left: int
    texts: list["Text[Request]"] = field(default_factory=list)
    begun_at: float | None = None

    @property
    def key(self) -> Key:
        """Request ids are their gateway's affair."""
        return self.gateway, self.embed.request_id

    @property
    def prompt_tokens(self) -> int:
        """Of all its texts."""
        return len(self.embed.tokens)


class EmbeddingWork:
    """All requests of one engine; one thread, the one that owns the model."""

    def __init__(self, embedder: Embedder, max_waiting: int) -> None:
        self.embedded_tokens = 0  # since the start
        self.padded_tokens = 0  # the same with padding
        self._embedder = embedder
        self._max_waiting = max_waiting
        self._waiting: Waiting[Request] = Waiting()
        self._known: dict[Key, Request] = {}
        self._token_s = FIRST_TOKEN_S

    def accept(self, embed: Embed, gateway: bytes, now: float, out: Outputs) -> None:
        """Queue a request, or end it with the reason why not; a known id is dropped."""
        if (gateway, embed.request_id) in self._known:
            return
        try:
            check(embed, self._embedder.card)
            self._check_room(embed)
        except ServingError as error:
            out.end(gateway, failed(embed.request_id, error))
            return
        width = embed.dimensions or self._embedder.card.dimensions
        count = len(embed.lengths)
        vectors = np.empty((count, width), np.float32)
        request = Request(embed, gateway, now, now + embed.timeout_s, vectors, count)
        ends = np.cumsum(embed.lengths)[:-1]
        texts = np.split(np.array(embed.tokens, np.int32), ends)
        request.texts = [Text(request, place, tokens) for place, tokens in enumerate(texts)]
        self._known[request.key] = request
        due_at = now + embed.ahead_tokens * self._token_s
        self._waiting.add(request.texts, due_at, self._token_s)

    def step(self, clock: Callable[[], float], out: Outputs) -> int:
        """Compute one batch; how many tokens it had."""
        texts = self._waiting.take(self._embedder.batch_tokens)
        if not texts:
            return 0
        began = clock()
        for request in {text.owner for text in texts}:
            request.begun_at = request.begun_at or began
        vectors = self._embedder.embed([text.tokens for text in texts])
        now = clock()
        sizes = [len(text.tokens) for text in texts]
        self._count(sizes, now - began)
        for text, vector in zip(texts, vectors, strict=True):
            self._give(text, vector if np.isfinite(vector).all() else None, out)
        return sum(sizes)

    def warm(self, rows: int, tokens: int) -> None:
        """Run a made-up batch, for the sake of compiled kernels."""
        self._embedder.embed(
            [np.ones(min(tokens, self._embedder.card.context_tokens), np.int32)] * rows
        )

    def cancel(self, gateway: bytes, request_id: str, out: Outputs) -> None:
        """End a request now; unknown ids ended already."""
        request = self._known.get((gateway, request_id))
        if request is not None:
            self._take_out(request)
            end = Finished(request_id, "cancelled", request.prompt_tokens, 0)
            out.end(gateway, end)

    def lose_gateway(self, gateway: bytes) -> None:
        """Nobody is left to read what this gateway asked for."""
        for request in [it for it in self._known.values() if it.gateway == gateway]:
            self._take_out(request)

    def expire(self, now: float, out: Outputs) -> None:
        """End what is past its deadline."""
        for request in [it for it in self._known.values() if it.deadline_at <= now]:
            text = f"not finished within {request.embed.timeout_s:.1f} s"
            self._fail(request, RequestTimeout(text), out)

    def fail_all(self, error: ServingError, out: Outputs) -> None:
        """End everything with this error."""
        for request in list(self._known.values()):
            self._fail(request, error, out)

    def sign_of_life(self, out: Outputs) -> None:
        """Say something to every gateway that waits for us, be it nothing."""
        for gateway, _ in self._known:
            out.of(gateway)

    @property
    def busy(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self._known)

    @property
    def running(self) -> int:
        """Requests of which a text was computed."""
        return sum(it.begun_at is not None for it in self._known.values())

    @property
    def waiting(self) -> int:
        """Requests of which none was."""
        return len(self._known) - self.running

    @property
    def waiting_tokens(self) -> int:
        """Tokens that are still to be computed."""
        return self._waiting.tokens

    def _check_room(self, embed: Embed) -> None:
        tokens = self._waiting.tokens
        wait_s = tokens * self._token_s
        if len(self._known) >= self._max_waiting or tokens > MAX_WAITING_TOKENS:
            text = f"{len(self._known)} requests with {tokens} tokens wait already"
            raise QueueFull(text, retry_after_s=max(1.0, wait_s / 2))
        if wait_s > embed.timeout_s:
            raise QueueFull(
                f"the queue takes about {wait_s:.0f} s, the request may take "
                f"{embed.timeout_s:.0f} s",
                retry_after_s=wait_s - embed.timeout_s,
            )

    def _count(self, sizes: list[int], took_s: float) -> None:
        tokens = sum(sizes)
        self.embedded_tokens += tokens
        self.padded_tokens += max(sizes) * len(sizes)
        self._token_s += SMOOTHING * (took_s / tokens - self._token_s)

    def _give(self, text: Text[Request], vector: Vectors | None, out: Outputs) -> None:
        request = text.owner
        if request.key not in self._known:  # failed a moment ago, on another of its texts
            return
        if vector is None:
            self._take_out(request)
            error = EngineFailed(f"the vector of input {text.place} is not a number")
            end = Failed(request.embed.request_id, error.code, error.message, retryable=False)
            out.end(request.gateway, end)
            return
        width = request.vectors.shape[1]
        whole = width == self._embedder.card.dimensions
        row = vector if whole else self._embedder.cut(vector[None], width)[0]
        request.vectors[text.place] = row
        request.left -= 1
        if request.left == 0:
            self._finish(request, out)

    def _finish(self, request: Request, out: Outputs) -> None:
        del self._known[request.key]
        queued_s = (request.begun_at or request.arrived_at) - request.arrived_at
        vectors = request.vectors.astype("<f4").tobytes()
        tokens = request.prompt_tokens
        out.end(request.gateway, Embedded(request.embed.request_id, vectors, tokens, queued_s))

    def _take_out(self, request: Request) -> None:
        self._waiting.drop(request.texts)
        del self._known[request.key]

    def _fail(self, request: Request, error: ServingError, out: Outputs) -> None:
        self._take_out(request)
        out.end(request.gateway, failed(request.embed.request_id, error))


def check(embed: Embed, card: ModelCard) -> None:
    """Refuse what would fail in a batch, where it would hurt others.

    Raises:
        InvalidRequest: names what is wrong.
        ContextTooLong: an input has more tokens than the model takes.
    """
    lengths = embed.lengths
    if not lengths or min(lengths) < 1 or sum(lengths) != len(embed.tokens):
        raise InvalidRequest("an input is empty; each needs a token at least", param="input")
    longest = max(lengths)
    if longest > card.context_tokens:
        raise ContextTooLong(
            f"an input has {longest} tokens, this model takes up to {card.context_tokens}",
            param="input",
        )
    if min(embed.tokens) < 0 or max(embed.tokens) >= card.vocab_size:
        raise InvalidRequest(f"token ids must be in 0..{card.vocab_size - 1}", param="input")
    if not 0 <= embed.dimensions <= card.dimensions:
        text = f"dimensions must be from 1 to {card.dimensions}"
        raise InvalidRequest(text, param="dimensions")
    if not math.isfinite(embed.timeout_s):  # it would never be over
        raise InvalidRequest("timeout_s must be a finite number", param="timeout_s")
