"""What the router knows: engines, their load, and the leases it gave; pure bookkeeping.

A soft view: after a restart the registry's snapshot brings the engines at once and the engines'
reports bring their load within a second; only the leases are forgotten.
"""

from dataclasses import dataclass, field

from actors.registry.messages import Event, GatewayDown
from actors.router.blocks import PrefixBlockIndex
from transport.messages.control import Lease, LoadReport, Release, Route
from transport.messages.topology import (
    BreakerChanged,
    BreakerState,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelStatus,
    PrefixBlocks,
    Snapshot,
)

UNKNOWN_OUTPUT_TOKENS = 256  # of a model that has finished nothing yet
SMOOTHING = 0.1
LEASE_S = 3600.0  # a lease lasts no longer, however long its request may take
RELEASE_LATE_S = 10.0  # from the end of a request's time to its release, at most


@dataclass(slots=True, eq=False)
class Engine:
    """One incarnation of an engine as the router sees it."""

    up: EngineUp
    breaker: BreakerState
    draining: bool = False
    doubted: bool = False  # a gateway lost it, and it did not report since
    report: LoadReport | None = None
    reported_at: float = 0.0
    tokens_per_s: float = 0.0
    leases: int = 0
    leased_tokens: int = 0
    leased_since_report: int = 0
    ended_tokens: int = 0  # of leases that ended since the report, which counts them still
    last_lease: int = 0  # counts all leases; the smallest was given longest ago
    probes: set[str] = field(default_factory=set)  # leases given since it became half open


@dataclass(slots=True, frozen=True)
class Held:
    """A lease that was not released yet; after `ends_at` its release is lost."""

    owner: bytes
    engine: Engine
    tokens: int
    context_tokens: int  # with those that were stored
    granted_at: float
    ends_at: float


@dataclass(slots=True)
class View:
    """`name` makes lease ids of this view differ from those of any other."""

    name: str
    blocks: PrefixBlockIndex = field(default_factory=PrefixBlockIndex)
    engines: dict[str, Engine] = field(default_factory=dict)
    models: dict[str, ModelStatus] = field(default_factory=dict)
    leases: dict[str, Held] = field(default_factory=dict)
    output_tokens: dict[str, float] = field(default_factory=dict)  # by model, smoothed
    granted: int = 0

    def next_lease_id(self) -> str:
        """The id that the next `grant` must carry."""
        return f"{self.name}-{self.granted + 1}"

    def expected_tokens(self, route: Route) -> int:
        """Prompt and probable answer."""
        usual = self.output_tokens.get(route.model, UNKNOWN_OUTPUT_TOKENS)
        return max(0, route.prompt_tokens) + max(0, min(route.max_tokens, round(usual)))

    def cached_tokens(self, engine: Engine, route: Route) -> int:
        """Of the prompt, what this engine has stored. One token at least is always computed."""
        size = engine.up.card.block_tokens
        if not size or not route.prefix_hashes:
            return 0
        up = engine.up
        blocks = self.blocks.stored(up.engine_id, up.incarnation, route.prefix_hashes)
        return max(0, min(blocks * size, route.prompt_tokens - 1))

    def grant(self, lease: Lease, route: Route, owner: bytes, now: float) -> None:
        """Count the lease until it ends."""
        engine = self.engines[lease.engine_id]
        expected = self.expected_tokens(route)
        tokens = expected - self.cached_tokens(engine, route)
        held = Held(owner, engine, tokens, expected, now, lease_ends_at(route, now))
        self.granted += 1
        if engine.breaker == "half_open":
            engine.probes.add(lease.lease_id)
        self.leases[lease.lease_id] = held
        engine.leases += 1
        engine.leased_tokens += held.tokens
        engine.leased_since_report += 1
        engine.last_lease = self.granted

    def release(self, release: Release, owner: bytes) -> None:
        """End a lease; unknown ones, and those of others, are ignored."""
        engine = self.engines.get(release.engine_id)
        is_current = engine is not None and engine.up.incarnation == release.incarnation
        if engine is not None and is_current and release.outcome in ("engine_lost", "stalled"):
            engine.doubted = True
        held = self.leases.get(release.lease_id)
        if held is None or held.owner != owner:
            return
        self._end(release.lease_id)
        if release.outcome == "finished":
            model = held.engine.up.card.name
            usual = self.output_tokens.get(model, float(release.tokens))
            self.output_tokens[model] = usual + SMOOTHING * (max(0, release.tokens) - usual)

    def expire(self, now: float) -> None:
        """End the leases whose release was lost on its way."""
        for lease_id in [id_ for id_, held in self.leases.items() if held.ends_at <= now]:
            self._end(lease_id)

    def report(self, report: LoadReport, now: float) -> None:
        """Take in an engine's load."""
        engine = self.engines.get(report.engine_id)
        if engine is None or engine.up.incarnation != report.incarnation:
            return
        if engine.report is not None and now > engine.reported_at:
            made = report.generated_tokens - engine.report.generated_tokens
            rate = max(0, made) / (now - engine.reported_at)
            engine.tokens_per_s += 0.5 * (rate - engine.tokens_per_s)
        engine.report, engine.reported_at = report, now
        engine.leased_since_report = engine.ended_tokens = 0
        engine.doubted = False

    def apply(self, event: Event) -> None:
        """Take in what changed."""
        match event:
            case EngineUp():
                self._up(event)
            case EngineDown(engine_id, incarnation):
                self._down(engine_id, incarnation)
            case EngineDraining(engine_id, incarnation):
                if engine := self._current(engine_id, incarnation):
                    engine.draining = True
            case BreakerChanged(engine_id, incarnation, state):
                if engine := self._current(engine_id, incarnation):
                    engine.breaker = state
                    engine.probes.clear()
            case PrefixBlocks():
                self.blocks.apply(event)
            case ModelStatus():
                self.models[event.name] = event
            case ModelGone(name):
                self.models.pop(name, None)
            case GatewayDown():
                self._gateway_down(event)
            case _:
                self._replace(event)

    def _current(self, engine_id: str, incarnation: int) -> Engine | None:
        engine = self.engines.get(engine_id)
        return engine if engine is not None and engine.up.incarnation == incarnation else None

    def _up(self, up: EngineUp) -> None:
        before = self.engines.get(up.engine_id)
        if before is None or before.up.incarnation < up.incarnation:
            self._down(up.engine_id, up.incarnation)
            self.engines[up.engine_id] = Engine(up, up.breaker, up.draining)
        elif up.draining and before.up.incarnation == up.incarnation:
            before.draining = True

    def _down(self, engine_id: str, incarnation: int) -> None:
        engine = self.engines.get(engine_id)
        if engine is None or engine.up.incarnation > incarnation:
            return
        del self.engines[engine_id]
        self.blocks.drop(engine_id, engine.up.incarnation)
        for lease_id in [id_ for id_, held in self.leases.items() if held.engine is engine]:
            del self.leases[lease_id]

    def _gateway_down(self, gone: GatewayDown) -> None:
        for lease_id, held in list(self.leases.items()):
            if gone.was(held.owner):
                self._end(lease_id)

    def _replace(self, snapshot: Snapshot) -> None:
        known = {up.engine_id for up in snapshot.engines}
        for engine_id in self.engines.keys() - known:
            self._down(engine_id, self.engines[engine_id].up.incarnation)
        for up in snapshot.engines:
            self._up(up)
        self.models = {status.name: status for status in snapshot.models}

    def _end(self, lease_id: str) -> None:
        held = self.leases.pop(lease_id)
        held.engine.leases -= 1
        held.engine.leased_tokens -= held.tokens
        if held.granted_at <= held.engine.reported_at:
            held.engine.ended_tokens += held.context_tokens
        held.engine.probes.discard(lease_id)


def lease_ends_at(route: Route, now: float) -> float:
    """When the release of a lease that is given now is lost, if it did not come."""
    lasts_s = LEASE_S if route.timeout_s is None else min(max(0.0, route.timeout_s), LEASE_S)
    return now + lasts_s + RELEASE_LATE_S
