"""Actors that share a thread with something else."""

import threading

import pytest

from actors.crew import Crew
from config.errors import ActorDied
from tests.actors.counter import ASK_S, Add, Counter, Later, Raise, Total, eventually


class Ship:
    """A crew whose owner is a thread that waits for calls."""

    def __init__(self):
        self.called = threading.Event()
        self.calls = 0
        self.over = False
        self.crew = Crew(self.call)
        self.thread = threading.Thread(target=self.run)

    def call(self):
        self.calls += 1
        self.called.set()

    def run(self):
        while not self.over:
            self.called.wait()
            self.called.clear()
            self.crew.work()


@pytest.fixture
def ship(host):
    ship = Ship()
    ship.thread.start()
    yield ship
    host.stop(ASK_S)
    ship.over = True
    ship.called.set()
    ship.thread.join()


def test_all_run_in_the_owners_thread(host, ship):
    seen = []

    class Seen(Counter):
        def on_start(self):
            seen.append(threading.current_thread())

        def receive(self, message):
            seen.append(threading.current_thread())

        def on_stop(self):
            seen.append(threading.current_thread())

    host.start("seen", Seen, crew=ship.crew).ask(Add(1), ASK_S)
    host.stop(ASK_S)
    assert seen == [ship.thread] * 3


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failure_gives_a_fresh_one_that_goes_on_with_what_waits(host, ship, error):
    first, second = (host.start(name, Counter, crew=ship.crew) for name in "ab")
    second.tell(Add(5))
    first.tell(Raise(error))
    first.tell(Add(2))
    assert first.ask(Total(), ASK_S) == 2
    assert second.ask(Total(), ASK_S) == 5
    assert host.restarts() == {"a": 1, "b": 0}


def test_a_failing_on_start_is_tried_again_and_keeps_what_waits(host, ship):
    starts = []

    class Late(Counter):
        def on_start(self):
            starts.append(1)
            if len(starts) < 3:
                raise ValueError("not yet")

    late = host.start("late", Late, crew=ship.crew)
    late.tell(Add(2))
    assert late.ask(Total(), ASK_S) == 2
    assert len(starts) == 3


def test_an_ask_that_is_failed_on_is_answered(host, ship):
    with pytest.raises(ActorDied, match="on purpose"):
        host.start("counter", Counter, crew=ship.crew).ask(Raise(ValueError), ASK_S)


def test_what_one_tells_another_is_handled_without_a_call(host, ship):
    counter = host.start("counter", Counter, crew=ship.crew)

    class Teller(Counter):
        def receive(self, message):
            counter.tell(message)

    teller = host.start("teller", Teller, crew=ship.crew)
    calls = ship.calls
    teller.ask(Add(4), ASK_S)
    assert ship.calls == calls + 1  # for the ask alone
    assert counter.ask(Total(), ASK_S) == 4


def test_timers_call_the_owner(host, ship):
    counter = host.start("counter", Counter, crew=ship.crew)
    counter.tell(Later(0.001, Add(6)))
    eventually(lambda: counter.ask(Total(), ASK_S) == 6)


def test_after_a_stop_nobody_answers(host, ship):
    counter = host.start("counter", Counter, crew=ship.crew)
    counter.tell(Add(1))
    assert host.stop(ASK_S) == []
    with pytest.raises(ActorDied):
        counter.ask(Total(), ASK_S)
