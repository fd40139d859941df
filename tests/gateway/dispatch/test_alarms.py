"""On a loop that the test turns, with a clock that the test sets."""

import pytest

from gateway.dispatch import alarms as module
from gateway.dispatch.alarms import Alarms
from gateway.dispatch.stream import State, Stream
from gateway.dispatch.types import GenerationRequest
from transport.messages.data import Sampling


class Clock:
    def __init__(self):
        self.now, self.ticks = 100.0, []

    def monotonic(self):
        return self.now

    def call_later(self, delay_s, tick):
        self.ticks.append(tick)

    def go_to(self, now):
        self.now = now
        ticks, self.ticks = self.ticks, []
        for tick in ticks:
            tick()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def stream(timeout_s=50.0):
    request = GenerationRequest(
        model="m", tokens=[1], max_tokens=1, sampling=Sampling(), timeout_s=timeout_s
    )
    return Stream("r", request, None, 100.0)


def test_a_stream_is_looked_at_when_it_is_time(clock):
    seen = []
    alarms, one = Alarms(clock, lambda it, now: seen.append((it, now))), stream()
    alarms.set(one, 101.0)
    clock.go_to(100.9)
    assert seen == []
    clock.go_to(101.2)
    assert seen == [(one, 101.2)]
    assert clock.ticks == []  # nobody is left


def test_one_that_was_put_off_is_not_looked_at_before(clock):
    seen = []
    alarms, one = Alarms(clock, lambda it, now: seen.append(now)), stream()
    alarms.set(one, 101.0)
    alarms.set(one, 103.0)
    clock.go_to(101.5)
    clock.go_to(102.9)
    assert seen == []
    clock.go_to(103.2)
    assert seen == [103.2]


def test_the_last_word_counts_where_it_is_earlier(clock):
    seen = []
    alarms, one = Alarms(clock, lambda it, now: seen.append(now)), stream()
    alarms.set(one, 110.0)
    alarms.set(one, 101.0)
    clock.go_to(101.2)
    clock.go_to(111.0)
    assert seen == [101.2]


def test_nobody_sleeps_over_the_deadline(clock):
    seen = []
    alarms = Alarms(clock, lambda it, now: seen.append(now))
    alarms.set(stream(timeout_s=2.0), 150.0)
    clock.go_to(102.2)
    assert seen == [102.2]


def test_what_ended_is_not_looked_at(clock):
    seen = []
    alarms, gone = Alarms(clock, lambda it, now: seen.append(it)), stream()
    alarms.set(gone, 101.0)
    alarms.discard(gone)
    clock.go_to(102.0)
    assert seen == []


def test_what_ends_in_the_same_tick_is_not_kept(clock):
    first, second = stream(), stream()

    def end_the_other(it, now):
        second.state = State.ENDED
        alarms.discard(second)

    alarms = Alarms(clock, end_the_other)
    for one in (first, second):
        alarms.set(one, 101.0)
    second.wake_at = 105.0
    clock.go_to(101.2)
    assert clock.ticks == []
