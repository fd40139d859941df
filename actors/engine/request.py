"""A request in the engine, and what is sent about it."""

from concurrent.futures import Future
from dataclasses import dataclass

from actors.engine.grammar.matcher import Matcher
from actors.engine.rows import Row
from config.errors import ServingError
from transport.messages.data import (
    Delta,
    Ended,
    Failed,
    Finished,
    FinishReason,
    Generate,
    TokenLogprobs,
)

Key = tuple[bytes, str]


@dataclass(slots=True, eq=False)
class Request:
    """One request and what became of it; times in monotonic seconds."""

    generate: Generate
    gateway: bytes
    row: Row
    arrived_at: float
    deadline_at: float
    matcher: Future[Matcher] | None = None  # being compiled, or done
    admitted_at: float | None = None
    first_token_at: float | None = None

    @property
    def key(self) -> Key:
        """Request ids are their gateway's affair."""
        return self.gateway, self.generate.request_id

    @property
    def resumed(self) -> bool:
        """Whether it lost another engine."""
        return self.generate.resumed_tokens > 0

    @property
    def priority(self) -> int:
        """Lower goes earlier."""
        return self.generate.priority

    @property
    def prompt_tokens(self) -> int:
        """What there is to read."""
        return len(self.row.tokens)

    @property
    def ready(self) -> bool:
        """Whether nothing but room is missing."""
        return self.matcher is None or self.matcher.done()

    def finished(self, reason: FinishReason, now: float) -> Finished:
        """The message that it is complete."""
        generate, first = self.generate, self.first_token_at
        return Finished(
            request_id=generate.request_id,
            reason=reason,
            prompt_tokens=len(generate.tokens) - generate.resumed_tokens,
            completion_tokens=len(self.row.answer),
            cached_tokens=self.row.cached,
            queued_s=(self.admitted_at or now) - self.arrived_at,
            first_token_s=None if first is None else first - self.arrived_at,
        )


class Outputs:
    """What there is to send, by gateway; to a gateway with nothing, that we are alive."""

    def __init__(self) -> None:
        self.by_gateway: dict[bytes, tuple[list[Delta], list[Ended]]] = {}

    def delta(self, request: Request, token: int, logprobs: TokenLogprobs | None) -> None:
        """One more token of a request."""
        held = [] if logprobs is None else [logprobs]
        cached = request.row.cached if len(request.row.answer) == 1 else 0
        delta = Delta(request.generate.request_id, [token], held, cached)
        self.of(request.gateway)[0].append(delta)

    def end(self, gateway: bytes, end: Ended) -> None:
        """The end of a request."""
        self.of(gateway)[1].append(end)

    def of(self, gateway: bytes) -> tuple[list[Delta], list[Ended]]:
        """The deltas and the ends for one gateway."""
        found = self.by_gateway.get(gateway)
        if found is None:
            found = self.by_gateway[gateway] = ([], [])
        return found


def failed(request_id: str, error: ServingError) -> Failed:
    """The message for an error."""
    return Failed(
        request_id, error.code, error.message, error.retryable, error.retry_after_s, error.param
    )
