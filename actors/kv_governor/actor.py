"""Keeps the memory of all engines of this node within its budget."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from actors.base import Actor
from actors.kv_governor.policy import Demand, Level, Plan, changes, plan
from actors.registry.messages import Event, Granted, Introduce, Reservation
from config.settings import KVCacheSettings
from transport.messages.control import Budget, MemoryReport
from transport.messages.topology import EngineDown, EngineUp, Snapshot
from transport.sockets import peer_name

TICK_S = 1.0
log = logging.getLogger(__name__)
ToGovernor = MemoryReport | Event | Reservation


class _Tick(Struct, frozen=True):
    pass


class EngineMemory(Struct, frozen=True, kw_only=True):
    """One engine's caches, and what it was told."""

    live_bytes: int
    reserved_bytes: int
    stored_bytes: int
    pinned_bytes: int
    budget: Budget
    evicted_blocks: int = 0


class GovernorStatus(Struct, frozen=True, kw_only=True):
    """For people to see, in bytes."""

    node_kv_bytes: int
    held_bytes: int
    coming_bytes: int  # weights of engines that are not up yet
    level: Level
    bits: int | None
    engines: dict[str, EngineMemory]


class Outlets(Struct, frozen=True):
    """Where the governor speaks; each returns at once and does not raise."""

    send: Callable[[str, Budget], None]  # to one engine, by its peer name
    introduce: Callable[[Introduce], None]  # to the registry
    grant: Callable[[Granted], None]  # to the registry
    show: Callable[[GovernorStatus], None]


class KVGovernorActor(Actor):
    """Plans anew with every memory report and tells engines what changed noticeably."""

    def __init__(self, settings: KVCacheSettings, outlets: Outlets) -> None:
        super().__init__()
        self._settings = settings
        self._outlets = outlets
        self._engines: dict[str, EngineUp] = {}
        self._memory: dict[str, MemoryReport] = {}
        self._sent: dict[str, Budget] = {}
        self._busy_at: dict[str, float] = {}
        self._device_limit_bytes: int | None = None
        self._reservation = Reservation()
        self._answered = True
        self._introduced = False  # until then engines that nobody knows may hold memory
        self._outdated: set[str] = set()  # engines that said nothing since the last reservation
        self._plan = Plan(0, {})
        self._warned = False

    def on_start(self) -> None:
        """The registry knows the engines; they report their memory within a second."""
        self._outlets.introduce(Introduce(self.address))
        self.after(TICK_S, _Tick())

    def receive(self, message: object) -> None:
        """One of `ToGovernor`; other events of the topology are ignored."""
        match message:
            case MemoryReport(engine_id=engine_id, incarnation=incarnation):
                if self._is_current(engine_id, incarnation):
                    self._take(message)
            case EngineUp():
                self._up(message)
            case EngineDown(engine_id, incarnation):
                if self._is_current(engine_id, incarnation):
                    self._forget(engine_id)
                    self._plan_anew()
            case Snapshot():
                self._replace(message)
            case Reservation():
                self._reserve(message)
            case _Tick():
                self._tick()
        self._answer()

    def _reserve(self, reservation: Reservation) -> None:
        if reservation != self._reservation:
            self._reservation, self._outdated = reservation, set(self._engines)
            self._plan_anew()
        self._answered = False

    def _answer(self) -> None:
        """Say once, and say again when asked again, that the caches in use leave room for all that
        is reserved; those of which nothing was heard since may have grown under a larger budget."""
        if self._answered or self._outdated or not self._introduced:
            return
        if not self._engines or self._plan.level < Level.CLOSED:
            self._answered = True
            self._outlets.grant(Granted(self._reservation))

    def _take(self, report: MemoryReport) -> None:
        self._memory[report.engine_id] = report
        self._outdated.discard(report.engine_id)
        self._device_limit_bytes = report.device_limit_bytes
        if report.reserved_kv_bytes or report.waiting_kv_bytes:
            self._busy_at[report.engine_id] = time.monotonic()
        self._plan_anew()

    def _is_current(self, engine_id: str, incarnation: int) -> bool:
        engine = self._engines.get(engine_id)
        return engine is not None and engine.incarnation == incarnation

    def _up(self, up: EngineUp) -> None:
        known = self._engines.get(up.engine_id)
        if known is None or known.incarnation < up.incarnation:
            self._forget(up.engine_id)
            self._engines[up.engine_id] = up
            self._outdated.add(up.engine_id)
            self._busy_at[up.engine_id] = time.monotonic()
            self._plan_anew()

    def _forget(self, engine_id: str) -> None:
        for known in (self._engines, self._memory, self._sent, self._busy_at):
            known.pop(engine_id, None)
        self._outdated.discard(engine_id)

    def _replace(self, snapshot: Snapshot) -> None:
        self._introduced = True
        listed = {up.engine_id for up in snapshot.engines}
        for engine_id in self._engines.keys() - listed:
            self._forget(engine_id)
        for up in snapshot.engines:
            self._up(up)

    def _demand(self, up: EngineUp) -> Demand:
        memory = self._memory.get(up.engine_id)
        if memory is None:
            weights = up.card.weights_bytes
            return Demand(weights_bytes=weights, held_bytes=0, waiting_bytes=0, active_bytes=0)
        return Demand(
            weights_bytes=memory.weights_bytes,
            held_bytes=max(memory.kv_bytes, memory.reserved_kv_bytes),
            waiting_bytes=memory.waiting_kv_bytes,
            active_bytes=memory.active_bytes,
            stored_bytes=memory.stored_kv_bytes,
            pinned_bytes=memory.pinned_kv_bytes,
            idle_s=time.monotonic() - self._busy_at[up.engine_id],
        )

    def _coming_bytes(self) -> int:
        """An engine counts by itself from the moment that it is up."""
        up = Counter(engine.card.name for engine in self._engines.values())
        return sum(
            max(0, weights.replicas - up[model]) * weights.bytes_each
            for model, weights in self._reservation.models.items()
        )

    def _plan_anew(self) -> None:
        if self._device_limit_bytes is None or not self._engines:
            return
        demands, without_caches = {}, 0
        for engine_id, up in self._engines.items():
            if up.card.kind == "embedding":  # nothing to share out to
                without_caches += self._demand(up).weights_bytes
            else:
                demands[engine_id] = self._demand(up)
        taken = without_caches + self._coming_bytes()
        before = self._plan
        self._plan = plan(demands, self._device_limit_bytes, self._settings, before, taken)
        self._tell_people(before)
        for engine_id, budget in changes(self._plan, self._sent).items():
            self._sent[engine_id] = budget
            name = peer_name(engine_id, self._engines[engine_id].incarnation)
            self._outlets.send(name, budget)

    def _tell_people(self, before: Plan) -> None:
        if self._plan.level != before.level:
            log.info("memory for caches: %s", self._plan.level.name.lower())
        if self._plan.node_kv_bytes == 0 and not self._warned:
            log.error(
                "the models' weights take all of the memory budget, so nothing can be admitted; "
                "serve a smaller model or raise kv_cache.budget_fraction"
            )
        self._warned = self._plan.node_kv_bytes == 0

    def _tick(self) -> None:
        self.after(TICK_S, _Tick())
        held = sum(self._demand(up).held_bytes for up in self._engines.values())
        engines = {
            engine_id: _memory(report, self._sent[engine_id])
            for engine_id, report in self._memory.items()
            if engine_id in self._sent
        }
        self._outlets.show(
            GovernorStatus(
                node_kv_bytes=self._plan.node_kv_bytes,
                held_bytes=held,
                coming_bytes=self._coming_bytes(),
                level=self._plan.level,
                bits=self._plan.bits,
                engines=engines,
            )
        )


def _memory(report: MemoryReport, budget: Budget) -> EngineMemory:
    return EngineMemory(
        live_bytes=report.kv_bytes,
        reserved_bytes=report.reserved_kv_bytes,
        stored_bytes=report.stored_kv_bytes,
        pinned_bytes=report.pinned_kv_bytes,
        budget=budget,
        evicted_blocks=report.evicted_blocks,
    )
