from msgspec.structs import replace

from gateway.dispatch.fleet import SETTLE_S, Fleet
from transport.fake import fake_card
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelStatus,
    PrefixBlocks,
    Snapshot,
)


def up(engine_id="e0", incarnation=1, model="m"):
    return EngineUp(engine_id, incarnation, "ipc:///tmp/x", fake_card(model))


def status(name="m", state="ready", ready=1):
    return ModelStatus(name, state, 2, ready)


def fleet(*engines):
    made = Fleet()
    made.apply(Snapshot(1, list(engines), [status()]), 0.0)
    return made


def test_knows_nothing_before_the_first_snapshot():
    empty = Fleet()
    assert not empty.known
    assert empty.models() == []
    assert empty.model("m") is None


def test_a_snapshot_brings_models_and_engines():
    made = fleet(up())
    assert made.known
    view = made.model("m")
    assert (view.name, view.state, view.replicas, view.ready_replicas) == ("m", "ready", 2, 1)
    assert view.card == fake_card("m")


def test_what_was_known_of_a_model_stays_known_when_it_is_unloaded():
    made = fleet(up())
    made.apply(EngineDown("e0", 1, "stopped"), 1.0)
    made.apply(Snapshot(1, [], [ModelStatus("m", "unloaded", 0, 0)]), 2.0)
    view = made.model("m")
    assert (view.state, view.card) == ("unloaded", fake_card("m"))


def test_what_the_files_of_a_model_say_is_known_before_it_was_loaded():
    made = fleet()
    made.apply(replace(status(state="unloaded", ready=0), context_tokens=7, created_time=9), 0.0)
    view = made.model("m")
    assert (view.card, view.context_tokens, view.created_time) == (None, 7, 9)


def test_only_new_engines_are_news():
    made = Fleet()
    assert made.apply(Snapshot(1, [up()], []), 0.0) == [up()]
    assert made.apply(Snapshot(1, [up()], []), 1.0) == []
    assert made.apply(up(incarnation=2), 2.0) == [up(incarnation=2)]
    assert made.apply(up(incarnation=1), 3.0) == []


def test_an_engine_may_come_before_the_status_of_its_model():
    made = Fleet()
    made.apply(Snapshot(1, [], []), 0.0)
    made.apply(up(), 0.0)
    assert made.has("m")
    assert made.model("m").state == "ready"
    made.apply(EngineDown("e0", 1, "died"), 0.0)
    assert made.models()[0].state == "unavailable"


def test_the_dead_stay_dead():
    made = fleet(up())
    made.apply(EngineDown("e0", 1, "died"), 0.0)
    assert made.apply(up(), 0.0) == []
    assert made.apply(up(incarnation=2), 0.0) == [up(incarnation=2)]
    made.apply(EngineDown("e0", 1, "late news"), 0.0)
    assert made.has_other("m", "e9")


def test_a_draining_engine_is_no_other_engine():
    made = fleet(up("e0"), up("e1"))
    assert made.has_other("m", "e0")
    made.apply(EngineDraining("e1", 1), 0.0)
    assert not made.has_other("m", "e0")
    assert not made.has_other("other", "e0")


def test_what_a_snapshot_brings_that_drains_serves_nobody():
    finishing = replace(up(), draining=True)
    made = Fleet()
    assert made.apply(Snapshot(1, [finishing], []), 0.0) == []
    assert made.models() == []  # its model was unloaded
    made.apply(Snapshot(1, [finishing], [status(state="unavailable", ready=0)]), 1.0)
    assert made.model("m").state == "unavailable"
    assert not made.has_other("m", "e9")
    assert made.apply(up(incarnation=2), 2.0) == [up(incarnation=2)]


def test_a_snapshot_makes_good_for_news_of_draining_that_were_lost():
    made = fleet(up("e0"), up("e1"))
    made.apply(Snapshot(1, [up("e0"), replace(up("e1"), draining=True)], [status()]), 1.0)
    assert not made.has_other("m", "e0")
    made.apply(Snapshot(1, [replace(up("e0"), draining=True)], []), 2.0)
    assert not made.has("m")


def test_the_card_outlives_the_engine():
    made = fleet(up())
    made.apply(EngineDown("e0", 1, "died"), 0.0)
    made.apply(status(state="unavailable", ready=0), 0.0)
    assert made.model("m").card == fake_card("m")
    assert made.model("m").state == "unavailable"


def test_an_unloaded_model_is_gone():
    made = fleet(up())
    made.apply(ModelGone("m"), 0.0)
    assert not made.has("m")


def test_what_is_missing_in_a_snapshot_is_gone():
    made = fleet(up("e0"), up("e1"))
    made.apply(Snapshot(1, [up("e0", model="n")], [status("n")]), 1.0)
    assert not made.has("m")
    assert not made.has_other("m", "e0")


def test_a_control_that_just_started_is_not_believed_what_it_misses():
    made = fleet(up())
    made.apply(Snapshot(2, [], []), 10.0)
    assert made.has("m")
    assert made.has_other("m", "e9")
    made.apply(Snapshot(2, [], []), 10.0 + SETTLE_S)
    assert not made.has("m")


def test_an_old_control_is_not_heard():
    made = fleet(up())
    made.apply(Snapshot(0, [], []), 100.0)
    assert made.has("m")


def test_breakers_are_the_routers_affair():
    assert fleet(up()).apply(BreakerChanged("e0", 1, "open"), 0.0) == []


def test_a_model_that_is_not_loaded_is_listed_with_what_is_known_of_it():
    made = fleet(up())
    made.apply(ModelStatus("m", "unloaded", 0, 0, "all are at work", 2.0), 0.0)
    view = made.model("m")
    assert (view.state, view.reason, view.retry_after_s) == ("unloaded", "all are at work", 2.0)
    assert view.card == fake_card("m")


def test_stored_blocks_are_the_routers_affair():
    made = fleet(replace(up(), card=replace(fake_card("m"), block_tokens=64)))
    assert made.apply(PrefixBlocks("e0", 1, [1], []), 0.0) == []
    assert (made.block_tokens("m"), made.block_tokens("nobody")) == (64, 0)
