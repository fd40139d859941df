from dataclasses import dataclass

import pytest

from actors.engine.queue import MAX_PRIORITY_S, MIN_ENDS, WINDOW_S, Ends, foremost, place_at


@dataclass
class Asked:
    arrived_at: float
    prompt_tokens: int
    resumed: bool = False
    priority: int = 0


def test_resumed_requests_go_first_then_short_ones_then_old_ones():
    old, short, long = Asked(0.0, 100), Asked(1.0, 10), Asked(0.0, 5000)
    resumed = Asked(9.0, 9000, resumed=True)
    assert foremost([long, short, old, resumed], 4, 0.01) == [resumed, old, short, long]
    assert foremost([long, short, old, resumed], 2, 0.01) == [resumed, old]


def test_a_lower_priority_goes_before_those_that_came_little_earlier():
    old, urgent, patient = Asked(0.0, 10), Asked(4.0, 10, priority=-5), Asked(-4.0, 10, priority=5)
    assert foremost([old, patient, urgent], 3, 0.01) == [urgent, old, patient]


@pytest.mark.parametrize("priority", [31, 2**31 - 1])
def test_nobody_waits_for_ever_behind_others_of_a_lower_priority(priority):
    last = Asked(0.0, 10, priority=priority)
    first = Asked(2 * MAX_PRIORITY_S + 0.1, 10, priority=-priority - 1)
    assert foremost([first, last], 1, 0.01) == [last]
    assert place_at(7.0, 0) == 7.0


def test_the_wait_is_guessed_from_what_ended_lately():
    ends = Ends()
    for i in range(10):
        ends.add(i * 0.5)
    assert ends.wait_s(20, 5.0) == 20 * 5.0 / 10
    assert ends.wait_s(20, 5.0 + WINDOW_S) == 0.0


def test_nothing_is_guessed_from_little():
    ends = Ends()
    for i in range(MIN_ENDS - 1):
        ends.add(float(i))
    assert ends.wait_s(1000, 4.0) == 0.0
