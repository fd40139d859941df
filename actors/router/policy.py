"""Which engine gets a request; pure and deterministic for a given view.

The engine that has the least to do wins: the tokens in flight, which are what we leased to it or
what it says it holds where that is more, and those of this prompt that it has not stored. Load and
prefixes lie in the same scale, so a busy engine that has the prompt loses to an idle one as soon as
waiting costs more than computing. A session leans to one engine of its own, by rendezvous hashing,
as long as that costs little.
"""

import hashlib

from msgspec import Struct

from actors.router.view import Engine, View
from config.errors import EngineUnavailable, ModelLoadFailed, ModelNotFound, QueueFull
from transport.messages.control import Lease, Refusal, Route
from transport.refusals import refusal_of
from transport.sockets import peer_name

SESSION_BIAS_TOKENS = 64
REPORT_COUNTS_S = 3.0  # an older report says nothing about the load now
RESTARTING_RETRY_S = 0.25
BREAKER_RETRY_S = 1.0
MIN_RETRY_S, MAX_RETRY_S = 0.1, 30.0


class Limits(Struct, frozen=True):
    """What the configuration says about choosing."""

    max_waiting: int
    half_open_probes: int


def choose(route: Route, view: View, limits: Limits, now: float) -> Lease | Refusal:
    """The one answer to a route; a `Lease` counts only after `View.grant`."""
    if route.model not in view.models:
        # The others are not named: this one may be all that whoever asks may know of.
        text = f"the model {route.model!r} is not served here"
        return refusal_of(route.route_id, ModelNotFound(text, param="model"))
    engines = [engine for engine in view.engines.values() if _serves(engine, route.model)]
    admitted = [engine for engine in engines if _admits(engine, limits)]
    if not admitted:
        return _nobody(route, view, has_engines=bool(engines))
    candidates = _preferred(admitted, route.excluded)
    if not route.resumed:
        full = candidates
        candidates = [engine for engine in full if waiting(engine) < limits.max_waiting]
        if not candidates:
            return refusal_of(route.route_id, _all_full(route, view, full))
    best = _least(candidates, route, view, now)
    return Lease(
        route.route_id,
        view.next_lease_id(),
        best.up.engine_id,
        best.up.incarnation,
        best.up.endpoint,
    )


def waiting(engine: Engine) -> int:
    """Requests in its queue: those it reported and, if it has a queue, those sent since."""
    if engine.report is None or engine.report.waiting == 0:
        return 0
    return engine.report.waiting + engine.leased_since_report


def load(engine: Engine, now: float) -> int:
    """Tokens in flight. The report covers the leased requests too, so the larger one counts."""
    if engine.report is None or now - engine.reported_at > REPORT_COUNTS_S:
        return engine.leased_tokens
    reported = engine.report.running_tokens + engine.report.waiting_tokens
    return max(engine.leased_tokens, reported - engine.ended_tokens)


def _serves(engine: Engine, model: str) -> bool:
    return engine.up.card.name == model and not engine.draining and not engine.doubted


def _admits(engine: Engine, limits: Limits) -> bool:
    if engine.breaker == "half_open":
        return len(engine.probes) < limits.half_open_probes
    return engine.breaker == "closed"


def _preferred(engines: list[Engine], excluded: list[str]) -> list[Engine]:
    """Without those that just failed this request, unless there are no others."""
    if not excluded:
        return engines
    names = [peer_name(engine.up.engine_id, engine.up.incarnation) for engine in engines]
    others = [engine for engine, name in zip(engines, names, strict=True) if name not in excluded]
    return others or engines


def _least(candidates: list[Engine], route: Route, view: View, now: float) -> Engine:
    home = _home(candidates, route.session) if route.session else None

    def cost(engine: Engine) -> tuple[int, int, int, str]:
        # What a sibling brings to its home is not reported as stored yet.
        known = view.cached_tokens(engine, route)
        if engine is home:
            known = max(known, min(route.shared_tokens, route.prompt_tokens)) + SESSION_BIAS_TOKENS
        tokens = load(engine, now) - known
        return tokens, engine.leases, engine.last_lease, engine.up.engine_id

    return min(candidates, key=cost)


def _home(candidates: list[Engine], session: str) -> Engine:
    def weight(engine: Engine) -> bytes:
        key = f"{session}\0{engine.up.engine_id}".encode()
        return hashlib.blake2b(key, digest_size=8).digest()

    return max(candidates, key=weight)


def _nobody(route: Route, view: View, *, has_engines: bool) -> Refusal:
    model = view.models[route.model]
    if model.state == "failed":
        reason = model.reason or "it failed"
        text = f"the model {model.name!r}: {reason}"
        failed = ModelLoadFailed(text, param="model", retry_after_s=model.retry_after_s)
        return refusal_of(route.route_id, failed)
    if model.retry_after_s is not None:
        text = f"no room to load the model {model.name!r}: {model.reason}"
        return refusal_of(route.route_id, QueueFull(text, retry_after_s=model.retry_after_s))
    if has_engines:
        reason, retry_s = "failed too often lately", BREAKER_RETRY_S
    elif model.state in ("loading", "unloaded"):
        reason, retry_s = "is loading", BREAKER_RETRY_S
    else:
        reason, retry_s = "is being restarted", RESTARTING_RETRY_S
    error = EngineUnavailable(f"the model {model.name!r} {reason}", retry_after_s=retry_s)
    return refusal_of(route.route_id, error)


def _all_full(route: Route, view: View, full: list[Engine]) -> QueueFull:
    answer_tokens = view.expected_tokens(route) - max(0, route.prompt_tokens)
    fastest = max(engine.tokens_per_s for engine in full)
    retry_s = answer_tokens / fastest if fastest > 0 else 1.0
    return QueueFull(
        f"too many requests wait for {route.model!r}",
        retry_after_s=min(max(retry_s, MIN_RETRY_S), MAX_RETRY_S),
    )
