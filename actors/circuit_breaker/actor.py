"""Watches how requests end and whether engines report, and takes bad engines out of routing."""

import logging
import time
from collections.abc import Callable

from msgspec import Struct

from actors.base import Actor
from actors.circuit_breaker.policy import HEALTH_CHECK_S, Breaker
from actors.registry.messages import Event, Introduce
from actors.router.messages import Releases
from config.settings import CircuitBreakerSettings
from transport.messages.control import LoadReport, Release
from transport.messages.topology import (
    BreakerChanged,
    BreakerState,
    EngineDown,
    EngineUp,
    Snapshot,
)

# When this process itself was held up, nobody's silence means anything.
LATE_CHECK_S = 2 * HEALTH_CHECK_S
log = logging.getLogger(__name__)
ToCircuitBreaker = Releases | LoadReport | Event


class _Check(Struct, frozen=True):
    pass


class BreakerStatus(Struct, frozen=True):
    """For people to see."""

    states: dict[str, BreakerState]  # by engine


class Outlets(Struct, frozen=True):
    """Where the circuit breaker speaks; each returns at once and does not raise."""

    changed: Callable[[BreakerChanged], None]  # to router, registry and topology
    suspect: Callable[[str, int, str], None]  # to the supervisor: engine, incarnation, reason
    introduce: Callable[[Introduce], None]  # to the registry
    show: Callable[[BreakerStatus], None]


class CircuitBreakerActor(Actor):
    """One `Breaker` for each engine that is up."""

    def __init__(self, settings: CircuitBreakerSettings, outlets: Outlets) -> None:
        super().__init__()
        self._settings = settings
        self._outlets = outlets
        self._breakers: dict[str, Breaker] = {}
        self._checked_at = time.monotonic()

    def on_start(self) -> None:
        """The registry knows the engines, and how their breakers stood."""
        self._outlets.introduce(Introduce(self.address))
        self.after(HEALTH_CHECK_S, _Check())

    def receive(self, message: object) -> None:
        """One of `ToCircuitBreaker`; other events of the topology are ignored."""
        match message:
            case Releases(_, releases, at):
                for release in releases:
                    self._record(release, at)
            case LoadReport(engine_id=engine_id, incarnation=incarnation):
                if breaker := self._current(engine_id, incarnation):
                    breaker.report(time.monotonic())
            case EngineUp():
                self._up(message)
            case EngineDown(engine_id, incarnation):
                if self._current(engine_id, incarnation):
                    del self._breakers[engine_id]
            case Snapshot():
                self._replace(message)
            case _Check():
                self._check()

    def _current(self, engine_id: str, incarnation: int) -> Breaker | None:
        breaker = self._breakers.get(engine_id)
        return breaker if breaker is not None and breaker.incarnation == incarnation else None

    def _record(self, release: Release, at: float) -> None:
        breaker = self._current(release.engine_id, release.incarnation)
        if breaker is None:
            return
        if release.outcome == "stalled":
            reason = "a request got no token in time"
            self._outlets.suspect(release.engine_id, release.incarnation, reason)
        if breaker.record(release, at):
            self._announce(release.engine_id, breaker)

    def _up(self, up: EngineUp) -> None:
        known = self._breakers.get(up.engine_id)
        if known is None or known.incarnation < up.incarnation:
            now = time.monotonic()
            breaker = Breaker(self._settings, up.incarnation, now, up.breaker)
            self._breakers[up.engine_id] = breaker
        elif known.state != up.breaker:  # a registry that started anew does not know
            self._announce(up.engine_id, known)

    def _replace(self, snapshot: Snapshot) -> None:
        listed = {up.engine_id for up in snapshot.engines}
        for engine_id in self._breakers.keys() - listed:
            del self._breakers[engine_id]
        for up in snapshot.engines:
            self._up(up)

    def _check(self) -> None:
        self.after(HEALTH_CHECK_S, _Check())
        now = time.monotonic()
        late, self._checked_at = now - self._checked_at > LATE_CHECK_S, now
        for engine_id, breaker in self._breakers.items():
            if late:
                breaker.report(now)
            if breaker.check(now):
                self._announce(engine_id, breaker)
            if breaker.silent:
                self._outlets.suspect(engine_id, breaker.incarnation, "it stopped reporting")
        states = {engine_id: breaker.state for engine_id, breaker in self._breakers.items()}
        self._outlets.show(BreakerStatus(states))

    def _announce(self, engine_id: str, breaker: Breaker) -> None:
        log.warning("circuit breaker of %s is %s", engine_id, breaker.state)
        changed = BreakerChanged(engine_id, breaker.incarnation, breaker.state)
        self._outlets.changed(changed)
