"""The registry actor on a real host; more of it in tests/actors/control."""

import logging

import pytest

from actors.base import Actor
from actors.host import Host
from actors.registry.actor import Outlets, RegistryActor
from actors.registry.messages import (
    Granted,
    Introduce,
    Reservation,
    SnapshotWanted,
    Used,
    Weights,
)
from actors.registry.plans import ModelPlan
from actors.registry.residence import MIN_IDLE_S, Residence
from actors.registry.store import InProcessRegistry
from config.errors import ActorDied
from config.load_faults import public_reason
from tests.actors.control.rig import eventually
from tests.actors.samples import announce, engine_id, hello, load, up
from transport.messages.control import NoLongerAdmits, Wanted
from transport.messages.lifeline import ModelAbsent, ModelBack, Removed
from transport.messages.topology import EngineDown, ModelStatus, Snapshot

ASK_S = 5.0


class Listener(Actor):
    def __init__(self, heard):
        super().__init__()
        self.heard = heard

    def receive(self, message):
        self.heard.append(message)


class Governor:
    """Grants what is reserved at once, unless it is `closed`."""

    def __init__(self, told):
        self.told = told
        self.closed = False
        self.registry = None

    def reserve(self, reservation):
        self.told.append(reservation)
        if self.registry is not None and not self.closed:
            self.registry.tell(Granted(reservation))


@pytest.fixture
def stage(request):
    emitted, answers = [], []
    host = Host(lambda name, error: None)
    store = InProcessRegistry()
    asked, governor = [], Governor(emitted)
    outlets = Outlets(
        emit=emitted.append,
        snapshot=lambda _: None,
        answer=lambda *answer: answers.append(answer),
        show=lambda _: None,
        reserve=governor.reserve,
        load=lambda model: asked.append(("load", model)),
        unload=lambda model: asked.append(("unload", model)),
    )

    def make():
        plans = [ModelPlan(name=name, source=name, permanent=name == "p") for name in "mnp"]
        residence = Residence(plans, getattr(request, "param", 1), 0, lambda _: 70)
        return RegistryActor(store, 1, residence, outlets, retry_s=0.01)

    governor.registry = registry = host.start("registry", make)
    registry.asked, registry.governor = asked, governor
    yield host, registry, emitted, answers
    host.stop(ASK_S)


def tell(registry, *messages):
    """Until all that follows of them is done."""
    for message in messages:
        registry.tell(message)
    registry.ask(None, ASK_S)
    registry.ask(None, ASK_S)


def test_an_actor_that_introduces_itself_hears_how_things_stand(stage):
    host, registry, _, _ = stage
    for message in (announce(), hello(), NoLongerAdmits(engine_id(), 1)):
        registry.tell(message)
    heard = []
    listener = host.start("listener", lambda: Listener(heard))
    registry.ask(Introduce(listener), ASK_S)
    listener.ask(None, ASK_S)
    snapshot = heard[0]
    assert isinstance(snapshot, Snapshot)
    assert snapshot.engines == [up(draining=True)]


def test_a_successor_says_again_what_is_up(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    _, registry, emitted, _ = stage
    registry.tell(announce())
    registry.tell(hello())
    with pytest.raises(ActorDied):
        registry.ask(Introduce(None), ASK_S)
    registry.ask(SnapshotWanted(b"g"), ASK_S)
    assert emitted.count(up()) == 2


def test_a_peer_is_answered_once_all_engines_spoke(stage):
    _, registry, _, answers = stage
    registry.tell(announce())
    registry.ask(SnapshotWanted(b"g"), ASK_S)
    assert answers == []
    registry.ask(hello(), ASK_S)
    [(peer, snapshot)] = answers
    assert (peer, len(snapshot.engines)) == (b"g", 1)


def reserved(emitted):
    return [event for event in emitted if isinstance(event, Reservation)][-1]


def statuses(emitted, model):
    return [e for e in emitted if isinstance(e, ModelStatus) and e.name == model]


def test_a_wish_has_a_model_loaded_and_another_make_room(stage, monkeypatch):
    _, registry, emitted, _ = stage
    tell(registry, Used({"m", "stranger"}))
    assert registry.asked == [("load", "m")]
    monkeypatch.setattr("actors.registry.residence.PATIENCE_S", 0.0)
    tell(registry, announce(), hello(), load(running=1), Wanted("n"))
    reason = "the models that are loaded (m) are at work or pinned"
    assert statuses(emitted, "n")[-1] == ModelStatus("n", "unloaded", 0, 0, reason, 2.0)
    monkeypatch.setattr("actors.registry.residence.MIN_IDLE_S", 0.0)
    tell(registry, load())
    assert statuses(emitted, "n")[-1] == ModelStatus("n", "unloaded", 0, 0)
    assert registry.asked[1:] == [("unload", "m")]
    assert MIN_IDLE_S > 0
    tell(registry, ModelAbsent("m", "freed"), Removed(engine_id()))
    assert registry.asked[2:] == [("load", "n")]


def test_what_an_engine_leaves_is_spoken_for_before_anybody_hears_of_its_end(stage, monkeypatch):
    _, registry, emitted, _ = stage
    monkeypatch.setattr("actors.registry.residence.MIN_IDLE_S", 0.0)
    tell(registry, announce(), hello(), Wanted("n"))
    tell(registry, ModelAbsent("m", "freed"), Removed(engine_id()))
    down = next(i for i, event in enumerate(emitted) if isinstance(event, EngineDown))
    assert emitted[down - 1] == Reservation({"n": Weights(1, 70)})


def test_nothing_is_loaded_before_the_governor_grants_it(stage):
    _, registry, emitted, _ = stage
    registry.governor.closed = True
    tell(registry, Wanted("m"))
    assert (registry.asked, emitted[-1]) == ([], Reservation({"m": Weights(1, 70)}))
    tell(registry, Granted(emitted[-1]))
    assert registry.asked == [("load", "m")]


@pytest.mark.parametrize("stage", [2], indirect=True)
def test_nothing_is_loaded_while_there_is_an_engine_that_nobody_heard_of(stage):
    _, registry, emitted, _ = stage
    tell(registry, announce(model="mine"), Wanted("m"))
    assert registry.asked == []
    tell(registry, hello(model="mine"), Granted(reserved(emitted)))
    assert registry.asked == [("load", "m")]


def test_a_governor_that_introduces_itself_hears_what_is_reserved(stage):
    host, registry, emitted, _ = stage
    tell(registry, announce())
    emitted.clear()
    registry.ask(Introduce(host.start("listener", lambda: Listener([]))), ASK_S)
    assert emitted[0] == Reservation({"m": Weights(1, 70)})


def test_a_model_that_could_not_be_loaded_is_not_asked_for_again_and_again(stage):
    _, registry, emitted, _ = stage
    failure = ModelAbsent("m", "failed", "model_load_failed", "no such folder", "missing")
    tell(registry, Wanted("m"), failure, Wanted("m"))
    assert registry.asked == [("load", "m")]
    assert ModelStatus("m", "failed", 0, 0, public_reason("missing"), 1.0) in emitted
    tell(registry, ModelBack("m"))
    assert statuses(emitted, "m")[-1] == ModelStatus("m", "unloaded", 0, 0)


@pytest.mark.parametrize(("model", "again"), [("p", True), ("mine", True), ("m", False)])
def test_what_should_be_there_at_all_times_is_tried_again(stage, monkeypatch, model, again):
    monkeypatch.setattr("actors.registry.actor.TICK_S", 0.02)
    _, registry, emitted, _ = stage
    tell(registry, announce(model=model), announce(model=model, state="failed"))
    eventually(lambda: statuses(emitted, model)[-1].state == "unloaded")
    emitted.clear()
    eventually(lambda: len(emitted) > 3)  # a few ticks later
    assert registry.asked[:1] == ([("load", model)] if again else [])
    tell(registry, Used({model}))
    assert registry.asked[0] == ("load", model)
