"""What the catalogue concludes from announcements and hellos."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.registry.messages import GatewayDown
from actors.registry.policy import SETTLE_S, Catalogue
from actors.registry.store import InProcessRegistry
from tests.actors.samples import announce, engine_id, gateway, hello, up
from transport.messages.lifeline import Announce
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelStatus,
    Snapshot,
)

UP = [up(), ModelStatus("m", "ready", 1, 1)]

NOW = 0.5


@pytest.fixture
def registry():
    return InProcessRegistry()


@pytest.fixture
def catalogue(registry):
    return Catalogue(registry, 1, now=0.0)


def test_an_engine_is_up_when_it_is_ready_and_said_hello(catalogue):
    assert catalogue.announce(announce(), NOW) == [ModelStatus("m", "unavailable", 1, 0)]
    assert catalogue.hello(hello()) == UP


def test_the_order_of_hello_and_announcement_does_not_matter(catalogue):
    assert catalogue.hello(hello()) == []
    assert catalogue.announce(announce(), NOW) == UP


def test_what_did_not_change_is_not_said_again(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    assert catalogue.announce(announce(), NOW) == []
    assert catalogue.hello(hello()) == []


def test_a_hello_of_another_incarnation_does_not_count(catalogue):
    catalogue.announce(announce(incarnation=2), NOW)
    assert catalogue.hello(hello(incarnation=1)) == []
    assert catalogue.snapshot().engines == []


def test_stale_incarnations_are_dropped(catalogue):
    catalogue.hello(hello(incarnation=2))
    catalogue.announce(announce(incarnation=2), NOW)
    assert catalogue.hello(hello(incarnation=1)) == []
    assert catalogue.announce(announce(incarnation=1, state="failed"), NOW) == []
    assert catalogue.snapshot().engines == [up(incarnation=2)]


def test_a_newer_hello_means_that_the_older_incarnation_is_gone(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    assert catalogue.hello(hello(incarnation=2))[0] == EngineDown(engine_id(), 1, "replaced")
    events = catalogue.announce(announce(incarnation=2), NOW)
    assert events[0] == up(incarnation=2)


def test_an_engine_that_was_replaced_unseen_goes_down_first(catalogue, registry):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    registry.put_hello(hello(incarnation=2))
    events = catalogue.announce(announce(incarnation=2), NOW)
    assert events == [EngineDown(engine_id(), 1, "replaced"), up(incarnation=2)]


def test_an_engine_goes_down_with_its_process(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    events = catalogue.announce(announce(state="backoff"), NOW)
    down = [EngineDown(engine_id(), 1, "backoff"), ModelStatus("m", "unavailable", 1, 0)]
    assert events == down


@pytest.mark.parametrize("state", ["draining", "stopping"])
def test_an_engine_that_is_being_stopped_drains(catalogue, state):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    gone = ModelStatus("m", "unavailable", 1, 0)
    assert catalogue.announce(announce(state=state), NOW) == [EngineDraining(engine_id(), 1), gone]
    assert catalogue.announce(announce(state=state), NOW) == []
    assert catalogue.snapshot().engines == [up(draining=True)]


def test_an_engine_may_say_itself_that_it_drains(catalogue):
    assert catalogue.drain(engine_id(), 1) == []
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    assert catalogue.drain(engine_id(), 2) == []
    gone = ModelStatus("m", "unavailable", 1, 0)
    assert catalogue.drain(engine_id(), 1) == [EngineDraining(engine_id(), 1), gone]


def test_a_model_of_which_one_engine_drains_has_the_others(catalogue):
    for replica in (0, 1):
        catalogue.hello(hello(replica))
        catalogue.announce(announce(replica), NOW)
    catalogue.announce(announce(state="stopping"), NOW)
    assert catalogue.snapshot().models == [ModelStatus("m", "ready", 2, 1)]


def test_a_model_whose_engines_are_all_to_stop_is_gone_while_they_finish(catalogue):
    for replica in (0, 1):
        catalogue.hello(hello(replica))
        catalogue.announce(announce(replica), NOW)
    catalogue.announce(announce(0, state="draining", held=True), NOW)
    assert catalogue.announce(announce(1, state="draining", held=True), NOW) == [
        EngineDraining(engine_id(1), 1),
        ModelGone("m"),
    ]
    finishing = [up(replica, draining=True) for replica in (0, 1)]
    assert catalogue.snapshot() == Snapshot(1, finishing, [])
    assert catalogue.announce(announce(1, incarnation=2, state="loading"), NOW)[-1] == (
        ModelStatus("m", "unavailable", 2, 0)
    )


def test_a_model_goes_with_its_last_engine(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    catalogue.announce(announce(1, state="loading"), NOW)
    assert catalogue.remove(engine_id(1)) == [ModelStatus("m", "ready", 1, 1)]
    assert catalogue.remove(engine_id()) == [EngineDown(engine_id(), 1, "removed"), ModelGone("m")]
    assert catalogue.remove(engine_id()) == []
    assert catalogue.snapshot().models == []


@pytest.mark.parametrize(
    ("children", "state"),
    [
        ([announce(state="loading")], "loading"),
        ([announce(state="starting"), announce(1, state="loading")], "loading"),
        ([announce(state="loading", restarts=1)], "unavailable"),
        ([announce(state="ready")], "unavailable"),
        ([announce(state="backoff")], "unavailable"),
        ([announce(state="failed")], "failed"),
        ([announce(state="failed"), announce(1, state="loading")], "unavailable"),
    ],
)
def test_states_of_a_model_without_a_ready_engine(catalogue, children, state):
    for child in children:
        catalogue.announce(child, NOW)
    assert [model.state for model in catalogue.snapshot().models] == [state]


def test_a_model_that_was_ready_is_not_loading_any_more(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    catalogue.announce(announce(incarnation=2, state="loading"), NOW)
    assert catalogue.snapshot().models == [ModelStatus("m", "unavailable", 1, 0)]


def test_a_gateway_that_ended_is_told_once(catalogue):
    assert catalogue.announce(gateway(), NOW) == []
    assert catalogue.announce(gateway(state="backoff"), NOW) == [GatewayDown("gateway:0", 1)]
    assert catalogue.announce(gateway(incarnation=2), NOW) == []
    assert catalogue.announce(gateway(incarnation=3), NOW) == [GatewayDown("gateway:0", 2)]
    assert catalogue.remove("gateway:0") == [GatewayDown("gateway:0", 3)]


def test_other_children_say_nothing(catalogue):
    control = Announce("control", "control", {}, "ready", 1, 1, {})
    assert catalogue.announce(control, NOW) == []
    assert catalogue.remove("control") == []


def test_breaker_states_are_in_the_snapshot(catalogue):
    catalogue.hello(hello())
    catalogue.announce(announce(), NOW)
    catalogue.breaker(BreakerChanged(engine_id(), 1, "open"))
    catalogue.breaker(BreakerChanged(engine_id(), 2, "half_open"))
    catalogue.breaker(BreakerChanged(engine_id(5), 1, "half_open"))
    assert [engine.breaker for engine in catalogue.snapshot().engines] == ["open"]


def test_a_snapshot_is_believed_when_all_engines_spoke_or_after_a_while(catalogue):
    assert not catalogue.settled(0.1)
    catalogue.announce(announce(), NOW)
    catalogue.announce(announce(1, state="loading"), NOW)
    assert not catalogue.settled(0.1)
    catalogue.hello(hello())
    assert catalogue.settled(0.1)
    catalogue.announce(announce(1), NOW)
    assert not catalogue.settled(0.1)
    assert catalogue.settled(SETTLE_S)


def test_a_successor_concludes_the_same(catalogue, registry):
    catalogue.announce(announce(), NOW)
    catalogue.hello(hello())
    catalogue.announce(announce(1, state="loading"), NOW)
    successor = Catalogue(registry, 1, now=0.0)
    assert up() in successor.rebuild(NOW)
    assert successor.snapshot() == catalogue.snapshot()


STATES = ["starting", "loading", "ready", "draining", "stopping", "backoff", "failed", "stopped"]
announces = st.builds(announce, st.integers(0, 1), st.integers(1, 3), st.sampled_from(STATES))
happenings = st.one_of(announces, st.builds(hello, st.integers(0, 1), st.integers(1, 3)))


@settings(deadline=None)
@given(st.lists(happenings, max_size=30))
def test_ups_and_downs_alternate_and_agree_with_the_snapshot(events):
    catalogue = Catalogue(InProcessRegistry(), 1, now=0.0)
    current: dict[str, int] = {}
    for event in events:
        heard = (
            catalogue.announce(event, NOW)
            if isinstance(event, Announce)
            else catalogue.hello(event)
        )
        for said in heard:
            if isinstance(said, EngineUp):
                assert said.engine_id not in current
                current[said.engine_id] = said.incarnation
            elif isinstance(said, EngineDown):
                assert current.pop(said.engine_id) == said.incarnation
    listed = {engine.engine_id: engine.incarnation for engine in catalogue.snapshot().engines}
    assert listed == current
