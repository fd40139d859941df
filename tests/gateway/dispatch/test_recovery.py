import itertools

import pytest

from config.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    QueueFull,
    RequestTimeout,
)
from config.settings import CircuitBreakerSettings
from gateway.dispatch.recovery import (
    MAX_LOSSES,
    RETRY_AFTER_S,
    RETRY_BASE_S,
    RETRY_CAP_S,
    TRANSITIONS,
    Ask,
    Cancelled,
    End,
    EngineCameUp,
    Leased,
    Leave,
    Lost,
    Refused,
    Run,
    Stay,
    Tick,
    Wait,
    check_at,
    next_step,
)
from gateway.dispatch.stream import State, Stream
from gateway.dispatch.types import Completed
from tests.gateway.dispatch.house import request
from transport.messages.control import Lease, Refusal
from transport.messages.data import Failed, Finished

NOW = 100.0
PATIENCE = CircuitBreakerSettings(first_token_timeout_s=10.0, token_gap_timeout_s=5.0)
LEASE = Lease("r1", "l1", "e0", 1, "ipc:///tmp/e0")
EVENTS = [
    Leased(LEASE),
    Refused(Refusal("r1", "engine_unavailable", "none", True)),
    Finished("r", "stop", 5, 1),
    Failed("r", "engine_failed", "broken", True),
    Lost(blame=True),
    EngineCameUp(),
    Cancelled(),
    Tick(PATIENCE, True),
]


class Nobody:
    def on_tokens(self, tokens):
        pass

    def on_end(self, end):
        pass


def stream(state=State.ROUTING, tokens=0, **fields):
    made = Stream("r", request(count=20, timeout_s=60.0), Nobody(), NOW)
    if state is State.RUNNING:
        made.begin(LEASE, NOW)
        made.reached = True
        if tokens:
            made.first_token(NOW)
            made.receive(list(range(tokens)), NOW)
    made.state = state
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def refused(code="engine_unavailable", retryable=True, retry_after_s=None, served=False):
    return Refused(Refusal("r1", code, "because", retryable, retry_after_s, "model"), served)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)))
def test_every_event_in_every_state_has_an_answer(state, event):
    step = next_step(stream(state), event, NOW)
    if (state, type(event)) in TRANSITIONS:
        assert isinstance(step, Stay | Run | Ask | Wait | End)
    else:
        assert isinstance(step, Stay)


def test_nothing_leads_out_of_the_end():
    assert all(state is not State.ENDED for state, _ in TRANSITIONS)


def test_a_lease_is_used():
    assert next_step(stream(), Leased(LEASE), NOW) == Run(LEASE)


@pytest.mark.parametrize("state", [State.ROUTING, State.WAITING])
def test_cancelled_before_an_engine_had_it(state):
    step = next_step(stream(state), Cancelled(), NOW)
    assert (step.end.reason, step.leave) == ("cancelled", None)


def test_cancelled_on_an_engine():
    step = next_step(stream(State.RUNNING, tokens=3), Cancelled(), NOW)
    assert (step.end.reason, step.end.completion_tokens) == ("cancelled", 3)
    assert step.leave == Leave("cancelled", cancel=True)


def test_a_refusal_for_good_ends_it_with_its_own_error():
    step = next_step(stream(), refused("invalid_request", retryable=False), NOW)
    assert isinstance(step.end, InvalidRequest)
    assert (step.end.message, step.end.param) == ("because", "model")


def test_an_unknown_model_is_believed_only_if_unknown_here_too():
    event = refused("model_not_found", retryable=False)
    assert isinstance(next_step(stream(), event, NOW).end, ModelNotFound)
    event = refused("model_not_found", retryable=False, served=True)
    assert isinstance(next_step(stream(), event, NOW), Wait)


def test_a_failed_model_ends_a_new_request():
    end = next_step(stream(), refused("model_load_failed", False, 30.0), NOW).end
    assert isinstance(end, ModelLoadFailed)
    assert end.retry_after_s == 30.0


@pytest.mark.parametrize(
    "before",
    [{"resumed": True, "full": QueueFull("another one")}, {}],
    ids=["its engine was lost", "its engine would not have it any more"],
)
def test_a_failed_model_is_waited_for_by_those_that_had_an_engine(before):
    event = refused("model_load_failed", False, 30.0)
    step = next_step(stream(attempt=1, excluded=("e0#1",), **before), event, NOW)
    assert step == Wait(NOW + RETRY_BASE_S, (), 30.0)


def test_a_failed_model_ends_a_request_for_which_its_engine_had_no_room():
    full = QueueFull("because", retry_after_s=4.0)
    event = refused("model_load_failed", retryable=False)
    step = next_step(stream(attempt=1, full=full), event, NOW)
    assert isinstance(step.end, ModelLoadFailed)


def test_a_full_queue_ends_a_new_request():
    end = next_step(stream(), refused("queue_full", retry_after_s=4.0), NOW).end
    assert isinstance(end, QueueFull)
    assert (end.retry_after_s, end.param) == (4.0, "model")
    assert next_step(stream(), refused("queue_full"), NOW).end.retry_after_s == RETRY_AFTER_S


def test_a_full_queue_keeps_a_resumed_one_waiting_with_its_exclusions():
    step = next_step(stream(resumed=True, excluded=("e0#1",)), refused("queue_full"), NOW)
    assert step == Wait(NOW + RETRY_BASE_S, ("e0#1",), None)


def test_without_any_engine_the_excluded_ones_are_allowed_again():
    step = next_step(stream(excluded=("e0#1",)), refused(retry_after_s=9.0), NOW)
    assert step == Wait(NOW + RETRY_BASE_S, (), 9.0)


def test_the_wait_grows_to_a_limit():
    waits = [next_step(stream(refusals=count), refused(), NOW).wake_at - NOW for count in range(12)]
    assert waits == sorted(waits)
    assert waits[1] == pytest.approx(2 * RETRY_BASE_S)
    assert waits[-1] == pytest.approx(RETRY_CAP_S)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.ROUTING, Tick(PATIENCE, False)),
        (State.WAITING, Tick(PATIENCE, False)),
        (State.WAITING, EngineCameUp()),
    ],
)
def test_asks_again_and_forgets_nothing(state, event):
    before = stream(state, excluded=("e0#1",), losses=2, resumed=True)
    assert next_step(before, event, NOW) == Ask(("e0#1",), None, 2, resumed=True)


@pytest.mark.parametrize("state", [State.ROUTING, State.WAITING])
def test_no_engine_until_the_deadline(state):
    end = next_step(stream(state, retry_after_s=7.0), Tick(PATIENCE, False), NOW + 60.0).end
    assert isinstance(end, EngineUnavailable)
    assert end.retry_after_s == 7.0


@pytest.mark.parametrize(("counted", "total"), [(3, 3), (4, 4)])
def test_finished(counted, total):
    event = Finished("r", "stop", 5, counted, cached_tokens=99)
    step = next_step(stream(State.RUNNING, tokens=3), event, NOW)
    expected = Completed(reason="stop", prompt_tokens=5, completion_tokens=total, cached_tokens=5)
    assert step == End(expected, Leave("finished"))


def test_finished_counts_all_attempts():
    before = stream(State.RUNNING, tokens=3)
    before.begin(LEASE, NOW)
    before.receive([1, 2], NOW)
    step = next_step(before, Finished("r/2", "length", 8, 2), NOW)
    assert step.end.completion_tokens == 5


@pytest.mark.parametrize("counted", [0, 2, 5])
def test_a_count_that_does_not_fit_is_a_failure(counted):
    step = next_step(stream(State.RUNNING, tokens=3), Finished("r", "stop", 5, counted), NOW)
    assert isinstance(step.end, EngineFailed)
    assert step.leave == Leave("failed")


def test_an_engine_cannot_cancel_for_us():
    step = next_step(stream(State.RUNNING), Finished("r", "cancelled", 5, 0), NOW)
    assert step == Ask(("e0#1",), Leave("failed"), 1, resumed=True)


def test_a_lost_engine_is_excluded_and_counted():
    step = next_step(stream(State.RUNNING, excluded=("e9#1",)), Lost(blame=True), NOW)
    assert step == Ask(("e9#1", "e0#1"), Leave("engine_lost"), 1, resumed=True)


def test_an_engine_that_never_got_the_request_does_not_count():
    step = next_step(stream(State.RUNNING), Lost(blame=False), NOW)
    assert step.losses == 0


def test_too_many_losses_in_a_row_end_it():
    before = stream(State.RUNNING, losses=MAX_LOSSES - 1)
    step = next_step(before, Lost(blame=True), NOW)
    assert isinstance(step.end, EngineFailed)
    assert step.leave == Leave("engine_lost")


def test_a_token_ends_the_row():
    before = stream(State.RUNNING, losses=MAX_LOSSES - 1)
    before.first_token(NOW)
    assert next_step(before, Lost(blame=True), NOW).losses == 1


def test_all_tokens_came_and_only_the_end_was_lost():
    step = next_step(stream(State.RUNNING, tokens=20), Lost(blame=True), NOW)
    assert (step.end.reason, step.end.completion_tokens) == ("length", 20)


def test_lost_at_the_deadline_there_was_no_engine():
    step = next_step(stream(State.RUNNING), Lost(blame=True), NOW + 60.0)
    assert isinstance(step.end, EngineUnavailable)
    assert step.end.retry_after_s == RETRY_AFTER_S


@pytest.mark.parametrize(
    ("code", "outcome", "losses", "resumed"),
    [
        ("engine_failed", "failed", 1, True),
        ("actor_died", "failed", 1, True),
        ("draining", "refused", 0, False),
    ],
)
def test_a_failure_that_may_be_retried(code, outcome, losses, resumed):
    step = next_step(stream(State.RUNNING), failed(code), NOW)
    assert step == Ask(("e0#1",), Leave(outcome), losses, resumed=resumed)


def failed(code, retryable=True, retry_after_s=None):
    return Failed("r", code, "because", retryable, retry_after_s)


def test_a_stream_that_has_tokens_is_resumed_whatever_the_reason():
    step = next_step(stream(State.RUNNING, tokens=3), failed("draining"), NOW)
    assert step == Ask(("e0#1",), Leave("refused"), 0, resumed=True)


def test_an_engine_that_refuses_again_is_asked_after_a_pause():
    before = stream(State.RUNNING, excluded=("e0#1",), refusals=1)
    step = next_step(before, failed("draining"), NOW)
    assert step == Wait(NOW + 2 * RETRY_BASE_S, ("e0#1",), None, Leave("refused"))


def test_a_full_engine_sends_a_new_request_to_one_other():
    step = next_step(stream(State.RUNNING), failed("queue_full", retry_after_s=4.0), NOW)
    assert (step.excluded, step.leave, step.resumed) == (("e0#1",), Leave("refused"), False)
    assert step.full.retry_after_s == 4.0
    again = stream(State.RUNNING, full=step.full)
    end = next_step(again, failed("queue_full"), NOW)
    assert isinstance(end.end, QueueFull)
    assert end.leave == Leave("refused")


@pytest.mark.parametrize("code", ["queue_full", "engine_unavailable"])
def test_a_new_request_that_one_engine_refused_does_not_wait_for_another(code):
    full = QueueFull("because", retry_after_s=4.0)
    assert next_step(stream(full=full), refused(code), NOW) == End(full)


def test_a_full_engine_keeps_a_begun_request_waiting():
    before = stream(State.RUNNING, tokens=3, refusals=1)
    step = next_step(before, failed("queue_full", retry_after_s=4.0), NOW)
    leave = Leave("refused")
    assert step == Wait(NOW + 2 * RETRY_BASE_S, ("e0#1",), 4.0, leave, resumed=True)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("engine_failed", "failed"),
        ("context_length_exceeded", "refused"),
        ("request_timeout", "cancelled"),
    ],
)
def test_a_failure_for_good(code, outcome):
    step = next_step(stream(State.RUNNING), failed(code, False, 3.0), NOW)
    assert (step.end.code, step.end.message, step.end.retry_after_s) == (code, "because", 3.0)
    assert step.leave == Leave(outcome)


def test_checked_again_when_patience_ends():
    assert check_at(stream(State.RUNNING), PATIENCE) == NOW + 5.0
    assert check_at(stream(State.RUNNING, heard_at=NOW + 3.0), PATIENCE) == NOW + 8.0
    assert check_at(stream(State.RUNNING, tokens=1), PATIENCE) == NOW + 5.0
    assert check_at(stream(State.RUNNING, deadline_at=NOW + 1.0), PATIENCE) == NOW + 1.0


def test_before_that_it_stays():
    step = next_step(stream(State.RUNNING), Tick(PATIENCE, True), NOW + 4.0)
    assert step == Stay(NOW + 5.0)


@pytest.mark.parametrize(("tokens", "after_s"), [(0, 5.0), (3, 5.0)])
def test_a_stalled_stream_moves_if_there_is_another_engine(tokens, after_s):
    before = stream(State.RUNNING, tokens=tokens)
    leave = Leave("stalled", cancel=True)
    step = next_step(before, Tick(PATIENCE, True), NOW + after_s)
    assert step == Ask(("e0#1",), leave, 1, resumed=True)
    assert isinstance(next_step(before, Tick(PATIENCE, False), NOW + after_s), Stay)


def test_a_stalled_stream_with_all_its_tokens_is_complete():
    step = next_step(stream(State.RUNNING, tokens=20), Tick(PATIENCE, False), NOW + 5.0)
    assert step.end.reason == "length"


def test_the_deadline_of_a_running_stream():
    before = stream(State.RUNNING, tokens=3, last_at=NOW + 59.0)
    step = next_step(before, Tick(PATIENCE, True), NOW + 60.0)
    assert isinstance(step.end, RequestTimeout)
    assert step.leave == Leave("cancelled", cancel=True)


@pytest.mark.parametrize("tokens", [0, 3])
def test_the_deadline_of_a_stream_whose_only_engine_is_silent(tokens):
    before = stream(State.RUNNING, tokens=tokens)
    step = next_step(before, Tick(PATIENCE, False), NOW + 60.0)
    assert isinstance(step.end, EngineUnavailable)
    assert step.leave == Leave("cancelled", cancel=True)


def test_whoever_has_all_he_needs_is_finished():
    step = next_step(stream(State.RUNNING, tokens=3), Cancelled("stop"), NOW)
    assert (step.end.reason, step.end.completion_tokens) == ("stop", 3)
    assert step.leave == Leave("finished", cancel=True)


def test_more_tokens_than_asked_for_are_cut_off():
    before = stream(State.RUNNING, tokens=18)
    before.receive([1, 2, 3, 4], NOW)
    assert before.tokens[18:] == [1, 2]
    before.receive([5], NOW)
    assert len(before.tokens) == 20
    assert before.left == 0
