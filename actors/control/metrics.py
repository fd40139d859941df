"""What the control process tells Prometheus."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

from prometheus_client import Counter, Gauge
from prometheus_client.multiprocess import mark_process_dead

from actors.circuit_breaker.actor import BreakerStatus
from actors.control.board import Board
from actors.kv_governor.actor import EngineMemory, GovernorStatus
from actors.limiter.messages import LimiterStatus
from actors.registry.messages import RegistryStatus
from actors.router.messages import RouterStatus
from actors.warmup_pool.actor import WarmupStatus
from transport.messages.lifeline import Announce, ChildState
from transport.messages.topology import BreakerState

_CHILD_STATES: tuple[ChildState, ...] = get_args(ChildState)
_BREAKER_VALUES: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"mlx_serving_{name}", text, labels, multiprocess_mode="livemostrecent")


_ROUTES = Counter(
    "mlx_serving_routes", 'Routes answered, by "lease" or the code of the refusal.', ["answer"]
)
_DROPPED = Counter(
    "mlx_serving_control_dropped_messages", "Messages that reached nobody.", ["reason"]
)
_LIMITED = Counter(
    "mlx_serving_limited_requests",
    'Requests refused by the limits of a "key" or "tenant": "requests", "tokens" or "streams".',
    ["of", "limit"],
)
_LIMITED_STREAMS = _gauge("limited_streams", "Answers being written for whom there are limits.")
_CHILD_RESTARTS = _gauge("child_restarts", "Restarts of a child process.", "child", "kind")
_CHILD_STATE = _gauge(
    "child_state", "1 for the state that a child process is in.", "child", "kind", "state"
)
_ACTOR_RESTARTS = _gauge(
    "control_actor_restarts", "Restarts of an actor since its process started.", "actor"
)
_MODEL_REPLICAS = _gauge("model_replicas", "Engines that should serve a model.", "model")
_MODEL_LOADED = _gauge("model_loaded", "1 for a model that takes memory.", "model")
_MODEL_IDLE = _gauge("model_idle_seconds", "Since a loaded model was used last.", "model")
_CHILD_RECYCLES = _gauge(
    "child_recycles", "Sound child processes that were replaced by fresh ones.", "child", "kind"
)
_MODEL_READY = _gauge("model_ready_replicas", "Engines that serve a model.", "model")
_LEASES = _gauge("router_leases", "Requests that were sent to an engine.", "engine")
_LEASED_TOKENS = _gauge(
    "router_leased_tokens", "Prompt and expected tokens of those requests.", "engine"
)
_BREAKER = _gauge("breaker_state", "0 closed, 1 half open, 2 open.", "engine")
_KV_BUDGET = _gauge("kv_budget_bytes", "What an engine's caches may take.", "engine")
_KV_NODE_BUDGET = _gauge("kv_node_budget_bytes", "What all caches of this node may take.")
_KV_STORED_BUDGET = _gauge(
    "kv_stored_budget_bytes", "What an engine may keep of stored prefixes.", "engine"
)
_KV_LIVE = _gauge("kv_live_bytes", "In the caches of an engine's running sequences.", "engine")
_KV_RESERVED = _gauge("kv_reserved_bytes", "Promised to an engine's sequences.", "engine")
_KV_STORED = _gauge("kv_stored_bytes", "In an engine's stored prefixes.", "engine")
_KV_PINNED = _gauge("kv_pinned_bytes", "Of these, what cannot be let go of now.", "engine")
_KV_EVICTED = _gauge(
    "kv_evicted_blocks", "Stored and let go of by this incarnation of an engine.", "engine"
)
_WIRED = _gauge("wired_limit_bytes", "What an engine may wire.", "engine")
_KV_LEVEL = _gauge(
    "kv_level", "0 free, 1 evicting stored prefixes, 2 quantising new caches, 3 closed."
)
_KV_BITS = _gauge("kv_bits", "Of new caches; 0: as each engine's own policy says.")
_KV_HELD = _gauge("kv_held_bytes", "What sequences of this node take or were promised.")
_KV_COMING = _gauge(
    "kv_coming_bytes", "Weights of engines that are not up yet, kept from the caches."
)
_WARM = _gauge("warm_engines", "Engines whose next request finds them warm.")


class _ByLabel:
    """A gauge with one value a name; names that are gone read 0, as multiprocess mode cannot
    take a series out."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._names: set[str] = set()

    def set(self, values: Mapping[str, float]) -> None:
        for name in self._names - values.keys():
            self._gauge.labels(name).set(0)
        for name, value in values.items():
            self._gauge.labels(name).set(value)
        self._names = set(values)


class ControlMetrics:
    """The metrics of this process, made from the board; one thread."""

    def __init__(self, board: Board, folder: Path) -> None:
        self._board = board
        self._children = ChildMetrics(folder)
        self._leases = _ByLabel(_LEASES)
        self._leased_tokens = _ByLabel(_LEASED_TOKENS)
        self._breakers = _ByLabel(_BREAKER)
        self._memory = MemoryMetrics()
        self._loaded = _ByLabel(_MODEL_LOADED)
        self._idle = _ByLabel(_MODEL_IDLE)
        self._replicas = _ByLabel(_MODEL_REPLICAS)
        self._ready = _ByLabel(_MODEL_READY)

    def update(self, actor_restarts: dict[str, int]) -> None:
        """Each second."""
        answers, dropped = self._board.take_counts()
        for answer, count in answers.items():
            _ROUTES.labels(answer).inc(count)
        for reason, count in dropped.items():
            _DROPPED.labels(reason).inc(count)
        for (kind, limit), count in self._board.take_limited().items():
            _LIMITED.labels(kind, limit).inc(count)
        for name, count in actor_restarts.items():
            _ACTOR_RESTARTS.labels(name).set(count)
        self._update_engines()
        self._update_models()

    def _update_engines(self) -> None:
        if router := self._board.last(RouterStatus):
            self._leases.set(router.leases)
            self._leased_tokens.set(router.leased_tokens)
        if breaker := self._board.last(BreakerStatus):
            values = {engine_id: _BREAKER_VALUES[at] for engine_id, at in breaker.states.items()}
            self._breakers.set(values)
        if governor := self._board.last(GovernorStatus):
            self._memory.set(governor)
        if pool := self._board.last(WarmupStatus):
            _WARM.set(pool.warm)
        if limiter := self._board.last(LimiterStatus):
            _LIMITED_STREAMS.set(limiter.streams)

    def _update_models(self) -> None:
        if registry := self._board.last(RegistryStatus):
            self._children.set(registry.children)
            self._loaded.set(dict.fromkeys(registry.idle_s, 1))
            self._idle.set(registry.idle_s)
            self._ready.set({name: ready for name, (ready, _) in registry.models.items()})
            self._replicas.set({name: count for name, (_, count) in registry.models.items()})


class MemoryMetrics:
    """Of the KV governor."""

    def __init__(self) -> None:
        self._of_engines: list[tuple[_ByLabel, Callable[[EngineMemory], int]]] = [
            (_ByLabel(_KV_BUDGET), lambda engine: engine.budget.kv_bytes),
            (_ByLabel(_KV_STORED_BUDGET), lambda engine: engine.budget.stored_bytes),
            (_ByLabel(_WIRED), lambda engine: engine.budget.wired_bytes),
            (_ByLabel(_KV_LIVE), lambda engine: engine.live_bytes),
            (_ByLabel(_KV_RESERVED), lambda engine: engine.reserved_bytes),
            (_ByLabel(_KV_STORED), lambda engine: engine.stored_bytes),
            (_ByLabel(_KV_PINNED), lambda engine: engine.pinned_bytes),
            (_ByLabel(_KV_EVICTED), lambda engine: engine.evicted_blocks),
        ]

    def set(self, status: GovernorStatus) -> None:
        """Each second."""
        for gauge, value in self._of_engines:
            gauge.set({name: value(engine) for name, engine in status.engines.items()})
        _KV_NODE_BUDGET.set(status.node_kv_bytes)
        _KV_HELD.set(status.held_bytes)
        _KV_COMING.set(status.coming_bytes)
        _KV_LEVEL.set(status.level)
        _KV_BITS.set(status.bits or 0)


class ChildMetrics:
    """Of the child processes; also takes out the live gauges of those that ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sweep()

    def set(self, children: list[Announce]) -> None:
        """All children there are."""
        self._sweep()
        for child in children:
            _CHILD_RESTARTS.labels(child.child_id, child.kind).set(child.restarts)
            _CHILD_RECYCLES.labels(child.child_id, child.kind).set(child.recycles)
            for state in _CHILD_STATES:
                gauge = _CHILD_STATE.labels(child.child_id, child.kind, state)
                gauge.set(child.state == state)

    def _sweep(self) -> None:
        for pid in _pids_in(self._folder):
            if not _is_alive(pid):
                mark_process_dead(pid, str(self._folder))


def _pids_in(folder: Path) -> set[int]:
    endings = {path.stem.rpartition("_")[2] for path in folder.glob("*.db")}
    return {int(ending) for ending in endings if ending.isdecimal()}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True
