"""The governor actor on a real host."""

import msgspec
import pytest

from actors.host import Host
from actors.kv_governor import actor
from actors.kv_governor.actor import KVGovernorActor, Outlets
from actors.kv_governor.policy import Level
from actors.registry.messages import Granted, Reservation, Weights
from config.settings import KVCacheSettings
from tests.actors.samples import engine_id, memory, up
from transport.messages.topology import EngineDown, Snapshot

ASK_S = 5.0
STATUSES = []


MARKS = {"soft_watermark": 0.85, "hard_watermark": 0.97}
NO_MARKS = {"soft_watermark": 1.0, "hard_watermark": 1.0}  # nothing held back: round numbers
with_marks = pytest.mark.parametrize("stage", [MARKS], indirect=True)


@pytest.fixture
def stage(request, monkeypatch):
    monkeypatch.setattr(actor, "TICK_S", 0.02)
    sent = []
    host = Host(lambda name, error: None)

    def send(name, budget):
        sent.append((name, budget.kv_bytes))

    grants = []
    outlets = Outlets(send, lambda _: None, grants.append, STATUSES.append)
    marks = getattr(request, "param", NO_MARKS)
    settings = KVCacheSettings(budget_fraction=0.5, stored_fraction=1.0, **marks)
    governor = host.start("governor", lambda: KVGovernorActor(settings, outlets))
    governor.grants = grants
    yield governor, sent
    host.stop(ASK_S)


def test_an_engine_is_told_its_budget_once(stage):
    governor, sent = stage
    governor.tell(up())
    governor.tell(memory())
    governor.ask(memory(), ASK_S)
    assert sent == [("engine:m:0#1", 49_000)]


def test_a_second_engine_gets_its_part_of_the_first_ones(stage):
    governor, sent = stage
    governor.tell(up(0))
    governor.tell(memory(0))
    governor.ask(up(1), ASK_S)
    assert dict(sent) == {"engine:m:0#1": 24_000, "engine:m:1#1": 24_000}


def test_a_new_incarnation_is_told_at_once(stage):
    governor, sent = stage
    governor.tell(up())
    governor.tell(memory())
    governor.ask(up(incarnation=2), ASK_S)
    governor.ask(memory(incarnation=1, weights_bytes=5), ASK_S)
    assert sent[1:] == [("engine:m:0#2", 49_000)]


def test_waiting_requests_are_a_need(stage):
    governor, sent = stage
    governor.tell(up(0))
    governor.tell(up(1))
    governor.tell(memory(0))
    governor.tell(memory(7, waiting_kv_bytes=24_000))
    governor.ask(memory(1, waiting_kv_bytes=24_000), ASK_S)
    assert sent[-1] == ("engine:m:1#1", 30_000)


def test_what_is_gone_needs_nothing(stage):
    governor, sent = stage
    for message in (up(0), up(1), memory(0), EngineDown(engine_id(1), 1, "gone")):
        governor.tell(message)
    governor.ask(EngineDown(engine_id(1), 1, "gone"), ASK_S)
    assert sent[-1] == ("engine:m:0#1", 49_000)


def test_a_snapshot_replaces_what_was_known(stage):
    governor, sent = stage
    governor.tell(up(0))
    governor.tell(memory(0))
    governor.tell(Snapshot(1, [up(1)], []))
    governor.ask(memory(0), ASK_S)
    assert sent[-1] == ("engine:m:1#1", 49_000)


def test_weights_that_leave_no_room_are_told_to_people_once(stage, caplog):
    governor, sent = stage
    governor.tell(up())
    for _ in range(2):
        governor.ask(memory(weights_bytes=60_000), ASK_S)
    assert sent[-1][1] == 0
    assert caplog.text.count("kv_cache.budget_fraction") == 1


@with_marks
def test_it_shows_how_the_memory_stands(stage, caplog):
    governor, _ = stage
    caplog.set_level("INFO")
    governor.tell(up())
    parts = {"kv_bytes": 10, "reserved_kv_bytes": 30, "stored_kv_bytes": 45_000}
    governor.ask(memory(**parts, pinned_kv_bytes=5, evicted_blocks=7), ASK_S)
    STATUSES.clear()
    while not STATUSES:
        governor.ask(memory(9), ASK_S)
    (status,) = STATUSES[:1]
    assert (status.node_kv_bytes, status.held_bytes) == (49_000, 30)
    assert (status.level, status.bits) == (Level.EVICTING, None)
    assert "memory for caches: evicting" in caplog.text
    engine = status.engines[engine_id()]
    assert (engine.live_bytes, engine.reserved_bytes, engine.stored_bytes) == (10, 30, 45_000)
    assert (engine.pinned_bytes, engine.evicted_blocks) == (5, 7)
    assert (engine.budget.kv_bytes, engine.budget.wired_bytes) == (44_589, 45_589)


@with_marks
def test_the_store_of_the_engine_that_was_idle_for_longest_shrinks_first(stage):
    governor, _ = stage
    budgets = {}
    for replica in (0, 1):
        governor.tell(up(replica))
        governor.tell(memory(replica, stored_kv_bytes=1000))
    governor.ask(memory(0, stored_kv_bytes=22_000, waiting_kv_bytes=1), ASK_S)
    governor.ask(memory(1, stored_kv_bytes=22_000), ASK_S)
    while not budgets:
        STATUSES.clear()
        governor.ask(memory(9), ASK_S)
        budgets = {id_: e.budget.stored_bytes for s in STATUSES for id_, e in s.engines.items()}
    assert budgets[engine_id(1)] < budgets[engine_id(0)]


BOTH = Reservation({"m": Weights(1, 1000), "n": Weights(2, 9000)})


def test_weights_that_are_to_come_are_kept_from_the_caches(stage):
    governor, sent = stage
    governor.tell(up())
    governor.tell(memory())
    governor.ask(BOTH, ASK_S)
    assert sent[1:] == [("engine:m:0#1", 31_000)]
    STATUSES.clear()
    while not STATUSES:
        governor.ask(memory(9), ASK_S)
    assert (STATUSES[0].node_kv_bytes, STATUSES[0].coming_bytes) == (31_000, 18_000)
    governor.ask(Reservation({"m": Weights(1, 1000)}), ASK_S)  # it could not be loaded
    assert sent[2:] == [("engine:m:0#1", 49_000)]


def test_an_engine_that_is_up_counts_by_itself(stage):
    governor, sent = stage
    governor.tell(up())
    governor.tell(memory())
    governor.tell(BOTH)
    governor.ask(up(model="n"), ASK_S)
    assert dict(sent) == {"engine:m:0#1": 19_500, "engine:n:0#1": 19_500}  # its card says 1000
    governor.ask(EngineDown(engine_id(model="n"), 1, "backoff"), ASK_S)
    assert sent[-1] == ("engine:m:0#1", 31_000)  # until it is back


def test_what_nobody_uses_is_granted_once_all_engines_spoke_since(stage):
    governor, _ = stage
    governor.tell(Snapshot(1, [up()], []))
    governor.tell(memory())
    governor.ask(BOTH, ASK_S)
    assert governor.grants == []
    for _ in range(2):
        governor.ask(memory(), ASK_S)
    assert governor.grants == [Granted(BOTH)]
    governor.ask(BOTH, ASK_S)  # from a registry that does not know it any more
    assert governor.grants[1:] == [Granted(BOTH)]


def test_caches_in_use_are_waited_for(stage):
    governor, _ = stage
    governor.tell(Snapshot(1, [up()], []))
    governor.tell(BOTH)
    governor.ask(memory(reserved_kv_bytes=31_000), ASK_S)
    assert governor.grants == []
    governor.ask(memory(reserved_kv_bytes=30_000, stored_kv_bytes=15_000), ASK_S)
    assert governor.grants == [Granted(BOTH)]
    governor.tell(memory(reserved_kv_bytes=31_000))
    governor.ask(BOTH, ASK_S)
    assert governor.grants[1:] == []
    governor.ask(EngineDown(engine_id(), 1, "gone"), ASK_S)
    assert governor.grants[1:] == [Granted(BOTH)]


def test_without_engines_all_is_granted_once_that_is_known(stage):
    governor, _ = stage
    governor.ask(BOTH, ASK_S)
    assert governor.grants == []
    governor.ask(Snapshot(1, [], []), ASK_S)
    assert governor.grants == [Granted(BOTH)]
    governor.tell(up())
    governor.tell(Reservation({"m": Weights(1, 1000)}))
    governor.ask(EngineDown(engine_id(), 1, "gone"), ASK_S)
    assert governor.grants[1:] == [Granted(Reservation({"m": Weights(1, 1000)}))]


def test_an_engine_without_caches_takes_its_weights_and_gets_no_share(stage):
    governor, sent = stage
    embedder = up(1)
    card = msgspec.structs.replace(embedder.card, kind="embedding")
    governor.tell(up(0))
    governor.tell(msgspec.structs.replace(embedder, card=card))
    governor.tell(memory(1, weights_bytes=10_000))
    governor.ask(memory(0), ASK_S)
    assert sent == [("engine:m:0#1", 39_000)]
