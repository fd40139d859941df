"""When a model that failed may be tried again."""

import pytest

from actors.registry.failures import RETRY_CAP_S, SOUND_S, Failures


@pytest.fixture
def failures():
    found = Failures(30.0)
    found.failed("m", "why", 0.0)
    return found


def fail_again(failures, after_s):
    """It is tried, and fails so long after that; when it may be tried next."""
    failures.tried("m", 1000.0)
    failures.failed("m", "why", 1000.0 + after_s)
    return failures.rest("m")


def test_it_rests_and_is_due_then(failures):
    assert failures.rest("m") == ("why", 30.0)
    assert failures.rest("other") is None
    assert failures.pass_time(0.0) == []
    assert failures.pass_time(0.1) == []
    assert failures.pass_time(28.5) == ["m"]
    assert failures.rest("m") == ("why", 2.0)
    assert failures.due() == []
    assert failures.pass_time(30.0) == ["m"]
    assert (failures.rest("m"), failures.due()) == (None, ["m"])
    failures.tried("m", 31.0)
    assert failures.due() == []


def test_the_same_failure_told_again_does_not_count(failures):
    failures.failed("m", "why", 29.0)
    assert failures.pass_time(30.0) == ["m"]


def test_the_pause_grows_up_to_its_limit(failures):
    rests = [fail_again(failures, 1.0)[1] for _ in range(6)]
    assert rests == [60.0, 120.0, 240.0, 480.0, RETRY_CAP_S, RETRY_CAP_S]


def test_after_a_sound_while_it_begins_anew(failures):
    assert fail_again(failures, SOUND_S - 1) == ("why", 60.0)
    assert fail_again(failures, SOUND_S) == ("why", 30.0)


def test_a_try_that_nobody_saw_counts(failures):
    failures.failed("m", "why not", 31.0)
    assert failures.rest("m") == ("why not", 60.0)


def test_one_that_is_tried_early_does_not_rest(failures):
    failures.tried("m", 5.0)
    assert (failures.rest("m"), failures.pass_time(99.0), failures.due()) == (None, [], [])
