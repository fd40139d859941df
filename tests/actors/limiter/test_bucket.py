"""The token bucket alone."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limiter.bucket import MINUTE_S, Bucket

SIZES = st.integers(1, 100_000)
PAUSES = st.just(0.0) | st.floats(0, 200, allow_nan=False)


@given(SIZES, st.lists(st.tuples(PAUSES, st.floats(0, 1), st.booleans()), max_size=30))
def test_no_more_is_taken_in_any_time_than_comes_back_in_it_and_the_size(size, steps):
    bucket, now = Bucket(size, 0.0), 0.0
    changes = [(0.0, 0.0)]
    for pause, share, back in steps:
        now += pause
        amount = share * size
        if back:
            bucket.give_back(amount, now)
            changes.append((now, -amount))
        elif bucket.has(amount, now):
            bucket.take(amount, now)
            changes.append((now, amount))
    for first, last in combinations(range(len(changes) + 1), 2):
        window = changes[first:last]
        net = sum(amount for _, amount in window)
        came_back = size * (window[-1][0] - window[0][0]) / MINUTE_S
        assert net <= size + came_back + 1e-6 * len(changes)


@given(SIZES, st.floats(0, 1), st.floats(0, 3), PAUSES)
def test_after_the_wait_it_is_there(size, share, taken, pause):
    bucket = Bucket(size, 0.0)
    bucket.take(taken * size, 0.0)
    amount = share * size
    wait_s = bucket.wait_s(amount, pause)
    assert bucket.has(amount, pause) == (wait_s * size / MINUTE_S <= 1e-6)
    assert bucket.has(amount, pause + wait_s)


@given(SIZES, st.floats(0, 1), st.floats(0, 1))
def test_what_is_given_back_at_once_was_never_taken(size, first, share):
    bucket = Bucket(size, 0.0)
    bucket.take(first * size, 0.0)
    before = bucket.left(0.0)
    bucket.take(share * size, 0.0)
    bucket.give_back(share * size, 0.0)
    assert bucket.left(0.0).remaining == pytest.approx(before.remaining, abs=1)


def test_it_tells_what_is_left_and_when_it_is_full():
    bucket = Bucket(60, 100.0)
    bucket.take(45, 100.0)
    left = bucket.left(110.5)
    assert (left.limit, left.remaining, left.reset_s) == (60, 25, 34.5)
    assert bucket.left(1000.0).remaining == 60


def test_a_debt_comes_back_before_anything_can_be_taken():
    bucket = Bucket(60, 0.0)
    bucket.take(90, 0.0)
    assert bucket.left(0.0).remaining == 0
    assert not bucket.has(1, 30.0)
    assert bucket.has(1, 31.0)


def test_what_was_taken_stays_taken_when_the_size_changes():
    bucket = Bucket(60, 0.0)
    bucket.take(50, 0.0)
    bucket.resize(100, 0.0)
    assert bucket.left(0.0).remaining == 50
    bucket.resize(40, 0.0)
    assert bucket.left(0.0).remaining == 0


def test_nothing_is_kept_above_the_size():
    bucket = Bucket(60, 0.0)
    bucket.give_back(30, 0.0)
    assert not bucket.has(61, 0.0)
    assert bucket.has(60, 100.0)


def test_a_clock_that_stands_still_gives_nothing():
    bucket = Bucket(60, 10.0)
    bucket.take(60, 10.0)
    assert not bucket.has(1, 9.0)
    assert bucket.left(10.0).remaining == 0
