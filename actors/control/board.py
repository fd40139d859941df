"""Where the actors show how they fare: facts for `admin status`, numbers for the metrics."""

import threading
import time
from collections import Counter
from typing import TypeVar

from actors.circuit_breaker.actor import BreakerStatus
from actors.kv_governor.actor import GovernorStatus
from actors.kv_governor.policy import Level
from actors.limiter.messages import LimiterStatus
from actors.limiter.scope import Kind, Limit
from actors.registry.messages import RegistryStatus
from actors.router.messages import RouterStatus
from actors.warmup_pool.actor import WarmupStatus
from transport.messages.lifeline import Scalar

Status = (
    RegistryStatus | RouterStatus | BreakerStatus | GovernorStatus | WarmupStatus | LimiterStatus
)
S = TypeVar("S", bound=Status)
STATUSES: tuple[type[Status], ...] = (
    RegistryStatus,
    RouterStatus,
    BreakerStatus,
    GovernorStatus,
    WarmupStatus,
    LimiterStatus,
)


class Board:
    """Each actor shows its status every second or so; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[type, Status] = {}
        self._shown_at = dict.fromkeys(STATUSES, time.monotonic())
        self._answers: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._limited: Counter[tuple[Kind, Limit]] = Counter()

    def show(self, status: Status) -> None:
        """Replace an actor's last status."""
        with self._lock:
            self._shown_at[type(status)] = time.monotonic()
            self._statuses[type(status)] = status
            if isinstance(status, RouterStatus | LimiterStatus):
                self._answers.update(status.answers)
            if isinstance(status, LimiterStatus):
                self._limited.update(status.refused)

    def drop(self, reason: str) -> None:
        """Count a message that reached nobody."""
        with self._lock:
            self._dropped[reason] += 1

    def last(self, kind: type[S]) -> S | None:
        """The last status of this kind."""
        with self._lock:
            status = self._statuses.get(kind)
        return status if isinstance(status, kind) else None

    def take_counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Answers to routes and dropped messages since the last call."""
        with self._lock:
            counts = dict(self._answers), dict(self._dropped)
            self._answers.clear()
            self._dropped.clear()
        return counts

    def take_limited(self) -> dict[tuple[Kind, Limit], int]:
        """Requests that limits did not let through since the last call."""
        with self._lock:
            counts = dict(self._limited)
            self._limited.clear()
        return counts

    def age_s(self) -> float:
        """How long the actor that has been silent longest has been so."""
        with self._lock:
            return time.monotonic() - min(self._shown_at.values())

    def facts(self) -> dict[str, Scalar]:
        """All facts, flat."""
        with self._lock:
            statuses = list(self._statuses.values())
        return {name: fact for status in statuses for name, fact in _facts(status).items()}


def _facts(status: Status) -> dict[str, Scalar]:
    match status:
        case RegistryStatus():
            return _models(status)
        case RouterStatus(leases, leased_tokens, _, blocks):
            return {
                "router.leases": sum(leases.values()),
                "router.leased_tokens": sum(leased_tokens.values()),
                "router.prefix_blocks": sum(blocks.values()),
            }
        case BreakerStatus(states):
            return {
                "breaker.open": list(states.values()).count("open"),
                "breaker.half_open": list(states.values()).count("half_open"),
            }
        case GovernorStatus():
            return _memory(status)
        case WarmupStatus(warm, cold):
            return {"warmup.warm": warm, "warmup.cold": cold}
        case LimiterStatus(scopes, streams):
            return {"limiter.scopes": scopes, "limiter.streams": streams}


def _models(status: RegistryStatus) -> dict[str, Scalar]:
    facts: dict[str, Scalar] = {
        "registry.engines_up": status.engines_up,
        "registry.models": len(status.models),
        "registry.models_ready": sum(ready > 0 for ready, _ in status.models.values()),
        "registry.models_loaded": len(status.idle_s),
        "registry.recycles": sum(child.recycles for child in status.children),
    }
    return facts | {f"model.{name}.idle_s": round(s, 1) for name, s in status.idle_s.items()}


def _memory(status: GovernorStatus) -> dict[str, Scalar]:
    engines = status.engines.values()
    return {
        "kv.budget_bytes": status.node_kv_bytes,
        "kv.held_bytes": status.held_bytes,
        "kv.coming_bytes": status.coming_bytes,
        "kv.live_bytes": sum(engine.live_bytes for engine in engines),
        "kv.stored_bytes": sum(engine.stored_bytes for engine in engines),
        "kv.pinned_bytes": sum(engine.pinned_bytes for engine in engines),
        "kv.evicted_blocks": sum(engine.evicted_blocks for engine in engines),
        "kv.wired_bytes": sum(engine.budget.wired_bytes for engine in engines),
        "kv.level": status.level.name.lower(),
        "kv.bits": status.bits,
        "kv.admits": status.level < Level.CLOSED,
    }
