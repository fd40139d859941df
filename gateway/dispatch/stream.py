"""One request on its way: what is known of it, and the engine it is on."""

import enum
import math
from typing import TYPE_CHECKING

from config.errors import QueueFull, ServingError
from gateway.dispatch.types import (
    Completed,
    EmbeddingRequest,
    Generation,
    GenerationRequest,
    Sink,
)
from transport.messages.control import Lease, Outcome, Release, Route
from transport.messages.data import Embed, Generate, TokenLogprobs
from transport.prefix import block_hashes
from transport.sockets import peer_name

if TYPE_CHECKING:
    from gateway.dispatch.links import EngineLink


class State(enum.Enum):
    """Where a stream is; `recovery.TRANSITIONS` says what leads where."""

    ROUTING = "routing"  # asked control for an engine, or will as soon as there is a control
    WAITING = "waiting"  # was refused; asks again soon, or when an engine comes up
    RUNNING = "running"  # an engine has it
    ENDED = "ended"

    __hash__ = object.__hash__  # Enum's own is written in Python, and each step looks for a rule


class Stream:
    """A request from `submit` to its end. An attempt is its stay on one engine."""

    __slots__ = (
        "alarm_at",
        "asked_at",
        "attempt",
        "attempt_id",
        "base",
        "cached_tokens",
        "deadline_at",
        "excluded",
        "first_at",
        "first_token_at",
        "full",
        "heard_at",
        "last_at",
        "lease",
        "left",
        "link",
        "longest_gap_s",
        "losses",
        "max_gap_s",
        "paused_at",
        "prefix_hashes",
        "queued_s",
        "reached",
        "refusals",
        "request",
        "request_id",
        "resumed",
        "retry_after_s",
        "route_id",
        "sink",
        "started_at",
        "state",
        "submitted_at",
        "tokens",
        "wake_at",
    )

    def __init__(self, request_id: str, request: GenerationRequest, sink: Sink, now: float) -> None:
        self.request_id = request_id
        self.request = request
        self.sink = sink
        self.submitted_at = now
        began_at = now if request.arrived_at is None else request.arrived_at
        self.deadline_at = began_at + request.timeout_s
        self.state = State.ROUTING
        self.tokens: list[int] = []  # all that the sink has
        self.left = request.max_tokens
        self.cached_tokens = 0  # of the prompt, on the engine that gave the first token
        self.first_token_at: float | None = None
        self.longest_gap_s = 0.0
        # on the way to an engine
        self.route_id = ""
        self.asked_at = now  # the first time for the lease that it waits for, or has
        self.prefix_hashes: list[int] | None = None  # of the prompt, once they are needed
        self.wake_at = self.deadline_at  # when to look at it although nothing happened
        self.alarm_at = math.inf  # when that will be, or a look that is too early
        self.excluded: tuple[str, ...] = ()
        self.refusals = 0  # in a row
        self.retry_after_s: float | None = None
        self.resumed = False  # an engine had it and lost it
        self.full: QueueFull | None = None  # what an engine without room said to a new request
        self.losses = 0  # engines lost since the last token
        self.paused_at: float | None = None
        # the attempt
        self.lease: Lease | None = None
        self.link: EngineLink | None = None
        self.attempt = 0
        self.attempt_id = ""
        self.base = 0  # tokens when it began
        self.reached = False  # the engine was there when the request was sent
        self.started_at = now
        self.first_at: float | None = None
        self.last_at = now
        self.max_gap_s = 0.0
        self.queued_s = 0.0  # in the engine, known once it finished
        self.heard_at = now  # when the engine last said anything to this gateway

    @property
    def engine(self) -> str:
        """The engine that has it, as it is named in `excluded`."""
        return peer_name(self.lease.engine_id, self.lease.incarnation) if self.lease else ""

    @property
    def attempt_tokens(self) -> int:
        """Tokens that came in this attempt."""
        return len(self.tokens) - self.base

    def receive(
        self,
        tokens: list[int],
        now: float,
        logprobs: list[TokenLogprobs] | None = None,
        cached_tokens: int = 0,
    ) -> None:
        """New tokens of this attempt, on to the sink; never more than were asked for."""
        gap_s = now - self.last_at
        if gap_s > self.max_gap_s:
            self.max_gap_s = gap_s
        self.last_at = now
        self.left -= len(tokens)
        if self.left < 0:
            tokens = tokens[: self.left]
            self.left = 0
        if not self.tokens:
            count = len(self.request.tokens)
            self.cached_tokens = cached_tokens if cached_tokens < count else count
        self.tokens += tokens
        if logprobs:
            self.sink.on_tokens(tokens, logprobs[: len(tokens)])
        else:
            self.sink.on_tokens(tokens)

    def ask(self, now: float) -> None:
        """Control is asked for an engine; once more, where it did not answer."""
        if self.state is not State.ROUTING:
            self.state = State.ROUTING
            self.asked_at = now

    def begin(self, lease: Lease, now: float) -> None:
        """A new attempt. Its id is its own, so late messages of an earlier one find nobody."""
        self.state = State.RUNNING
        self.lease = lease
        self.attempt += 1
        self.attempt_id = (
            self.request_id if self.attempt == 1 else f"{self.request_id}/{self.attempt}"
        )
        self.base = len(self.tokens)
        self.reached = False
        self.started_at = self.last_at = self.heard_at = now
        self.first_at = None
        self.max_gap_s = self.queued_s = 0.0

    def first_token(self, now: float) -> float | None:
        """The attempt's first token came; returns the pause it ends, if an engine was lost."""
        self.first_at = self.last_at = now
        self.losses = 0
        self.refusals = 0
        if self.first_token_at is None:
            self.first_token_at = now
        pause_s = None if self.paused_at is None else now - self.paused_at
        self.paused_at = None
        return pause_s

    def resume(self, now: float) -> None:
        """It lost an engine that had taken it; the pause counts from its last token."""
        self.resumed = True
        if self.paused_at is None:
            self.paused_at = self.last_at if self.tokens else now

    def route(self, now: float, block_tokens: int) -> Route:
        """The question for an engine; `block_tokens` of those that its model's engines store."""
        if block_tokens and self.prefix_hashes is None:
            tokens, salt = self.request.tokens, self.request.salt
            self.prefix_hashes = block_hashes(tokens, salt, block_tokens)
        return Route(
            route_id=self.route_id,
            model=self.request.model,
            prompt_tokens=len(self.request.tokens) + len(self.tokens),
            max_tokens=self.left,
            session=self.request.session,
            prefix_hashes=self.prefix_hashes or [],
            excluded=list(self.excluded),
            resumed=self.resumed,
            timeout_s=max(self.deadline_at - now, 0.0),
            shared_tokens=self.request.shared_tokens,
            charge=self.request.charge,
        )

    def order(self, now: float) -> Generate | Embed:
        """What the engine that `begin` named is to do."""
        assert self.lease is not None
        if isinstance(self.request, EmbeddingRequest):
            return Embed(
                request_id=self.attempt_id,
                incarnation=self.lease.incarnation,
                tokens=self.request.tokens,
                lengths=self.request.lengths,
                timeout_s=max(self.deadline_at - now, 0.001),
                dimensions=self.request.dimensions,
                ahead_tokens=self.request.ahead_tokens,
            )
        return Generate(
            request_id=self.attempt_id,
            incarnation=self.lease.incarnation,
            tokens=[*self.request.tokens, *self.tokens] if self.tokens else self.request.tokens,
            max_tokens=self.left,
            timeout_s=max(self.deadline_at - now, 0.001),
            sampling=self.request.sampling,
            stop_token_ids=self.request.stop_token_ids,
            ignore_eos=self.request.ignore_eos,
            resumed_tokens=len(self.tokens),
            grammar=self.request.grammar,
            logprobs=self.request.logprobs,
            salt=self.request.salt,
            priority=self.request.priority,
        )

    def release(self, outcome: Outcome, now: float) -> Release:
        """The end of the attempt, for control."""
        assert self.lease is not None
        first_token_s = None
        if self.first_at is not None:  # a long queue is no fault of the engine
            first_token_s = max(self.first_at - self.started_at - self.queued_s, 0.0)
        return Release(
            lease_id=self.lease.lease_id,
            engine_id=self.lease.engine_id,
            incarnation=self.lease.incarnation,
            outcome=outcome,
            tokens=self.attempt_tokens,
            first_token_s=first_token_s,
            max_gap_s=self.max_gap_s if self.attempt_tokens > 1 else None,
            age_s=now - self.started_at,
            ticket=self.lease.ticket,
            used_tokens=0 if outcome == "refused" else self._used_tokens(),
        )

    def _used_tokens(self) -> int:
        """What the attempt is charged; the prompt is paid for once, however often it is read."""
        charge = self.request.charge
        if charge is None or self.resumed:
            return self.attempt_tokens
        # One token at least, as none would mean that nothing was done.
        return max(len(self.request.tokens) * charge.prompt + self.attempt_tokens, 1)

    def summary(self, end: Completed | ServingError, now: float) -> Generation:
        """The whole way, for the metrics."""
        began, count = self.first_token_at, len(self.tokens)
        if isinstance(end, Completed):
            code, tokens = str(end.reason), end.completion_tokens
        else:
            code, tokens = end.code, count
        gaps = began is not None and count > 1
        routed = self.attempt > 0 and self.started_at >= self.asked_at
        return Generation(
            model=self.request.model,
            endpoint=self.request.endpoint,
            code=code,
            prompt_tokens=len(self.request.tokens),
            completion_tokens=tokens,
            duration_s=now - self.submitted_at,
            route_s=self.started_at - self.asked_at if routed else None,
            first_token_s=None if began is None else began - self.submitted_at,
            mean_gap_s=(self.last_at - began) / (count - 1) if gaps and began else None,
            max_gap_s=self.longest_gap_s if gaps else None,
        )
