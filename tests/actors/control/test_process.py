"""The control process over real sockets, with a lifeline in our hands."""

import logging
import time

import msgspec
import pytest

from actors.control import process
from actors.kv_governor import actor as kv_governor
from actors.limiter import actor as limiter
from actors.registry import actor as registry
from actors.router import actor as router
from actors.warmup_pool import actor as warmup_pool
from config.settings import CircuitBreakerSettings, Settings
from tests.actors.control.rig import Rig, eventually
from tests.actors.limiter.accounts import charged, limits
from tests.actors.samples import announce, gateway, hello, load, memory, release, route
from transport.messages.control import (
    Admit,
    Admitted,
    Budget,
    Hello,
    Lease,
    LeaseBatch,
    NoLongerAdmits,
    Refusal,
    RouteBatch,
    Warm,
    Warmed,
)
from transport.messages.lifeline import Heartbeat, Ready, Removed, Stop, Suspect
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelStatus,
    Snapshot,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module in (registry, router, kv_governor, warmup_pool, limiter):
        monkeypatch.setattr(module, "TICK_S", 0.05)
    monkeypatch.setattr(process, "BEAT_S", 0.05)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.close()


def bring_up(rig, replica=0, incarnation=1):
    engine = rig.peer(f"engine:m:{replica}#{incarnation}")
    rig.supervisor.tell(announce(replica, incarnation))
    engine.send(hello(replica, incarnation))
    engine.send(load(replica, incarnation))
    return engine


def ask(peer, *routes):
    peer.send(RouteBatch(list(routes)))
    return peer.receive(LeaseBatch).answers


def leased(peer, **changes):
    """Ask until there is a lease, as a gateway does."""

    def attempt():
        [answer] = ask(peer, route(**changes))
        return isinstance(answer, Lease) and answer

    return eventually(attempt)


def fact(rig, name):
    beats = rig.supervisor.heard(Heartbeat)
    return beats[-1].facts.get(name) if beats else None


def test_it_says_where_it_listens(rig):
    [ready] = eventually(lambda: rig.supervisor.heard(Ready))
    assert ready.facts == {
        "control_endpoint": f"ipc://{rig.folder}/control-1.sock",
        "topology_endpoint": f"ipc://{rig.folder}/topology-1.sock",
    }


def test_a_route_gets_a_lease_on_the_engine_that_is_up(rig):
    bring_up(rig)
    lease = leased(rig.peer("gateway:0#1"), route_id="r1")
    assert (lease.route_id, lease.engine_id, lease.incarnation) == ("r1", "engine:m:0", 1)


def test_an_unknown_model_is_refused_for_good(rig):
    [answer] = ask(rig.peer("gateway:0#1"), route(model="nope"))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.retryable) == ("model_not_found", False)


def test_a_model_without_engines_is_refused_for_now(rig):
    rig.supervisor.tell(announce(state="loading"))
    eventually(lambda: ask(rig.peer("gateway:1#1"), route())[0].code == "engine_unavailable")


def test_every_route_of_a_batch_is_answered_once(rig):
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    answers = ask(peer, *[route(str(n), model="m" if n % 3 else "nope") for n in range(50)])
    assert sorted(int(answer.route_id) for answer in answers) == list(range(50))


def test_a_gateways_hello_is_answered_with_everything_there_is(rig):
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    peer.send(Hello("gateway:0", 1))
    snapshot = peer.receive(Snapshot)
    assert [engine.engine_id for engine in snapshot.engines] == ["engine:m:0"]
    assert snapshot.models == [ModelStatus("m", "ready", 1, 1)]


def test_the_first_snapshot_waits_for_the_hellos_of_engines_that_are_ready(rig):
    rig.supervisor.tell(announce())
    peer = rig.peer("gateway:0#1")
    peer.send(Hello("gateway:0", 1))
    assert not peer.socket.poll(200)
    bring_up(rig)
    assert len(peer.receive(Snapshot).engines) == 1


def test_topology_hears_of_engines_coming_and_going(rig):
    watcher = rig.watcher()
    bring_up(rig)
    watcher.receive(Snapshot)
    rig.supervisor.tell(announce(state="backoff"))
    assert watcher.receive(EngineDown) == EngineDown("engine:m:0", 1, "backoff")
    assert watcher.receive(ModelStatus) == ModelStatus("m", "unavailable", 1, 0)
    bring_up(rig, incarnation=2)
    assert watcher.receive(EngineUp).incarnation == 2
    rig.supervisor.tell(Removed("engine:m:0"))
    assert watcher.receive(ModelGone) == ModelGone("m")


def test_a_draining_engine_gets_no_leases(rig):
    watcher = rig.watcher()
    engine = bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    watcher.receive(Snapshot)
    engine.send(NoLongerAdmits("engine:m:0", 1))
    assert watcher.receive(EngineDraining).engine_id == "engine:m:0"
    [answer] = ask(peer, route())
    assert answer.code == "engine_unavailable"


def test_a_model_that_is_unloaded_takes_nothing_new_while_it_finishes(rig):
    watcher = rig.watcher()
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    watcher.receive(Snapshot)
    rig.supervisor.tell(announce(state="draining", held=True))
    assert watcher.receive(ModelGone) == ModelGone("m")
    [answer] = ask(peer, route())
    assert (answer.code, answer.retryable) == ("model_not_found", False)
    eventually(lambda: fact(rig, "router.leases") == 1)


def test_bad_frames_are_dropped_and_it_lives_on(rig, caplog):
    peer = rig.peer("gateway:0#1")
    for frame in (b"", b"\x01", b"\x09abc", b"\x01\xc1", b"\x01\x93\x01\x02\x03"):
        peer.send_raw(frame)
    peer.socket.send_multipart([b"too", b"many"])
    assert ask(peer, route(model="nope"))
    assert caplog.text.count("bad frame") == 6


def test_a_restarted_router_answers_again_at_once(rig, caplog, record_property):
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    caplog.set_level(logging.CRITICAL)
    rig.control.actors.router.tell(Bomb())
    began = time.perf_counter()
    leased(peer)
    record_property("restart_ms", (time.perf_counter() - began) * 1e3)
    assert rig.control.host.restarts()["router"] == 1


ACTORS = ["registry", "circuit_breaker", "governor", "warmup_pool", "limiter"]


@pytest.mark.parametrize("actor", ACTORS)
def test_routing_survives_a_failure_of_any_actor(rig, actor):
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    getattr(rig.control.actors, actor).tell(Bomb())
    eventually(lambda: 1 in rig.control.host.restarts().values())
    assert isinstance(ask(peer, route())[0], Lease)


class Bomb(msgspec.Struct):
    """Ends the actor that looks at it."""

    @property
    def __class__(self):
        raise RuntimeError("boom")


def test_an_actor_that_fails_too_often_ends_the_process(rig):
    for _ in range(6):
        rig.control.actors.router.tell(Bomb())
    assert rig.join() == 1


def test_stop_ends_it_in_good_order(rig):
    rig.supervisor.tell(Stop(5.0))
    assert rig.join() == 0


def test_engines_are_given_budgets_and_warmed(rig):
    engine = bring_up(rig)
    assert engine.receive(Warm).widths
    engine.send(memory(device_limit_bytes=10_000))
    assert engine.receive(Budget) == Budget(6369, True, 3184, None, 7369)
    engine.send(Warmed("engine:m:0", 1, 0.1))
    eventually(lambda: fact(rig, "warmup.warm") == 1)
    eventually(lambda: fact(rig, "kv.budget_bytes") == 7000)


@pytest.fixture
def doubted():
    """A tree with an engine whose breaker opens at the second bad end, what a subscriber hears
    from then on, and a gateway that had a lease."""
    rig = Rig(Settings(circuit_breaker=CircuitBreakerSettings(min_requests=2)))
    try:
        watcher = rig.watcher()
        bring_up(rig)
        peer = rig.peer("gateway:0#1")
        leased(peer)
        watcher.receive(Snapshot)
        yield rig, watcher, peer
    finally:
        rig.close()


def test_an_engine_that_fails_requests_is_taken_out(doubted):
    rig, watcher, peer = doubted
    peer.send(RouteBatch(releases=[release(outcome="failed"), release(outcome="stalled")]))
    assert watcher.receive(BreakerChanged) == BreakerChanged("engine:m:0", 1, "open")
    [suspect] = eventually(lambda: rig.supervisor.heard(Suspect))
    assert (suspect.child_id, suspect.incarnation) == ("engine:m:0", 1)
    eventually(lambda: fact(rig, "breaker.open") == 1)
    assert ask(peer, route())[0].code == "engine_unavailable"


def test_an_engine_that_is_slow_but_ends_well_is_taken_out_a_little_later(doubted):
    _, watcher, peer = doubted
    for _ in range(2):
        peer.send(RouteBatch(releases=[release(outcome="finished", first_token_s=1e6)]))
    assert watcher.receive(BreakerChanged) == BreakerChanged("engine:m:0", 1, "open")


def test_leases_of_a_gateway_that_went_down_are_given_back(rig):
    bring_up(rig)
    rig.supervisor.tell(gateway())
    leased(rig.peer("gateway:0#1"))
    eventually(lambda: fact(rig, "router.leases") == 1)
    rig.supervisor.tell(gateway(state="backoff"))
    eventually(lambda: fact(rig, "router.leases") == 0)


def test_gateways_share_the_limits_of_a_key(rig):
    bring_up(rig)
    rig.supervisor.tell(gateway())
    here, there = rig.peer("gateway:0#1"), rig.peer("gateway:1#1")
    leased(here)
    of = limits(requests=10, streams=2)
    [first] = ask(here, charged("a", of=of))
    [second] = ask(there, charged("b", of=of))
    assert (first.allowance.requests.remaining, second.allowance.requests.remaining) == (9, 8)
    [refusal] = ask(there, charged("c", of=of))
    assert (refusal.code, refusal.allowance.requests.remaining) == ("rate_limit_exceeded", 8)
    eventually(lambda: fact(rig, "limiter.streams") == 2)
    there.send(RouteBatch(releases=[release(second.lease_id, ticket=second.ticket, used_tokens=9)]))
    [third] = ask(there, charged("d", of=of))
    assert third.allowance.requests.remaining == 7
    rig.supervisor.tell(gateway(state="backoff"))
    eventually(lambda: fact(rig, "limiter.streams") == 1)


def test_what_needs_no_engine_is_held_to_them_too(rig):
    here, there = rig.peer("gateway:0#1"), rig.peer("gateway:1#1")
    charge = charged(of=limits(requests=1)).charge
    here.send(Admit("q", charge))
    assert here.receive(Admitted).allowance.requests.remaining == 0
    there.send(Admit("q", charge))
    assert there.receive(Refusal).code == "rate_limit_exceeded"


def test_what_gets_no_lease_costs_nothing(rig):
    bring_up(rig)
    peer = rig.peer("gateway:0#1")
    leased(peer)
    of = limits(requests=1, streams=1)
    [refusal] = ask(peer, charged("a", of=of, model="nope"))
    assert refusal.code == "model_not_found"
    assert leased(peer, charge=charged(of=of).charge).allowance.requests.remaining == 0


def test_progress_stops_when_an_actor_hangs(rig, monkeypatch):
    monkeypatch.setattr(process, "HUNG_ACTOR_S", 0.0)
    eventually(lambda: len(rig.supervisor.heard(Heartbeat)) >= 2)
    first, last = rig.supervisor.heard(Heartbeat)[:2]
    assert first.busy
    assert first.progress == last.progress
