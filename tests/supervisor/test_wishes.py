"""What control and engines ask of the tree, and what everybody hears of models that are absent."""

import logging

import pytest

from config.errors import ModelNotFound
from supervisor.bulletin import Bulletin
from supervisor.happenings import AddGroup, RemoveGroup, Said, SpawnFailed
from supervisor.wishes import grant
from tests.supervisor.world import child, group, running
from transport.messages.lifeline import (
    LoadModel,
    ModelAbsent,
    ModelBack,
    Ready,
    Removed,
    UnloadModel,
    WantsRecycling,
)


def model(name):
    engine = child(f"engine:{name}:0", finishes=True, gate=False)
    return group(engine, id=f"model:{name}", labels={"model": name}, restart="temporary")


class Desk:
    """The supervisor, as far as wishes see it."""

    drain_timeout_s = 30.0
    loader = property(lambda self: self)

    def __init__(self):
        control = child("control", kind="control")
        self.world = running(group(control, group(model("m"), id="models")))

    tree = property(lambda self: self.world.tree)

    def apply(self, happening):
        self.world.tell(happening)

    def configured(self, name):
        if name == "unknown":
            raise ModelNotFound("the configuration has no model 'unknown'")
        if name == "odd":
            raise OSError(5, "Input/output error", "/secret/folder")
        return model(name)

    def ask(self, child_id, message, incarnation=1):
        return grant(Said(child_id, incarnation, message), self)


@pytest.fixture
def desk():
    return Desk()


def test_control_has_models_loaded_and_unloaded(desk):
    assert desk.ask("control", LoadModel("n")) is None
    assert desk.world.state("engine:n:0") == "starting"
    desk.world.ready("engine:n:0")
    desk.ask("control", UnloadModel("m"))
    assert desk.world.state("engine:m:0") == "draining"
    assert desk.tree.absent["model:m"].cause == "freed"


def test_what_cannot_be_done_yet_is_not_answered(desk, caplog):
    caplog.set_level(logging.INFO)
    assert desk.ask("control", LoadModel("m")) is None
    assert desk.ask("control", UnloadModel("nobody")) is None
    assert "served already" in caplog.text


def test_what_can_never_be_loaded_is_told(desk):
    message = "the configuration has no model 'unknown'"
    answer = desk.ask("control", LoadModel("unknown"))
    assert answer == ModelAbsent("unknown", "failed", "model_not_found", message)


def test_what_goes_wrong_inside_is_told_in_the_log_alone(desk, caplog, monkeypatch):
    answer = desk.ask("control", LoadModel("odd"))
    hidden = "internal error; see the server's log"
    assert answer == ModelAbsent("odd", "failed", "internal_error", hidden)
    assert "/secret/folder" in caplog.text

    def broken(happening):
        raise ValueError("no such happening")

    monkeypatch.setattr(desk, "apply", broken)
    assert desk.ask("control", UnloadModel("m")) is None
    assert desk.ask("engine:m:0", WantsRecycling("after 1000 tokens")) is None


def give_up(desk, child_id):
    """More restarts than its group allows."""
    for _ in range(2):
        desk.world.die(child_id)
        desk.world.wait(1.0)
        if desk.world.state(child_id) == "starting":
            desk.world.ready(child_id)
    assert desk.world.state(child_id) == "failed"


@pytest.mark.parametrize("name", ["m", "unknown"])
def test_a_model_that_was_given_up_gets_a_fresh_try_as_it_was(desk, name):
    desk.world.tell(AddGroup("models", model("unknown")))  # by a person
    desk.world.ready("engine:unknown:0")
    give_up(desk, f"engine:{name}:0")
    assert desk.ask("control", LoadModel(name)) is None
    assert desk.world.state(f"engine:{name}:0") == "starting"
    assert desk.tree.groups[f"model:{name}"].restarts == ()


def test_what_a_person_unloaded_meanwhile_is_not_loaded(desk):
    desk.world.tell(RemoveGroup("model:m"))
    desk.world.die("engine:m:0", 0)
    before = desk.tree
    assert desk.ask("control", LoadModel("m")) is None
    assert desk.tree is before


def test_one_that_fails_at_once_is_told_so_each_time(desk, monkeypatch):
    apply = desk.apply

    def no_process(happening):
        apply(happening)
        apply(SpawnFailed("engine:n:0", desk.world.child("engine:n:0").incarnation, "no memory"))

    monkeypatch.setattr(desk, "apply", no_process)
    told = ModelAbsent("n", "failed", "child_start_failed", "engine:n:0: no memory")
    assert [desk.ask("control", LoadModel("n")) for _ in range(2)] == [told, told]


def test_an_engine_asks_to_be_replaced(desk):
    desk.world.wait(60.0)
    desk.ask("engine:m:0", WantsRecycling("after 1000 tokens"))
    assert desk.world.state("engine:m:0") == "stopping"


@pytest.mark.parametrize(
    ("child_id", "message", "incarnation"),
    [
        ("engine:m:0", LoadModel("n"), 1),
        ("engine:m:0", UnloadModel("m"), 1),
        ("control", LoadModel("n"), 7),
        ("nobody", LoadModel("n"), 1),
        ("control", Ready({}), 1),
    ],
)
def test_nobody_else_and_nothing_else_is_heard(desk, child_id, message, incarnation):
    before = desk.tree
    assert desk.ask(child_id, message, incarnation) is None
    assert desk.tree is before


def test_absences_are_told_with_their_cause_and_to_newcomers(desk):
    world, bulletin = desk.world, Bulletin()
    list(bulletin.news(world.tree, 0.0))
    world.tell(RemoveGroup("model:m", comes_back=True))
    assert next(bulletin.news(world.tree, 0.0)) == ModelAbsent("m", "freed")
    world.die("engine:m:0", 0)
    assert Removed("engine:m:0") in list(bulletin.news(world.tree, 0.0))
    assert bulletin.all()[-1] == ModelAbsent("m", "freed")
    world.tell(AddGroup("models", model("m")))
    back, starting = bulletin.news(world.tree, 0.0)
    assert (back, starting.state) == (ModelBack("m"), "starting")
    world.die("engine:m:0", 3)
    reason = "engine:m:0: exited with 3 before it was ready"
    absent, removed = bulletin.news(world.tree, 0.0)
    assert absent == ModelAbsent("m", "failed", "child_start_failed", reason, "ended")
    assert removed == Removed("engine:m:0")


def test_a_model_that_a_person_unloads_is_dismissed(desk):
    desk.world.tell(RemoveGroup("model:m"))
    assert next(Bulletin().news(desk.tree, 0.0)) == ModelAbsent("m", "dismissed")
