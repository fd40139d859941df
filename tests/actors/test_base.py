"""The base actor, on real threads; each trap of pykka has its test."""

import threading
import time

import pytest

from actors.base import Actor
from config.errors import ActorDied, InvalidRequest, QueueFull, RequestTimeout
from tests.actors.counter import ASK_S, Add, Counter, Later, Raise, Total, blocked, eventually


def test_tells_are_handled_in_order_before_an_ask(host):
    counter = host.start("counter", Counter)
    for _ in range(100):
        counter.tell(Add(1))
    assert counter.ask(Total(), ASK_S) == 100


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_failing_tell_gives_a_fresh_actor(host, error):
    counter = host.start("counter", Counter)
    counter.tell(Add(5))
    counter.tell(Raise(error))
    assert counter.ask(Total(), ASK_S) == 0
    assert host.restarts() == {"counter": 1}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failing_ask_is_answered_at_once_and_gives_a_fresh_actor(host, error):
    counter = host.start("counter", Counter)
    counter.tell(Add(5))
    with pytest.raises(ActorDied, match="on purpose") as caught:
        counter.ask(Raise(error), ASK_S)
    assert isinstance(caught.value.__cause__, error)
    assert counter.ask(Total(), ASK_S) == 0


def test_a_failing_timer_gives_a_fresh_actor(host):
    counter = host.start("counter", Counter)
    counter.tell(Add(5))
    counter.tell(Later(0.001, Raise(ValueError)))
    eventually(lambda: host.restarts() == {"counter": 1})
    assert counter.ask(Total(), ASK_S) == 0


def test_a_serving_error_is_an_answer_and_the_actor_lives_on(host, caplog):
    counter = host.start("counter", Counter)
    counter.tell(Add(5))
    counter.tell(Raise(InvalidRequest))
    with pytest.raises(InvalidRequest):
        counter.ask(Raise(InvalidRequest), ASK_S)
    assert counter.ask(Total(), ASK_S) == 5
    assert "counter: on purpose" in caplog.text


def test_a_failing_on_start_is_retried_and_keeps_the_inbox(host):
    starts = []

    class Late(Counter):
        def on_start(self):
            starts.append(threading.current_thread())
            if len(starts) < 3:
                raise OSError("not yet")

    late = host.start("late", Late)
    late.tell(Add(1))
    assert late.ask(Total(), ASK_S) == 1
    assert len(set(starts)) == 3


def test_on_start_and_receive_run_in_the_same_thread_of_their_own(host):
    class Where(Actor):
        def on_start(self):
            self.started_in = threading.current_thread()

        def receive(self, message):
            return self.started_in, threading.current_thread()

    started_in, received_in = host.start("where", Where).ask(None, ASK_S)
    assert started_in is received_in
    assert started_in is not threading.current_thread()


def test_an_ask_has_its_timeout(host):
    counter = host.start("counter", Counter)
    free = blocked(counter)
    with pytest.raises(RequestTimeout):
        counter.ask(Total(), 0.01)
    free.set()


def test_a_full_inbox_refuses_without_waiting(host):
    counter = host.start("counter", Counter, inbox=2)
    free = blocked(counter)
    counter.tell(Add(1))
    counter.tell(Add(1))
    with pytest.raises(QueueFull):
        counter.tell(Add(1))
    with pytest.raises(QueueFull):
        counter.ask(Total(), ASK_S)
    free.set()


def test_a_full_inbox_takes_what_is_insisted_on_in_its_turn(host):
    counter = host.start("counter", Counter, inbox=2)
    free = blocked(counter)
    counter.tell(Add(1))
    counter.tell(Add(1))
    counter.insist(Raise(ValueError))
    counter.insist(Add(5))
    free.set()
    eventually(lambda: host.restarts() == {"counter": 1})
    assert counter.ask(Total(), ASK_S) == 5


def test_an_actor_that_has_ended_takes_nothing_that_is_insisted_on(host):
    counter = host.start("counter", Counter)
    host.stop(ASK_S)
    with pytest.raises(ActorDied):
        counter.insist(Add(1))


def test_what_an_actor_sends_itself_is_never_refused(host):
    class Eager(Counter):
        def on_start(self):
            for _ in range(5):
                self.after(0.0, Add(1))

    eager = host.start("eager", Eager, inbox=1)
    eventually(lambda: eager._inbox._queue.qsize() == 0)
    assert eager.ask(Total(), ASK_S) == 5


def test_timers_come_in_the_order_of_their_time(host):
    class Order(Counter):
        seen: list[int] = []  # noqa: RUF012

        def receive(self, message):
            if isinstance(message, Add):
                self.seen.append(message.amount)
            return super().receive(message)

    order = host.start("order", Order)
    order.tell(Later(0.02, Add(2)))
    order.tell(Later(0.005, Add(1)))
    eventually(lambda: Order.seen == [1, 2])


def test_a_dead_actors_timers_do_not_reach_its_successor(host):
    counter = host.start("counter", Counter)
    for delay_s in (0.0, 0.01):
        free = blocked(counter)
        counter.tell(Later(delay_s, Add(1)))
        counter.tell(Raise(ValueError))
        free.set()
    time.sleep(0.03)
    assert counter.ask(Total(), ASK_S) == 0


def test_a_cancelled_timer_does_not_come(host):
    class Fickle(Counter):
        def on_start(self):
            self.after(0.0, Add(1)).cancel()
            self.after(0.005, Add(1)).cancel()

    fickle = host.start("fickle", Fickle)
    time.sleep(0.02)
    assert fickle.ask(Total(), ASK_S) == 0


def test_pykkas_own_way_in_is_closed():
    with pytest.raises(NotImplementedError):
        Counter().on_receive(Total())
