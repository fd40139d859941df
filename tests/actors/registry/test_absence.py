"""Models of the configuration that are not loaded, as the catalogue sees them."""

import pytest
from msgspec.structs import replace

from actors.registry.failures import RETRY_S
from actors.registry.policy import GAVE_UP, Catalogue
from actors.registry.residence import Resident
from actors.registry.store import InProcessRegistry
from config.load_faults import public_reason
from tests.actors.samples import announce, engine_id, hello, load
from transport.messages.lifeline import ModelAbsent
from transport.messages.topology import ModelGone, ModelStatus

UNLOADED = ModelStatus("m", "unloaded", 0, 0)
LOADING = ModelStatus("m", "loading", 1, 0)

NOW = 0.5


@pytest.fixture
def registry():
    return InProcessRegistry()


@pytest.fixture
def catalogue(registry):
    found = Catalogue(registry, 1, now=0.0, configured={"m"})
    found.rebuild(NOW)
    return found


def failed(reason, rest_s, replicas=0):
    return ModelStatus("m", "failed", replicas, 0, reason, rest_s)


def models(catalogue):
    return catalogue.snapshot().models


def bring_up(catalogue):
    catalogue.announce(announce(), NOW)
    catalogue.hello(hello())


def test_it_is_listed_before_it_was_ever_loaded(registry):
    assert Catalogue(registry, 1, 0.0, {"m"}).rebuild(NOW) == [UNLOADED]


def test_it_comes_and_goes_by_itself(catalogue):
    assert catalogue.can_be_loaded("m")
    assert catalogue.announce(announce(state="starting"), NOW) == [LOADING]
    bring_up(catalogue)
    assert models(catalogue) == [ModelStatus("m", "ready", 1, 1)]
    catalogue.absent(ModelAbsent("m", "freed"), 1.0)
    assert models(catalogue) == [UNLOADED]
    catalogue.announce(announce(state="stopping", held=True), NOW)
    assert catalogue.residents()["m"].leaving
    catalogue.remove(engine_id())
    assert (models(catalogue), catalogue.residents()) == ([UNLOADED], {})
    assert catalogue.back("m", NOW) == []
    assert catalogue.announce(announce(state="starting", incarnation=2), NOW) == [LOADING]


def test_what_a_person_unloads_or_stops_is_gone(catalogue):
    bring_up(catalogue)
    assert catalogue.absent(ModelAbsent("m", "dismissed"), 1.0) == [ModelGone("m")]
    assert not catalogue.can_be_loaded("m")
    assert catalogue.back("m", NOW) == [ModelStatus("m", "ready", 1, 1)]
    assert catalogue.announce(announce(held=True), NOW) == [ModelGone("m")]


def test_a_model_that_is_not_of_the_configuration_goes_for_good(registry):
    catalogue = Catalogue(registry, 1, 0.0)
    bring_up(catalogue)
    assert catalogue.absent(ModelAbsent("m", "freed"), 1.0) == [ModelGone("m")]


def test_one_that_could_not_be_loaded_is_failed_for_a_while(catalogue):
    absent = ModelAbsent("m", "failed", "model_load_failed", "no /x/config.json", "missing")
    catalogue.announce(announce(state="starting"), NOW)
    assert catalogue.absent(absent, 1.0) == [failed(public_reason("missing"), RETRY_S)]
    catalogue.announce(announce(state="stopping"), 1.1)
    assert catalogue.residents()["m"].leaving
    catalogue.remove(engine_id())
    assert not catalogue.can_be_loaded("m")
    assert catalogue.forgive(10.9) == [failed(public_reason("missing"), RETRY_S - 9)]
    assert catalogue.forgive(0.9 + RETRY_S) == [failed(public_reason("missing"), 1.0)]
    assert catalogue.rested() == []
    assert catalogue.forgive(1.0 + RETRY_S) == [UNLOADED]
    assert (catalogue.rested(), catalogue.can_be_loaded("m")) == (["m"], True)


def test_one_that_fails_again_when_it_is_tried_rests_for_longer(catalogue):
    absent = ModelAbsent("m", "failed", "model_load_failed", "no /x/config.json", "missing")
    catalogue.absent(absent, 0.0)
    catalogue.forgive(RETRY_S)
    catalogue.back("m", RETRY_S)
    assert catalogue.rested() == []
    catalogue.announce(announce(state="starting"), RETRY_S)
    assert catalogue.absent(absent, RETRY_S) == [failed(public_reason("missing"), 2 * RETRY_S)]


def test_one_whose_engines_are_given_up_is_failed_for_a_while(catalogue):
    bring_up(catalogue)
    catalogue.announce(announce(1, state="stopping"), 1.0)
    catalogue.announce(announce(state="failed"), 1.0)
    assert models(catalogue)[0].state == "unavailable"
    said = catalogue.announce(announce(1, state="stopped"), 1.0)
    assert said == [failed(GAVE_UP, RETRY_S, replicas=2)]
    assert catalogue.forgive(1.0 + RETRY_S) == [UNLOADED]
    catalogue.announce(announce(1, state="stopped"), 2.0 + RETRY_S)  # no news
    assert (catalogue.rested(), catalogue.residents()) == (["m"], {})
    for replica in (0, 1):
        catalogue.announce(announce(replica, incarnation=2, state="starting"), 40.0)
    assert models(catalogue) == [ModelStatus("m", "loading", 2, 0)]
    assert catalogue.rested() == []


def test_a_person_may_try_it_before(catalogue):
    bring_up(catalogue)
    catalogue.announce(announce(state="failed"), 1.0)
    assert catalogue.announce(announce(state="starting", incarnation=2), 2.0) == [LOADING]
    again = announce(state="failed", incarnation=2)
    assert catalogue.announce(again, 3.0) == [failed(GAVE_UP, 2 * RETRY_S, replicas=1)]


def test_what_a_person_stops_after_it_failed_is_not_tried_again(catalogue):
    bring_up(catalogue)
    catalogue.announce(announce(state="failed"), 1.0)
    assert catalogue.announce(announce(state="failed", held=True), 2.0) == [ModelGone("m")]
    catalogue.forgive(1.0 + RETRY_S)
    assert catalogue.rested() == []


def test_a_successor_lets_it_rest_anew(catalogue, registry):
    bring_up(catalogue)
    catalogue.announce(announce(state="failed"), 1.0)
    successor = Catalogue(registry, 1, 9.0, {"m"})
    assert failed(GAVE_UP, RETRY_S, replicas=1) in successor.rebuild(9.0)


def test_no_room_is_said_and_taken_back(catalogue):
    refused = ModelStatus("m", "unloaded", 0, 0, "all busy", 2.0)
    assert catalogue.no_room({"m": ("all busy", 2.0)}) == [refused]
    assert catalogue.no_room({"m": ("all busy", 2.0)}) == []
    assert catalogue.no_room({}) == [UNLOADED]


def test_of_a_model_whose_engines_are_announced_one_by_one_it_is_known_how_many_come(catalogue):
    first = announce(state="starting")
    catalogue.announce(replace(first, labels=first.labels | {"replicas": "3"}), NOW)
    assert catalogue.residents()["m"] == Resident(replicas=1, planned=3, loading=True)


def test_who_takes_memory_and_who_is_at_work(catalogue):
    catalogue.announce(announce(1, state="failed"), NOW)
    assert catalogue.residents() == {}
    catalogue.announce(announce(state="starting"), NOW)
    assert catalogue.residents()["m"] == Resident(leaving=False)
    bring_up(catalogue)
    catalogue.load(load(running=1))
    catalogue.load(load(incarnation=7))
    assert catalogue.residents()["m"] == Resident(weights_bytes=1000, busy=True)
    catalogue.load(load())
    assert not catalogue.residents()["m"].busy
    catalogue.load(load(waiting=1))
    catalogue.announce(announce(state="backoff"), NOW)
    assert catalogue.residents()["m"].weights_bytes == 1000  # as before it died
    bring_up(catalogue)
    assert not catalogue.residents()["m"].busy
