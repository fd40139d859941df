"""What a request carries to its engine, and to the next one when that engine is lost."""

import pytest

from gateway.dispatch.recovery import Cancelled, Lost, next_step
from gateway.dispatch.stream import Stream
from gateway.dispatch.types import Completed
from tests.gateway.dispatch.house import request
from transport.messages.control import Lease
from transport.messages.data import Failed, Finished, Grammar, TokenLogprobs

NOW = 100.0
GRAMMAR = Grammar("start: /a+/", [7])


class Logged:
    def __init__(self):
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprobs] = []

    def on_tokens(self, tokens, logprobs=()):
        self.tokens += tokens
        self.logprobs += logprobs


def lease(number: int) -> Lease:
    return Lease("r", "l", f"e{number}", 1, "ipc://x")


def found(*tokens: int) -> list[TokenLogprobs]:
    return [TokenLogprobs(-float(token), [(token, -1.0)]) for token in tokens]


def moved(sink: Logged, cached_tokens: int = 4) -> Stream:
    """A stream of five tokens at most that got two and then lost its engine."""
    asked = request(count=5, grammar=GRAMMAR, logprobs=1, salt="tenant", shared_tokens=5)
    stream = Stream("1", asked, sink, NOW)
    stream.begin(lease(1), NOW)
    stream.receive([1, 2], NOW, found(1, 2), cached_tokens)
    next_step(stream, Lost(blame=True), NOW)
    stream.begin(lease(2), NOW)
    return stream


def test_grammar_logprobs_and_salt_go_to_every_engine():
    stream = moved(Logged())
    order = stream.order(NOW)
    assert (order.grammar, order.logprobs, order.salt) == (GRAMMAR, 1, "tenant")
    assert (order.tokens[-2:], order.resumed_tokens, order.max_tokens) == ([1, 2], 2, 3)


def test_logprobs_stay_in_step_with_their_tokens_over_a_recovery():
    sink = Logged()
    stream = moved(sink)
    stream.receive([3, 4, 5, 6], NOW, found(3, 4, 5, 6))  # one more than was asked for
    assert sink.tokens == [1, 2, 3, 4, 5]
    assert sink.logprobs == found(1, 2, 3, 4, 5)


def test_the_engine_that_read_the_prompt_says_what_of_it_was_stored():
    stream = moved(Logged())
    stream.receive([3, 4, 5], NOW, found(3, 4, 5), cached_tokens=5)
    step = next_step(stream, Finished("1/2", "length", 7, 3, cached_tokens=7), NOW)
    assert step.end == Completed(
        reason="length", prompt_tokens=5, completion_tokens=5, cached_tokens=4
    )


def test_a_stream_that_has_enough_knows_what_was_stored():
    stream = moved(Logged(), cached_tokens=9)  # more than the prompt has: not believed
    step = next_step(stream, Cancelled("stop"), NOW)
    assert (step.end.completion_tokens, step.end.cached_tokens) == (2, 5)


def test_the_time_counts_from_the_arrival_and_not_from_when_a_model_was_loaded():
    stream = Stream("1", request(timeout_s=60.0, arrived_at=NOW - 50.0), Logged(), NOW)
    assert stream.deadline_at == NOW + 10.0
    assert stream.route(NOW, 0).timeout_s == 10.0
    stream.begin(lease(1), NOW + 4.0)
    assert stream.order(NOW + 4.0).timeout_s == 6.0


@pytest.mark.parametrize(
    ("named", "told"),
    [("grammar", "structured_outputs.regex"), ("max_tokens", "max_tokens"), (None, None)],
)
def test_a_grammar_that_an_engine_refuses_is_named_as_the_client_did(named, told):
    asked = request(grammar=GRAMMAR, grammar_param="structured_outputs.regex")
    stream = Stream("1", asked, Logged(), NOW)
    stream.begin(lease(1), NOW)
    refusal = Failed("1", "invalid_request", "too complex", False, param=named)
    error = next_step(stream, refusal, NOW).end
    assert (error.code, error.param) == ("invalid_request", told)
