"""Start, readiness, and what a single child's words and end bring about."""

import signal

import pytest

from supervisor.deadlines import next_deadline
from supervisor.happenings import (
    Exited,
    LifelineLost,
    Resumed,
    Said,
    Spawn,
    SpawnFailed,
    Tick,
)
from tests.supervisor.world import World, child, group, running
from transport.messages.admin import (
    ChildEnded,
    ChildFaulted,
    ChildSuspected,
    LoadingProgress,
    RestartPlanned,
    TreeReady,
)
from transport.messages.lifeline import Drained, Loading, Ready, StartFailed, Suspect


def test_starts_left_to_right_and_waits_at_gates():
    world = World(group(child("a", gate=False), child("b"), child("c")))
    assert world.states() == "a:starting b:starting c:stopped"
    world.ready("b")
    assert world.state("c") == "starting"


def test_a_nested_group_is_waited_for():
    world = World(group(group(child("a"), id="g"), child("b")))
    assert world.states() == "a:starting b:stopped"
    world.ready("a")
    assert world.state("b") == "starting"


def test_the_tree_is_ready_when_all_are_for_the_first_time():
    world = World(group(child("a"), child("b", gate=False)))
    world.ready("a")
    assert world.look(TreeReady) == []
    world.ready("b")
    assert world.look(TreeReady) == [TreeReady()]
    world.die("b")
    world.restarted("b")
    world.ready("b")
    assert world.look(TreeReady) == []


def test_ready_brings_facts_and_a_time():
    world = World(group(child("a")))
    world.now = 3.0
    world.ready("a")
    assert world.child("a").facts == {"of": "a"}
    assert world.child("a").ready_at == 3.0


def test_heartbeats_change_facts_only_of_those_who_are_up():
    world = World(group(child("a")))
    world.beat("a", x=1)
    assert world.child("a").facts == {}
    world.ready("a")
    world.beat("a", x=2)
    assert world.child("a").facts == {"x": 2}


def test_words_of_an_older_incarnation_are_dropped():
    world = running(group(child("a")))
    world.die("a")
    world.restarted("a")
    world.tell(Said("a", 1, Ready({})))
    world.tell(Exited("a", 1, 0, []))
    world.tell(Said("nobody", 1, Ready({})))
    assert world.state("a") == "starting"


@pytest.mark.parametrize(
    ("returncode", "reason"),
    [(3, "exited with 3"), (-9, "killed by SIGKILL"), (-60, "killed by signal 60")],
)
def test_the_end_of_a_child_is_told_with_its_last_words(returncode, reason):
    world = running(group(child("a")))
    world.die("a", returncode)
    ended = [ChildEnded("a", 1, False, reason, ["last words"])]
    assert world.look(ChildEnded) == ended


def test_a_restart_waits_in_backoff():
    world = running(group(child("a"), intensity=5))
    world.die("a")
    assert world.state("a") == "backoff"
    delay_s = world.look(RestartPlanned)[0].delay_s
    assert 0 < delay_s <= 1.0
    assert next_deadline(world.tree, world.now) == pytest.approx(delay_s)
    world.wait(delay_s - 0.001)
    assert world.state("a") == "backoff"
    world.wait(0.001)
    assert world.state("a") == "starting"
    assert (world.child("a").incarnation, world.child("a").restarts) == (2, 1)


def test_the_backoff_grows_and_is_forgotten_after_a_stable_time():
    world = running(group(child("a"), intensity=50))
    for failures in (1, 2, 3):
        world.die("a")
        assert world.child("a").failures == failures
        world.restarted("a")
        world.ready("a")
    world.wait(30.0)
    world.die("a")
    assert world.child("a").failures == 1


def test_a_failed_start_counts_as_a_restart():
    world = running(group(child("a"), intensity=2, period_s=60.0))
    for _ in range(2):
        world.die("a", 1)
        world.restarted("a")
    world.die("a", 1)
    assert world.exit is not None


def test_loading_gives_new_patience():
    world = World(group(child("a", ready_within_s=10.0)))
    world.wait(9.0)
    world.say("a", Loading("weights", 0.5))
    assert world.look(LoadingProgress) == [LoadingProgress("a", 1, "weights", 0.5)]
    world.wait(9.0)
    assert world.state("a") == "loading"
    world.beat("a")
    world.wait(1.0)
    assert world.state("a") == "stopping"
    assert world.signals() == [("a", signal.SIGUSR1)]


def test_a_late_child_is_dumped_then_killed():
    world = running(group(child("a", ready_within_s=10.0)))
    world.die("a")
    world.restarted("a")
    world.look(Spawn)
    world.wait(10.0)
    assert world.signals() == [("a", signal.SIGUSR1)]
    world.wait(0.5)
    assert world.signals() == [("a", signal.SIGKILL)]
    world.wait(1000.0)
    assert world.signals() == []
    world.die("a")
    assert "nothing heard of its loading, for 10 s" in world.look(ChildEnded)[0].reason
    assert world.child("a").fault.load == "late"


def test_a_stalled_child_is_dumped_then_killed_and_replaced():
    world = running(group(child("a", stall_timeout_s=30.0)))
    world.beat("a", busy=True, age_s=29.0)
    world.wait(0.9)
    assert world.state("a") == "ready"
    world.wait(0.1)
    assert world.state("a") == "stopping"
    assert world.signals() == [("a", signal.SIGUSR1)]
    world.wait(0.5)
    world.die("a")
    assert world.state("a") == "backoff"
    assert world.look(ChildEnded)[0].reason == "stalled: busy without progress for 30.0 s"


def test_a_busy_child_that_is_not_heard_of_stalls_as_well():
    world = running(group(child("a", stall_timeout_s=30.0)))
    world.beat("a", busy=True)
    assert next_deadline(world.tree, world.now) == 3.0  # suspect first
    world.wait(3.0)
    assert world.look(ChildSuspected) == [ChildSuspected("a", 1)]
    assert next_deadline(world.tree, world.now) == 30.0
    world.wait(27.0)
    assert world.look(ChildFaulted)


def test_progress_keeps_a_busy_child_alive():
    world = running(group(child("a", stall_timeout_s=5.0)))
    for _ in range(20):
        world.wait(1.0)
        world.beat("a", busy=True, age_s=0.5)
    assert world.state("a") == "ready"


def test_silence_alone_makes_suspect_and_no_more():
    world = running(group(child("a", stall_timeout_s=30.0)))
    world.wait(2.9)
    assert not world.child("a").vitals.suspect
    world.wait(0.1)
    world.wait(1000.0)
    assert world.look(ChildSuspected) == [ChildSuspected("a", 1)]
    assert world.state("a") == "ready"
    world.beat("a")
    assert not world.child("a").vitals.suspect


def test_an_accused_child_is_killed_when_it_is_silent_already():
    world = running(group(child("a"), child("b")))
    world.wait(5.0)
    world.say("b", Suspect("a", 1, "no answer"))
    assert world.look(ChildFaulted)[0].reason == "silent for 5.0 s and b says: no answer"


def test_an_accused_child_is_killed_when_it_falls_silent():
    world = running(group(child("a"), child("b")))
    world.say("b", Suspect("a", 1, "no answer"))
    world.wait(2.9)
    assert world.state("a") == "ready"
    world.wait(0.1)
    assert world.state("a") == "stopping"


def test_a_heartbeat_clears_an_accusation():
    world = running(group(child("a"), child("b")))
    world.say("b", Suspect("a", 1, "no answer"))
    world.beat("a")
    world.wait(100.0)
    assert world.state("a") == "ready"


def test_accusing_those_who_are_not_up_does_nothing():
    world = running(group(child("a"), child("b")))
    world.say("b", Suspect("a", 7, "an older one"))
    world.die("a")
    world.say("b", Suspect("a", 1, "gone"))
    world.restarted("a")
    world.say("b", Suspect("a", 2, "still loading"))
    assert world.look(ChildFaulted) == []


def test_nobody_is_blamed_for_the_supervisors_own_absence():
    world = World(group(child("a", gate=False, stall_timeout_s=5.0), child("b")))
    world.ready("a")
    world.beat("a", busy=True)
    world.now = 100.0
    world.tell(Resumed(100.0))
    world.tell(Tick())
    assert world.states() == "a:ready b:starting"
    world.wait(60.0)
    assert world.states() == "a:stopping b:stopping"


def test_a_failed_start_is_helped_to_end():
    world = running(group(child("a")))
    world.die("a")
    world.restarted("a")
    world.say("a", StartFailed("model_load_failed", "no weights"))
    assert world.state("a") == "stopping"
    world.look(ChildEnded)
    world.wait(5.0)
    assert world.signals() == [("a", signal.SIGTERM)]
    world.wait(2.0)
    assert world.signals() == [("a", signal.SIGKILL)]
    world.die("a")
    assert world.look(ChildEnded)[0].reason == "no weights"
    assert world.state("a") == "backoff"


def test_a_start_cannot_fail_after_ready():
    world = running(group(child("a")))
    world.say("a", StartFailed("internal_error", "too late"))
    assert world.state("a") == "ready"


def test_a_spawn_that_fails_is_a_failed_start():
    world = running(group(child("a")))
    world.die("a")
    world.restarted("a")
    world.tell(SpawnFailed("a", 2, "no memory"))
    assert world.state("a") == "backoff"
    assert world.child("a").fault.message == "no memory"


def test_a_child_that_closed_its_lifeline_is_killed_soon():
    world = running(group(child("a")))
    world.tell(LifelineLost("a", 1, "closed"))
    assert world.state("a") == "stopping"
    world.wait(1.0)
    assert world.signals() == [("a", signal.SIGKILL)]


def test_a_child_that_stops_may_close_its_lifeline():
    world = running(group(child("a")))
    world.stop()
    due_at = world.child("a").due_at
    world.tell(LifelineLost("a", 1, "closed"))
    assert world.child("a").due_at == due_at


def test_drained_means_nothing_to_those_who_do_not_drain():
    world = running(group(child("a")))
    world.say("a", Drained())
    assert not world.child("a").drained
