"""Who is loaded, who makes room, who is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.registry.plans import ModelPlan
from actors.registry.residence import (
    ASK_AGAIN_S,
    MIN_IDLE_S,
    PATIENCE_S,
    WANTED_S,
    Load,
    Refuse,
    Residence,
    Resident,
    Unload,
)
from actors.registry.weights import estimated_bytes

SIZES = {"a": 100, "b": 100, "c": 100, "big": 900}
LATER = 100.0


def plan(name, **changes):
    return ModelPlan(name=name, source=name, **changes)


def residence(*plans, limit=None, memory=0):
    known = plans or (plan("a"), plan("b"), plan("c"), plan("big"))
    return Residence(list(known), limit, memory, SIZES.__getitem__)


def loaded(*names, **changes):
    return {name: Resident(weights_bytes=SIZES.get(name, 100), **changes) for name in names}


def used(home, **times):
    for name, at in times.items():
        home.use(name, at)
    return home


def wanting(home, *names, now=LATER):
    """For so long that patience is over."""
    for name in names:
        home.want(name, now - PATIENCE_S)
        home.want(name, now)
    return home


def decide(home, residents, now):
    """As with a governor that has room for everything."""
    steps = home.decide(residents, now)
    home.grant(home.reservation)
    return steps + [step for step in home.decide(residents, now) if isinstance(step, Load)]


def test_what_is_wanted_is_loaded_once():
    home = wanting(residence(), "a")
    assert decide(home, {}, LATER) == [Load("a")]
    assert decide(home, {}, LATER + 0.1) == []
    assert decide(home, {}, LATER + ASK_AGAIN_S) == [Load("a")]
    assert decide(home, loaded("a", loading=True), LATER + 3) == []
    assert decide(home, {}, LATER + 9) == []


def test_a_wish_that_nobody_repeats_is_forgotten():
    home = wanting(residence(), "a")
    assert decide(home, {}, LATER + WANTED_S + 0.1) == []


def test_what_the_configuration_does_not_know_is_not_loaded():
    assert decide(wanting(residence(), "stranger"), {}, LATER) == []


def test_the_least_recently_used_makes_room():
    home = used(residence(limit=2), a=5.0, b=1.0)
    assert decide(wanting(home, "c"), loaded("a", "b"), LATER) == [Unload("b")]
    left = loaded("a") | loaded("b", leaving=True)
    assert decide(wanting(home, "c"), left, LATER) == []
    assert decide(wanting(home, "c"), loaded("a"), LATER) == [Load("c")]


@pytest.mark.parametrize("state", [{"busy": True}, {"loading": True}])
def test_who_is_at_work_or_loading_stays(state):
    home = used(residence(limit=2), a=5.0, b=1.0)
    models = loaded("a") | loaded("b", **state)
    assert decide(wanting(home, "c"), models, LATER) == [Unload("a")]


def test_a_pinned_model_and_one_that_a_person_loaded_stay():
    home = residence(plan("a", pinned=True), plan("c"), limit=2)
    (step,) = decide(wanting(home, "c"), loaded("a", "mine"), LATER)
    assert isinstance(step, Refuse)
    assert "(a, mine)" in step.reason


def test_nobody_is_refused_at_once():
    home = residence(limit=1)
    home.want("c", LATER)
    assert decide(home, loaded("a", busy=True), LATER) == []
    (step,) = decide(home, loaded("a", busy=True), LATER + PATIENCE_S)
    assert isinstance(step, Refuse)


def test_one_that_was_used_a_moment_ago_is_waited_for():
    home = used(residence(limit=1), a=LATER - 0.5)
    assert decide(wanting(home, "c"), loaded("a"), LATER) == []
    assert decide(wanting(home, "c"), loaded("a"), LATER + MIN_IDLE_S) == [Unload("a")]


def test_a_model_that_was_just_loaded_waits_for_those_who_wanted_it():
    home = residence(limit=1)
    decide(home, loaded("a", loading=True), LATER)
    assert decide(wanting(home, "c"), loaded("a"), LATER + 0.1) == []


def test_two_wishes_share_no_room():
    home = used(residence(limit=2), a=1.0, b=1.0)
    steps = decide(wanting(home, "c", "big"), loaded("a", "b"), LATER)
    assert steps == [Unload("a"), Unload("b")]
    steps = decide(wanting(used(residence(limit=1), a=1.0), "b", "c"), loaded("a"), LATER)
    assert steps[0] == Unload("a")
    assert isinstance(steps[1], Refuse)


def test_memory_is_a_limit_and_as_many_go_as_needed():
    home = used(residence(memory=1250), a=1.0, b=2.0, c=3.0)
    assert decide(wanting(home, "big"), loaded("a", "b", "c"), LATER) == [Unload("a"), Unload("b")]
    home = used(residence(memory=300), a=1.0, b=2.0)
    assert decide(wanting(home, "c"), loaded("a", "b"), LATER) == [Unload("a")]
    assert decide(wanting(home, "c"), loaded("a"), LATER) == [Load("c")]


def test_replicas_take_memory_each():
    home = used(residence(plan("a"), plan("b", replicas=3), memory=450), a=1.0)
    assert decide(wanting(home, "b"), loaded("a"), LATER)[0] == Unload("a")


def test_a_model_that_is_larger_than_the_node_is_tried_when_it_is_alone():
    assert decide(wanting(residence(memory=10), "big"), {}, LATER) == [Load("big")]


def test_one_that_a_person_loaded_over_the_limit_makes_another_go():
    home = used(residence(limit=1), a=1.0)
    decide(home, loaded("a"), 1.0)
    assert decide(home, loaded("a", "mine"), LATER) == [Unload("a")]
    assert decide(home, loaded("mine", "other"), LATER) == []


def test_last_use_is_known():
    home = used(residence(), a=LATER - 7)
    decide(home, loaded("a", "b"), LATER)
    assert home.idle_s(loaded("a", "b"), LATER + 1) == {"a": 8.0, "b": 1.0}


def test_weights_are_estimated_from_the_files(tmp_path, monkeypatch):
    for name, size in (("model-1.safetensors", 5), ("model-2.safetensors", 7), ("x.bin", 100)):
        (tmp_path / name).write_bytes(b"\0" * size)
    assert estimated_bytes(str(tmp_path)) == 12
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert estimated_bytes("org/m") == 0
    snapshot = tmp_path / "hub" / "models--org--m" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"\0" * 9)
    assert estimated_bytes("org/m") == 9


@pytest.mark.parametrize("source", ["~nobody-of-this-name/m", "a**b", "no\0path", "/root/x" * 99])
def test_what_cannot_be_looked_at_weighs_nothing(source, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert estimated_bytes(source) == 0


def test_a_folder_that_may_not_be_looked_at_weighs_nothing(monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_dir", forbidden)
    assert estimated_bytes("/models/m") == 0


names = st.sampled_from(["a", "b", "c", "big", "mine"])
flags = st.builds(
    Resident,
    weights_bytes=st.integers(1, 900),
    loading=st.booleans(),
    leaving=st.booleans(),
    busy=st.booleans(),
)


@settings(deadline=None)
@given(st.dictionaries(names, flags), st.lists(names, max_size=4), st.integers(1, 4), st.booleans())
def test_nobody_at_work_goes_and_the_limit_holds(models, wishes, limit, pinned):
    home = residence(plan("a", pinned=pinned), plan("b"), plan("c"), plan("big"), limit=limit)
    steps = decide(wanting(home, *wishes), models, LATER)
    gone = {step.model for step in steps if isinstance(step, Unload)}
    new = {step.model for step in steps if isinstance(step, Load)}
    for name in gone:
        assert not (models[name].busy)
        assert not (models[name].loading)
        assert not (models[name].leaving)
        assert name != "mine"
        assert not (pinned and name == "a")
    assert not new or len(models.keys() | new) <= limit
    assert new.isdisjoint(models)
