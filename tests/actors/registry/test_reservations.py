"""Weights are reserved before they are loaded, and nobody waits for a place that does not come."""

import pytest

from actors.registry.messages import Reservation, Weights
from actors.registry.plans import ModelPlan
from actors.registry.residence import (
    GRANT_PATIENCE_S,
    MIN_IDLE_S,
    PATIENCE_S,
    Load,
    Refuse,
    Residence,
    Resident,
    Unload,
)

SIZES = {"a": 100, "b": 70, "c": 50, "elsewhere": 30}
LATER = 100.0


def residence(*plans, limit=None):
    known = [ModelPlan(name=name, source=name) for name in "abc"]
    return Residence([*known, *plans], limit, 0, SIZES.__getitem__)


def loaded(*names, **changes):
    return {name: Resident(weights_bytes=SIZES[name], **changes) for name in names}


@pytest.fixture
def home():
    """Somebody wants b beside a."""
    home = residence()
    home.want("b", LATER)
    return home


def keep_wanting(home, model, residents, until):
    """Each second, as a gateway does; what was decided last."""
    now = LATER
    while now < until:
        home.want(model, now)
        steps = home.decide(residents, now)
        now += 1.0
    home.want(model, until)
    return steps, home.decide(residents, until)


def test_a_model_is_loaded_when_its_weights_are_granted(home):
    assert home.decide(loaded("a"), LATER) == []
    assert home.reservation == Reservation({"a": Weights(1, 100), "b": Weights(1, 70)})
    home.grant(home.reservation)
    assert home.decide(loaded("a"), LATER) == [Load("b")]


def test_a_grant_of_something_else_is_none(home):
    home.decide(loaded("a"), LATER)
    home.grant(Reservation({"b": Weights(1, 70)}))
    assert home.decide(loaded("a"), LATER) == []


def test_who_comes_in_addition_must_be_granted_too(home):
    home.decide(loaded("a"), LATER)
    home.grant(home.reservation)
    home.want("c", LATER)
    assert home.decide(loaded("a"), LATER) == []
    home.grant(home.reservation)
    assert home.decide(loaded("a"), LATER) == [Load("b"), Load("c")]


def test_a_grant_does_not_outlive_the_wish(home):
    home.decide(loaded("a"), LATER)
    home.grant(home.reservation)
    home.decide(loaded("a"), LATER + 10)
    assert home.reservation == Reservation({"a": Weights(1, 100)})
    home.want("b", LATER + 10)
    assert home.decide(loaded("a"), LATER + 10) == []


def test_while_it_loads_all_of_it_stays_reserved():
    home = residence(ModelPlan(name="d", source="c", replicas=3))
    home.decide({"d": Resident(replicas=1, loading=True)}, LATER)
    assert home.reservation == Reservation({"d": Weights(3, 50)})
    home.decide({"d": Resident(replicas=2, weights_bytes=55)}, LATER)
    assert home.reservation == Reservation({"d": Weights(2, 55)})


def test_a_model_that_a_person_loaded_takes_as_many_engines_when_it_is_wanted_again():
    home = residence(ModelPlan(name="d", source="c", replicas=3))
    home.decide({"d": Resident(replicas=1, planned=2, loading=True)}, LATER)
    assert home.reservation == Reservation({"d": Weights(2, 50)})
    home.want("d", LATER)
    home.decide({}, LATER)
    assert home.reservation == Reservation({"d": Weights(2, 50)})


def test_a_model_that_a_person_loads_is_reserved_by_its_source():
    home = residence()
    home.decide({"mine": Resident(source="elsewhere"), "other": Resident()}, LATER)
    reserved = {"mine": Weights(1, 30), "other": Weights(1, 0)}
    assert home.reservation == Reservation(reserved)


def test_who_waits_for_caches_in_use_is_refused_after_a_while(home):
    before, after = keep_wanting(home, "b", loaded("a"), LATER + GRANT_PATIENCE_S)
    assert before == []
    assert after == [Refuse("b", "the caches of running requests leave no room for its weights")]
    home.grant(home.reservation)  # it stays reserved, and comes as soon as there is room
    assert home.decide(loaded("a"), LATER + GRANT_PATIENCE_S) == [Load("b")]


def test_who_waits_for_a_model_in_constant_use_is_refused_soon():
    home = residence(limit=1)
    patience_s = MIN_IDLE_S + PATIENCE_S
    steps = {}
    for tick in range(8):
        now = LATER + tick / 2
        home.use("a", now - 0.1)
        home.want("b", now)
        steps[tick / 2] = home.decide(loaded("a"), now)
    assert [step for at, step in steps.items() if at < patience_s] == [[]] * 6
    (step,) = steps[patience_s]
    assert isinstance(step, Refuse)
    assert "(a)" in step.reason
    home.want("b", now + 1.0)
    assert home.decide(loaded("a"), now + 1.0) == []  # as soon as it may become idle
    assert home.decide(loaded("a"), now + MIN_IDLE_S) == [Unload("a")]


def test_what_comes_back_after_a_failure():
    home = residence(ModelPlan(name="d", source="c", permanent=True))
    assert [name for name in ("a", "d", "mine") if home.comes_back(name)] == ["d", "mine"]
