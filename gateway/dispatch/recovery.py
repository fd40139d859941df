"""What becomes of a stream when something happens to it: one pure function and its table.

`next_step(stream, event, now)` changes nothing; the dispatcher does what the step says.

ROUTING   Leased → RUNNING · Refused → WAITING or ENDED · Tick → asks again
WAITING   EngineCameUp, Tick → ROUTING
RUNNING   Finished, Embedded → ENDED · Failed → ROUTING, WAITING or ENDED · Lost → ROUTING or ENDED
          · Tick → ROUTING when stalled
any       Cancelled, the deadline → ENDED
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from config.errors import (
    EngineFailed,
    EngineUnavailable,
    ModelLoadFailed,
    ModelNotFound,
    QueueFull,
    RateLimited,
    RequestTimeout,
    ServingError,
    from_wire,
)
from config.settings import CircuitBreakerSettings
from gateway.dispatch.stream import State, Stream
from gateway.dispatch.types import Completed, CompletedEmbedding
from transport.messages.control import Lease, Outcome, Refusal
from transport.messages.data import Embedded, Failed, Finished, FinishReason
from transport.refusals import error_of

MAX_LOSSES = 3  # engines that one request may take down without a token in between
MAX_EXCLUDED = 16
ROUTE_TIMEOUT_S = 1.0
STALL_RECHECK_S = 1.0
RETRY_BASE_S = 0.05
RETRY_CAP_S = 1.0
RETRY_AFTER_S = 1.0  # told to clients when nobody said better
# Ends that say nothing about the engine's health.
_REFUSALS = {
    "queue_full", "draining", "engine_unavailable", "model_not_found", "invalid_request",
    "context_length_exceeded",
}  # fmt: skip
_CALLED_OFF = {"cancelled", "request_timeout"}
_GRAMMAR = "grammar"  # the engine's name for what a client says in one of several parameters


class Leased(Struct, frozen=True):
    """Control named an engine."""

    lease: Lease


class Refused(Struct, frozen=True):
    """Control named none; `served`: the gateway itself knows the model."""

    refusal: Refusal
    served: bool = False


class Lost(Struct, frozen=True):
    """The engine is gone, or cannot be reached; `blame`: it went while it had this request."""

    blame: bool


class EngineCameUp(Struct, frozen=True):
    """A new engine of the model is there."""


class Cancelled(Struct, frozen=True):
    """The client wants no more, or has all it wants: `reason` is how that counts."""

    reason: FinishReason = "cancelled"


class Tick(Struct, frozen=True):
    """`wake_at` has come."""

    patience: CircuitBreakerSettings
    others_up: bool  # another engine of the model is there


Event = Leased | Refused | Finished | Embedded | Failed | Lost | EngineCameUp | Cancelled | Tick


class Leave(Struct, frozen=True):
    """End the attempt: release the lease with `outcome`, and tell the engine if it still works."""

    outcome: Outcome
    cancel: bool = False


class Stay(Struct, frozen=True):
    """Nothing to do before `wake_at`."""

    wake_at: float


class Run(Struct, frozen=True):
    """Send the request to the engine of this lease."""

    lease: Lease


class Ask(Struct, frozen=True):
    """Ask control for an engine."""

    excluded: tuple[str, ...]
    leave: Leave | None = None
    losses: int = 0
    resumed: bool = False
    full: QueueFull | None = None  # an engine had no room; the end, unless another one has


class Wait(Struct, frozen=True):
    """Ask again at `wake_at`."""

    wake_at: float
    excluded: tuple[str, ...]
    retry_after_s: float | None
    leave: Leave | None = None
    resumed: bool = False


class End(Struct, frozen=True):
    """It is over."""

    end: Completed | ServingError
    leave: Leave | None = None


Step = Stay | Run | Ask | Wait | End
Rule = Callable[[Stream, Any, float], Step]  # the event is of the type in the table


def next_step(stream: Stream, event: Event, now: float) -> Step:
    """What to do; an event that means nothing in the stream's state changes nothing."""
    rule = TRANSITIONS.get((stream.state, type(event)))
    return rule(stream, event, now) if rule else Stay(stream.wake_at)


def check_at(stream: Stream, patience: CircuitBreakerSettings) -> float:
    """When to look whether a running stream still runs."""
    return min(_stalls_at(stream, patience), stream.deadline_at)


def _stalls_at(stream: Stream, patience: CircuitBreakerSettings) -> float:
    """An engine may take any time to the first token, as long as it speaks, which it does each
    second; then each stream must get its tokens, whatever else the engine says."""
    if stream.first_at is None:
        silence_s = min(patience.first_token_timeout_s, patience.token_gap_timeout_s)
        return max(stream.started_at, stream.heard_at) + silence_s
    return stream.last_at + patience.token_gap_timeout_s


def _leased(stream: Stream, event: Leased, now: float) -> Step:
    return Run(event.lease)


def _refused(stream: Stream, event: Refused, now: float) -> Step:
    refusal = event.refusal
    # A control process that just started may not have heard of the model yet.
    too_early = refusal.code == ModelNotFound.code and event.served
    error = error_of(refusal)
    if isinstance(error, RateLimited):
        return End(error)
    if not refusal.retryable and not too_early and not _comes_back(stream, refusal):
        return End(error)
    if not stream.resumed and (refusal.code == QueueFull.code or stream.full):
        return End(stream.full or _full(refusal))
    # With nobody else there, an engine that failed once is better than none.
    nobody = refusal.code != QueueFull.code
    again_at = now + _delay_s(stream)
    return Wait(again_at, () if nobody else stream.excluded, refusal.retry_after_s)


def _comes_back(stream: Stream, refusal: Refusal) -> bool:
    """A model that failed is tried again: who had an engine of it waits, others come again."""
    taken = stream.resumed or (stream.attempt > 0 and stream.full is None)
    return refusal.code == ModelLoadFailed.code and taken


def _ask_again(stream: Stream, event: Event, now: float) -> Step:
    return Ask(stream.excluded, losses=stream.losses, resumed=stream.resumed, full=stream.full)


def _unanswered(stream: Stream, event: Tick, now: float) -> Step:
    if now >= stream.deadline_at:
        return End(_nobody(stream))
    return _ask_again(stream, event, now)


def _running_tick(stream: Stream, event: Tick, now: float) -> Step:
    due_at = check_at(stream, event.patience)
    if now < due_at:
        return Stay(due_at)
    if now >= stream.deadline_at and stream.left > 0:
        silent = now >= _stalls_at(stream, event.patience)
        end = _nobody(stream) if silent else _too_late(stream)
        return End(end, Leave("cancelled", cancel=True))
    if stream.left > 0 and not event.others_up:
        return Stay(now + STALL_RECHECK_S)
    return _move(stream, Leave("stalled", cancel=True), now, blame=True)


def _finished(stream: Stream, event: Finished, now: float) -> Step:
    if event.reason == "cancelled":  # not by us: then we would not listen any more
        return _move(stream, Leave("failed"), now, blame=True)
    received, counted = stream.attempt_tokens, event.completion_tokens
    if received not in (counted, counted - 1):
        text = f"the engine counted {counted} tokens, {received} arrived"
        return End(EngineFailed(text), Leave("failed"))
    done = Completed(
        reason=event.reason,
        prompt_tokens=len(stream.request.tokens),
        completion_tokens=stream.base + counted,
        cached_tokens=_cached(stream, event),
    )
    return End(done, Leave("finished"))


def _embedded(stream: Stream, event: Embedded, now: float) -> Step:
    done = CompletedEmbedding(
        reason="stop",
        prompt_tokens=len(stream.request.tokens),
        completion_tokens=0,
        vectors=event.vectors,
    )
    return End(done, Leave("finished"))


def _failed(stream: Stream, event: Failed, now: float) -> Step:
    outcome: Outcome = "failed"
    if event.code in _REFUSALS:
        outcome = "refused"
    elif event.code in _CALLED_OFF:
        outcome = "cancelled"
    if not event.retryable:
        param = stream.request.grammar_param if event.param == _GRAMMAR else event.param
        error = from_wire(event.code, event.message, event.retry_after_s, param)
        return End(error, Leave(outcome))
    if outcome == "refused":
        return _turned_away(stream, event, now)
    return _move(stream, Leave(outcome), now, blame=outcome == "failed")


def _turned_away(stream: Stream, event: Failed, now: float) -> Step:
    """The engine would not have it: another one at once, the same ones only after a pause."""
    step = _move(stream, Leave("refused"), now, blame=False)
    if not isinstance(step, Ask):
        return step
    full = event.code == QueueFull.code
    if full and not step.resumed:
        if stream.full is not None:
            return End(_full(event), step.leave)
        return msgspec.structs.replace(step, full=_full(event))
    if full or stream.engine in stream.excluded:
        again_at = now + _delay_s(stream)
        return Wait(again_at, step.excluded, event.retry_after_s, step.leave, step.resumed)
    return step


def _lost(stream: Stream, event: Lost, now: float) -> Step:
    return _move(stream, Leave("engine_lost"), now, blame=event.blame)


def _move(stream: Stream, leave: Leave, now: float, *, blame: bool) -> Step:
    """Step 8 of the way of a request: go on elsewhere, if there is something left to do."""
    if stream.left <= 0:
        return End(_complete(stream), leave)
    if now >= stream.deadline_at:
        return End(_nobody(stream), leave)
    losses = stream.losses + blame
    if losses >= MAX_LOSSES:
        text = f"{losses} engines in a row failed while they worked on this request"
        return End(EngineFailed(text), leave)
    others = tuple(name for name in stream.excluded if name != stream.engine)
    excluded = (*others, stream.engine)[-MAX_EXCLUDED:]
    begun = stream.resumed or bool(stream.tokens) or leave.outcome != "refused"
    return Ask(excluded, leave, losses, resumed=begun, full=stream.full)


def _cancelled(stream: Stream, event: Cancelled, now: float) -> Step:
    done = Completed(
        reason=event.reason,
        prompt_tokens=len(stream.request.tokens),
        completion_tokens=len(stream.tokens),
        cached_tokens=stream.cached_tokens,
    )
    outcome: Outcome = "cancelled" if event.reason == "cancelled" else "finished"
    leave = Leave(outcome, cancel=True) if stream.state is State.RUNNING else None
    return End(done, leave)


def _complete(stream: Stream) -> Completed:
    """All tokens came, only the notice of it was lost."""
    return Completed(
        reason="length",
        prompt_tokens=len(stream.request.tokens),
        completion_tokens=len(stream.tokens),
        cached_tokens=stream.cached_tokens,
    )


def _cached(stream: Stream, event: Finished) -> int:
    """What the first engine found; what a later one did is about the answer so far as well."""
    found = stream.cached_tokens if stream.base else event.cached_tokens
    return min(found, len(stream.request.tokens))


def _delay_s(stream: Stream) -> float:
    return min(RETRY_BASE_S * 2.0 ** min(stream.refusals, 10), RETRY_CAP_S)


def _full(refusal: Refusal | Failed) -> QueueFull:
    retry_after_s = refusal.retry_after_s or RETRY_AFTER_S
    return QueueFull(refusal.message, param=refusal.param, retry_after_s=retry_after_s)


def _too_late(stream: Stream) -> ServingError:
    return RequestTimeout(f"the answer took longer than {stream.request.timeout_s:g} s")


def _nobody(stream: Stream) -> ServingError:
    return EngineUnavailable(
        f"no engine of {stream.request.model!r} was ready within {stream.request.timeout_s:g} s",
        retry_after_s=stream.retry_after_s or RETRY_AFTER_S,
    )


TRANSITIONS: dict[tuple[State, type[Event]], Rule] = {
    (State.ROUTING, Leased): _leased,
    (State.ROUTING, Refused): _refused,
    (State.ROUTING, Tick): _unanswered,
    (State.ROUTING, Cancelled): _cancelled,
    (State.WAITING, EngineCameUp): _ask_again,
    (State.WAITING, Tick): _unanswered,
    (State.WAITING, Cancelled): _cancelled,
    (State.RUNNING, Finished): _finished,
    (State.RUNNING, Embedded): _embedded,
    (State.RUNNING, Failed): _failed,
    (State.RUNNING, Lost): _lost,
    (State.RUNNING, Tick): _running_tick,
    (State.RUNNING, Cancelled): _cancelled,
}
