"""What people ask for: restart, stop, drain, load and unload."""

import pytest

from config.errors import ConfigError, ConflictingCommand, UnknownChild
from supervisor.commands import group_named, named
from supervisor.deadlines import next_deadline
from supervisor.happenings import (
    AddGroup,
    DrainNamed,
    KeepOut,
    RemoveGroup,
    RestartNamed,
    SendDrain,
    SendStop,
    StopNamed,
)
from tests.supervisor.world import World, child, group, model, running, server
from transport.messages.admin import GroupAdded, GroupRemoved
from transport.messages.lifeline import Drained


def test_names_are_of_children_groups_and_models():
    world = running(server())
    assert named(world.tree, "g0") == ["g0"]
    assert named(world.tree, "gateways") == ["g0", "g1"]
    assert named(world.tree, "m") == named(world.tree, "model:m") == ["engine:m:0", "engine:m:1"]
    with pytest.raises(UnknownChild, match="called 'x'; there are control, "):
        named(world.tree, "x")


def test_restart_is_a_stop_and_a_start_and_no_failure():
    world = running(server())
    world.tell(RestartNamed("m"))
    assert world.state("engine:m:1") == "stopping"
    world.die("engine:m:1", 0)
    world.die("engine:m:0", 0)
    assert world.state("engine:m:0") == "starting"
    world.ready("engine:m:0", "engine:m:1")
    assert world.tree.groups["model:m"].restarts == ()
    assert world.child("engine:m:1").incarnation == 2


def test_restart_ends_a_backoff():
    world = running(server())
    world.die("control")
    world.tell(RestartNamed("control"))
    assert world.state("control") == "starting"
    assert world.child("control").failures == 0


def test_restart_of_a_child_that_is_being_stopped_conflicts():
    world = running(server())
    world.tell(RestartNamed("g0"))
    before = world.tree
    with pytest.raises(ConflictingCommand, match="being stopped"):
        world.tell(RestartNamed("g0"))
    assert world.tree is before


def test_a_stopped_child_stays_so_until_it_is_restarted():
    world = running(group(child("a"), child("b"), strategy="one_for_all"))
    world.tell(StopNamed("b"))
    world.die("b", 0)
    world.die("a")
    world.restarted("a")
    assert world.states() == "a:starting b:stopped"
    world.tell(RestartNamed("b"))
    assert world.state("b") == "starting"


def test_stopping_a_significant_child_is_no_end_of_it():
    members = child("a", restart="temporary", significant=True), child("b")
    world = running(group(*members, auto_shutdown="any_significant"))
    world.tell(StopNamed("a"))
    world.die("a", 0)
    assert world.tree.phase == "running"


def test_drain_tells_the_child_once():
    world = running(server())
    world.tell(DrainNamed("m", 7.0))
    world.tell(DrainNamed("engine:m:0", 7.0))
    assert world.look(SendDrain) == [SendDrain("engine:m:0", 7.0), SendDrain("engine:m:1", 7.0)]
    world.say("engine:m:0", Drained())
    assert world.child("engine:m:0").drained
    assert world.state("engine:m:0") == "draining"


LEAVINGS = [StopNamed("m", 5.0), RemoveGroup("model:m", 5.0)]


@pytest.fixture
def finishing():
    """A model whose engines finish what they have."""
    engines = (child(f"engine:m:{n}", finishes=True, gate=False) for n in (0, 1))
    labels = {"model": "m"}
    models = group(group(*engines, id="model:m", labels=labels, stop_in_parallel=True), id="models")
    return group(child("control"), models)


@pytest.mark.parametrize("command", LEAVINGS)
def test_an_engine_finishes_what_it_has_before_it_is_stopped(finishing, command):
    world = running(finishing)
    world.tell(command)
    told = world.done
    assert world.drains() == ["engine:m:0", "engine:m:1"]
    assert not any(isinstance(action, SendStop) for action in told)
    assert world.child("engine:m:0").announcement().held
    world.say("engine:m:1", Drained())
    assert world.states() == "control:ready engine:m:0:draining engine:m:1:stopping"


@pytest.mark.parametrize("command", LEAVINGS)
def test_an_engine_that_does_not_finish_in_time_is_stopped(finishing, command):
    world = running(finishing)
    world.tell(command)
    assert next_deadline(world.tree, world.now) == 3.0  # heartbeats are missing then
    world.wait(4.9)
    assert world.stops() == []
    world.wait(0.1)
    assert world.stops() == ["engine:m:0", "engine:m:1"]


@pytest.mark.parametrize("command", LEAVINGS)
def test_saying_it_again_does_not_cut_the_drain(finishing, command):
    world = running(finishing)
    world.tell(command)
    world.wait(4.0)
    world.tell(command)
    assert (world.stops(), world.tree.children["engine:m:0"].due_at) == ([], 5.0)


def test_who_is_not_up_or_has_drained_is_stopped_at_once(finishing):
    world = World(finishing)
    world.ready("control", "engine:m:0")
    world.tell(DrainNamed("engine:m:0", 9.0))
    world.say("engine:m:0", Drained())
    world.tell(StopNamed("m", 5.0))
    assert world.states() == "control:ready engine:m:0:stopping engine:m:1:stopping"


def test_an_engine_that_dies_while_it_finishes_is_not_replaced(finishing):
    world = running(finishing)
    world.tell(RemoveGroup("model:m", 5.0))
    world.die("engine:m:0")
    world.say("engine:m:1", Drained())
    world.die("engine:m:1", 0)
    assert world.states() == "control:ready"
    assert world.look(GroupRemoved) == [GroupRemoved("model:m", None)]


def test_a_restart_ends_the_wait_of_a_stop(finishing):
    world = running(finishing)
    world.tell(StopNamed("engine:m:0", 5.0))
    world.tell(RestartNamed("engine:m:0"))
    world.die("engine:m:0", 0)
    assert world.state("engine:m:0") == "starting"
    world.ready("engine:m:0")
    world.wait(6.0)
    assert world.state("engine:m:0") == "ready"


def test_the_tree_may_stop_while_an_engine_finishes(finishing):
    world = running(finishing)
    world.tell(StopNamed("m", 5.0))
    world.stop()
    assert world.stops() == ["engine:m:0", "engine:m:1"]


def test_a_draining_child_that_dies_is_replaced():
    world = running(server())
    world.tell(DrainNamed("control", 7.0))
    world.die("control")
    world.restarted("control")


@pytest.mark.parametrize(("before", "state"), [(-9, "backoff"), (None, "about to be stopped")])
def test_only_a_ready_child_can_be_drained(before, state):
    world = running(server())
    if before is None:
        world.tell(RestartNamed("m"))
    else:
        world.die("engine:m:0", before)
    with pytest.raises(ConflictingCommand, match=f"engine:m:0 is {state}"):
        world.tell(DrainNamed("engine:m:0", 1.0))


def test_a_model_is_added_and_removed():
    world = running(server())
    world.tell(AddGroup("models", model("n")))
    assert world.look(GroupAdded) == [GroupAdded("model:n", ["engine:n:0", "engine:n:1"])]
    world.ready("engine:n:0", "engine:n:1")
    assert not world.tree.groups["model:n"].booting
    world.tell(RemoveGroup(group_named(world.tree, "models", "n")))
    world.die("engine:n:1", 0)
    world.die("engine:n:0", 0)
    assert world.look(GroupRemoved) == [GroupRemoved("model:n", None)]
    assert world.tree.groups["models"].members == ("model:m",)
    assert "engine:n:0" not in world.tree.children


def test_incarnations_grow_over_removals():
    world = running(server())
    world.tell(RemoveGroup("model:m"))
    world.die("engine:m:1", 0)
    world.die("engine:m:0", 0)
    world.tell(AddGroup("models", model("m")))
    assert world.spawned[-1] == ("engine:m:0", 2)
    assert world.child("engine:m:0").restarts == 0


def test_a_model_that_fails_to_load_is_removed_with_its_reason():
    world = running(server())
    world.tell(AddGroup("models", model("n", gate=False)))
    world.die("engine:n:0", 3)
    assert world.state("engine:n:1") == "stopping"
    world.die("engine:n:1", 0)
    reason = "engine:n:0: exited with 3 before it was ready"
    assert world.look(GroupRemoved) == [GroupRemoved("model:n", reason)]
    assert world.tree.absent["model:n"].fault.message == reason
    assert world.tree.phase == "running"
    world.tell(AddGroup("models", model("n")))
    assert world.tree.absent == {}


def refuses_to_add(world, name, why):
    before = world.tree
    with pytest.raises(ConflictingCommand, match=why):
        world.tell(AddGroup("models", model(name)))
    assert world.tree is before


def test_a_model_that_is_there_is_not_added_again():
    world = running(server())
    refuses_to_add(world, "m", "model:m is served already; unload it first to load it anew")
    world.tell(AddGroup("models", model("n")))
    refuses_to_add(world, "n", "model:n is being loaded already")
    world.tell(RemoveGroup("model:m"))
    refuses_to_add(world, "m", "model:m is being removed; ask again when it is gone")


def cause(world):
    return world.tree.absent["model:m"].cause


def test_who_makes_room_does_not_undo_what_a_person_said():
    world = running(server())
    world.tell(RemoveGroup("model:m"))
    world.tell(RemoveGroup("model:m", comes_back=True))
    assert cause(world) == "dismissed"
    world = running(server())
    world.tell(RemoveGroup("model:m", comes_back=True))
    assert cause(world) == "freed"
    world.tell(RemoveGroup("model:m"))
    assert cause(world) == "dismissed"


def test_a_model_that_is_not_there_is_kept_out():
    world = running(group(group(id="models")))
    world.tell(KeepOut("model:m", "m"))
    assert world.tree.absent["model:m"].name == "m"
    assert cause(world) == "dismissed"
    with pytest.raises(ConflictingCommand, match="'m' is unloaded already"):
        world.tell(KeepOut("model:m", "m"))
    world.tell(AddGroup("models", model("m")))
    assert world.tree.absent == {}
    with pytest.raises(ConflictingCommand, match="has to be removed first"):
        world.tell(KeepOut("model:m", "m"))


def test_one_that_makes_room_may_be_kept_out_when_it_has_gone():
    world = running(server())
    world.tell(RemoveGroup("model:m", comes_back=True))
    for number in (1, 0):
        world.die(f"engine:m:{number}", 0)
    assert cause(world) == "freed"
    world.tell(KeepOut("model:m", "m"))
    assert cause(world) == "dismissed"


def test_a_model_that_failed_for_good_is_replaced():
    world = running(group(group(model("m"), id="models", intensity=0)))
    for _ in range(2):
        world.die("engine:m:0")
        world.wait(1.0)
        world.ready("engine:m:0") if world.state("engine:m:0") == "starting" else None
    world.die("engine:m:1", 0)
    assert world.states() == "engine:m:0:failed engine:m:1:stopped"
    world.tell(AddGroup("models", model("m")))
    assert world.state("engine:m:0") == "starting"


def test_a_bad_group_is_refused_and_nothing_changes():
    world = running(server())
    before = world.tree
    with pytest.raises(ConfigError, match="used twice"):
        world.tell(AddGroup("models", group(child("control"), id="model:x")))
    assert world.tree is before


def test_a_model_needs_a_group_to_go_to():
    world = running(group(child("a")))
    with pytest.raises(UnknownChild, match="no group 'models'"):
        world.tell(AddGroup("models", model("n")))
    with pytest.raises(UnknownChild, match="loaded are none"):
        group_named(world.tree, "models", "n")


def test_a_nested_group_is_removed_whole():
    world = running(group(group(id="models")))
    world.tell(AddGroup("models", group(group(child("e"), id="inner"), id="outer")))
    world.ready("e")
    world.tell(RemoveGroup("outer"))
    with pytest.raises(ConflictingCommand, match="being removed"):
        world.tell(RestartNamed("e"))
    world.die("e", 0)
    assert list(world.tree.groups) == ["root", "models"]
