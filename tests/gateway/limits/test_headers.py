"""Limits as headers."""

import pytest

from config.errors import (
    EngineUnavailable,
    InvalidRequest,
    OverLimit,
    QueueFull,
    RateLimited,
    RequestTimeout,
)
from config.limits import Allowance, Left
from gateway.limits.headers import duration, limit_headers

LEFT = Allowance(Left(60, 59, 1.0), Left(150_000, 149_984, 0.006))
TOLD = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6ms",
}


def test_an_answer_tells_what_is_left():
    assert limit_headers(LEFT) == TOLD


def test_limits_that_there_are_not_are_not_told_of():
    assert limit_headers(None) == limit_headers(Allowance()) == {}
    assert len(limit_headers(Allowance(tokens=LEFT.tokens))) == 3


def limited(kind, **more):
    error = kind("no", **more)
    error.allowance = LEFT
    return error


def test_a_refusal_tells_when_to_ask_again():
    headers = limit_headers(limited(RateLimited, retry_after_s=1.2))
    assert headers == TOLD | {"Retry-After": "2"}


def test_clients_do_not_ask_again_for_what_can_never_pass():
    assert limit_headers(limited(OverLimit)) == TOLD | {"x-should-retry": "false"}


def test_clients_do_not_ask_again_for_what_took_too_long():
    assert limit_headers(RequestTimeout("too long")) == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (QueueFull("full", retry_after_s=0.1), "1"),
        (EngineUnavailable("none"), "1"),
        (InvalidRequest("bad", retry_after_s=30.0), "30"),
    ],
)
def test_other_errors_tell_when_to_ask_again(error, seconds):
    assert limit_headers(error) == {"Retry-After": seconds}


def test_an_error_that_stays_says_nothing():
    assert limit_headers(InvalidRequest("bad")) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0021, "3ms"),
        (0.9991, "1s"),
        (1.01, "1.1s"),
        (59.0, "59s"),
        (60.0, "1m0s"),
        (90.5, "1m30.5s"),
    ],
)
def test_durations_are_never_told_too_short(seconds, text):
    assert duration(seconds) == text
