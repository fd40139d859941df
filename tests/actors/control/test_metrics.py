"""Facts and gauges, and whose gauges are taken out."""

import os
import subprocess
import sys

import msgspec
import pytest
from prometheus_client import REGISTRY

from actors.circuit_breaker.actor import BreakerStatus
from actors.control.board import Board
from actors.control.metrics import ChildMetrics, ControlMetrics
from actors.kv_governor.actor import EngineMemory, GovernorStatus
from actors.kv_governor.policy import Level
from actors.limiter.messages import LimiterStatus
from actors.registry.messages import RegistryStatus
from actors.router.messages import RouterStatus
from actors.warmup_pool.actor import WarmupStatus
from tests.actors.samples import announce
from transport.messages.control import Budget


def value(name, **labels):
    return REGISTRY.get_sample_value(f"mlx_serving_{name}", labels)


def memory_status(engine):
    budget = Budget(500, True, 200, 8, 1500)
    parts = {"live_bytes": 5, "reserved_bytes": 7, "stored_bytes": 90, "pinned_bytes": 40}
    memory = EngineMemory(**parts, budget=budget, evicted_blocks=3)
    return GovernorStatus(
        node_kv_bytes=1000,
        held_bytes=10,
        coming_bytes=300,
        level=Level.QUANTISING,
        bits=8,
        engines={engine: memory},
    )


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def metrics(board, tmp_path):
    return ControlMetrics(board, tmp_path)


def test_facts_are_flat(board):
    replaced = msgspec.structs.replace(announce(), recycles=4)
    board.show(RegistryStatus(2, {"m": (1, 2), "n": (0, 1)}, [replaced], {"m": 3.21}))
    board.show(RouterStatus({"e": 3, "f": 1}, {"e": 30, "f": 10}, {"lease": 2}, {"e": 6, "f": 1}))
    board.show(BreakerStatus({"e": "open", "f": "half_open", "g": "closed"}))
    board.show(memory_status("e"))
    board.show(WarmupStatus(1, 2))
    board.show(LimiterStatus(5, 6, {}, {}))
    assert board.facts() == {
        "registry.engines_up": 2,
        "registry.models": 2,
        "registry.models_ready": 1,
        "registry.models_loaded": 1,
        "registry.recycles": 4,
        "model.m.idle_s": 3.2,
        "router.leases": 4,
        "router.leased_tokens": 40,
        "router.prefix_blocks": 7,
        "breaker.open": 1,
        "breaker.half_open": 1,
        "kv.budget_bytes": 1000,
        "kv.held_bytes": 10,
        "kv.coming_bytes": 300,
        "kv.live_bytes": 5,
        "kv.stored_bytes": 90,
        "kv.pinned_bytes": 40,
        "kv.evicted_blocks": 3,
        "kv.wired_bytes": 1500,
        "kv.level": "quantising",
        "kv.bits": 8,
        "kv.admits": True,
        "warmup.warm": 1,
        "warmup.cold": 2,
        "limiter.scopes": 5,
        "limiter.streams": 6,
    }


def test_gauges_follow_and_go_to_zero_with_what_they_name(board, metrics):
    metrics.update({})
    board.show(BreakerStatus({"one": "open", "two": "half_open"}))
    metrics.update({})
    assert value("breaker_state", engine="one") == 2
    board.show(BreakerStatus({"two": "closed"}))
    metrics.update({})
    assert value("breaker_state", engine="one") == 0
    assert value("breaker_state", engine="two") == 0


def test_every_status_has_its_gauges(board, metrics):
    board.show(RegistryStatus(1, {"gauged": (1, 2)}, [], {"gauged": 2.5}))
    board.show(RouterStatus({"gauged": 3}, {"gauged": 30}, {}))
    board.show(memory_status("gauged"))
    board.show(WarmupStatus(1, 2))
    board.show(LimiterStatus(5, 6, {}, {}))
    metrics.update({"gauged": 4})
    assert value("model_ready_replicas", model="gauged") == 1
    assert value("model_replicas", model="gauged") == 2
    assert value("router_leases", engine="gauged") == 3
    assert value("router_leased_tokens", engine="gauged") == 30
    assert value("model_loaded", model="gauged") == 1
    assert value("model_idle_seconds", model="gauged") == 2.5
    told = {
        "kv_budget_bytes": 500,
        "kv_stored_budget_bytes": 200,
        "wired_limit_bytes": 1500,
        "kv_live_bytes": 5,
        "kv_reserved_bytes": 7,
        "kv_stored_bytes": 90,
        "kv_pinned_bytes": 40,
        "kv_evicted_blocks": 3,
    }
    assert {name: value(name, engine="gauged") for name in told} == told
    assert (value("kv_level"), value("kv_bits")) == (2, 8)
    assert value("kv_node_budget_bytes") == 1000
    assert value("kv_held_bytes") == 10
    assert value("kv_coming_bytes") == 300
    assert value("warm_engines") == 1
    assert value("limited_streams") == 6
    assert value("control_actor_restarts", actor="gauged") == 4


def test_routes_and_drops_are_counted(board, metrics):
    board.show(RouterStatus({}, {}, {"counted": 2}))
    board.show(RouterStatus({}, {}, {"counted": 3}))
    board.drop("counted")
    metrics.update({})
    metrics.update({})
    assert value("routes_total", answer="counted") == 5
    assert value("control_dropped_messages_total", reason="counted") == 1


def test_what_limits_refuse_is_counted(board, metrics):
    labels = {"of": "tenant", "limit": "tokens"}
    before = value("limited_requests_total", **labels) or 0
    board.show(LimiterStatus(1, 0, {"limited": 3}, {("tenant", "tokens"): 1}))
    board.show(LimiterStatus(1, 0, {"limited": 1}, {("tenant", "tokens"): 1}))
    metrics.update({})
    metrics.update({})
    assert value("routes_total", answer="limited") == 4
    assert value("limited_requests_total", **labels) == before + 2


def test_children_show_their_state(board, metrics):
    replaced = msgspec.structs.replace(announce(state="backoff", restarts=3), recycles=2)
    board.show(RegistryStatus(0, {}, [replaced]))
    metrics.update({})
    labels = {"child": "engine:m:0", "kind": "engine"}
    assert value("child_restarts", **labels) == 3
    assert value("child_recycles", **labels) == 2
    assert value("child_state", **labels, state="backoff") == 1
    assert value("child_state", **labels, state="ready") == 0


def test_the_oldest_status_tells_of_a_hung_actor(board):
    first = board.age_s()
    board.show(WarmupStatus(0, 0))
    assert board.age_s() >= first


def live_gauge(folder, pid):
    path = folder / f"gauge_livesum_{pid}.db"
    path.touch()
    return path


@pytest.mark.processes
def test_live_gauges_of_processes_that_ended_before_are_taken_out(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert ended.wait(20) == 0
    dead, alive = live_gauge(tmp_path, ended.pid), live_gauge(tmp_path, os.getpid())
    (tmp_path / "gauge_livesum_odd.db").touch()
    ChildMetrics(tmp_path)
    assert (dead.exists(), alive.exists()) == (False, True)


@pytest.mark.processes
def test_live_gauges_go_with_their_process_even_one_that_was_never_announced(tmp_path):
    children = ChildMetrics(tmp_path)
    child = subprocess.Popen(["sleep", "60"])
    gauge = live_gauge(tmp_path, child.pid)
    children.set([])
    assert gauge.exists()
    child.kill()
    child.wait(20)
    children.set([])
    assert not gauge.exists()
