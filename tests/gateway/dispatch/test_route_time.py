"""How long a request waited for its lease, as the metrics are told."""

import pytest

from gateway.dispatch.stream import State, Stream
from gateway.dispatch.types import Completed
from tests.gateway.dispatch.house import Collected, request
from transport.messages.control import Lease

NOW = 100.0
LEASE = Lease("r1", "l1", "e0", 1, "ipc:///tmp/e0")
DONE = Completed(reason="length", prompt_tokens=5, completion_tokens=20)


@pytest.fixture
def stream():
    made = Stream("r", request(), Collected(), NOW)
    made.ask(NOW)
    return made


def told(stream):
    return stream.summary(DONE, NOW + 9.0).route_s


def test_it_counts_from_the_question_to_the_lease(stream):
    stream.begin(LEASE, NOW + 0.25)
    assert told(stream) == 0.25


def test_a_question_that_is_asked_again_for_want_of_an_answer_is_the_same(stream):
    stream.ask(NOW + 1.0)
    stream.begin(LEASE, NOW + 1.25)
    assert told(stream) == 1.25


def test_the_wait_for_an_engine_with_room_does_not_count(stream):
    stream.state = State.WAITING  # refused
    stream.ask(NOW + 3.0)
    stream.begin(LEASE, NOW + 3.25)
    assert told(stream) == 0.25


def test_of_several_engines_the_last_lease_counts(stream):
    stream.begin(LEASE, NOW + 0.5)
    stream.ask(NOW + 3.0)
    stream.begin(LEASE, NOW + 3.25)
    assert told(stream) == 0.25


def test_without_a_lease_there_is_no_time(stream):
    assert told(stream) is None
    stream.begin(LEASE, NOW + 0.5)
    stream.ask(NOW + 3.0)  # the engine died, and nobody answers any more
    assert told(stream) is None
