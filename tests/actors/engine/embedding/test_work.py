"""The requests of an embedding engine, with a model that only counts."""

import msgspec
import numpy as np
import pytest

from actors.engine.embedding.work import MAX_WAITING_TOKENS, EmbeddingWork
from actors.engine.request import Outputs
from config.errors import Draining
from transport.fake import fake_card
from transport.messages.data import Embed, Embedded, Failed, Finished

G, H = b"gateway:0#1", b"gateway:1#1"
BUDGET = 40


class Counting:
    """The vector of a text: how many tokens it has, their sum, and 1."""

    batch_tokens = BUDGET

    def __init__(self):
        self.card = msgspec.structs.replace(
            fake_card(), context_tokens=512, vocab_size=3072, kind="embedding", dimensions=3
        )
        self.batches = []

    def embed(self, texts):
        self.batches.append([len(text) for text in texts])
        return np.array([[len(text), text.sum(), 1] for text in texts], np.float32)

    def cut(self, vectors, dimensions):
        return vectors[:, :dimensions]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.01
        return self.now


class Engine:
    def __init__(self, max_waiting=100):
        self.model = Counting()
        self.work = EmbeddingWork(self.model, max_waiting)
        self.clock = Clock()
        self.out = Outputs()

    def accept(self, *texts, name="r", gateway=G, timeout_s=100.0, now=0.0, **more):
        tokens = [token for text in texts for token in text]
        lengths = [len(text) for text in texts]
        embed = Embed(name, 1, tokens, lengths, timeout_s, **more)
        self.work.accept(embed, gateway, now, self.out)

    def run(self):
        while self.work.busy:
            self.work.step(self.clock, self.out)

    def ended(self, gateway=G):
        return self.out.of(gateway)[1]

    def failure(self):
        (end,) = self.ended()
        assert isinstance(end, Failed)
        return end


@pytest.fixture
def engine():
    return Engine()


def numbers(embedded, width=3):
    return np.frombuffer(embedded.vectors, "<f4").reshape(-1, width).tolist()


def test_vectors_come_in_the_order_of_the_texts(engine):
    engine.accept([1] * 30, [2] * 3, [3] * 20, [4])
    engine.run()
    (end,) = engine.ended()
    assert numbers(end) == [[30, 30, 1], [3, 6, 1], [20, 60, 1], [1, 4, 1]]
    assert (end.request_id, end.prompt_tokens) == ("r", 54)
    assert engine.work.embedded_tokens == 54


def test_texts_of_several_requests_share_a_batch_and_each_gets_its_own(engine):
    for name in "abc":
        engine.accept([ord(name)] * 5, name=name, gateway=G if name < "c" else H)
    engine.work.step(engine.clock, engine.out)
    assert engine.model.batches == [[5, 5, 5]]
    assert [(it.request_id, numbers(it)[0][1]) for it in engine.ended()] == [("a", 485), ("b", 490)]
    assert [it.request_id for it in engine.ended(H)] == ["c"]


def test_the_first_dimensions_will_do(engine):
    engine.accept([1, 2], [7], dimensions=2)
    engine.run()
    assert numbers(engine.ended()[0], 2) == [[2, 3], [1, 7]]


def test_a_known_id_is_dropped_and_another_gateway_s_is_not(engine):
    engine.accept([1])
    engine.accept([2])
    engine.accept([3], gateway=H)
    engine.run()
    assert [numbers(it) for it in engine.ended()] == [[[1, 1, 1]]]
    assert [numbers(it) for it in engine.ended(H)] == [[[1, 3, 1]]]


@pytest.mark.parametrize(
    ("texts", "more", "code", "reason"),
    [
        ([], {}, "invalid_request", "an input is empty"),
        ([[1], []], {}, "invalid_request", "an input is empty"),
        ([[1] * 513], {}, "context_length_exceeded", "has 513 tokens, this model takes up to 512"),
        ([[-1]], {}, "invalid_request", "0..3071"),
        ([[3072]], {}, "invalid_request", "0..3071"),
        ([[1]], {"dimensions": 4}, "invalid_request", "from 1 to 3"),
        ([[1]], {"dimensions": -1}, "invalid_request", "from 1 to 3"),
        ([[1]], {"timeout_s": float("nan")}, "invalid_request", "timeout_s"),
    ],
)
def test_what_cannot_be_done_is_refused(engine, texts, more, code, reason):
    engine.accept(*texts, **more)
    assert (engine.failure().code, engine.failure().retryable) == (code, False)
    assert reason in engine.failure().message
    assert not engine.work.busy


def test_lengths_that_do_not_add_up_are_refused(engine):
    engine.work.accept(Embed("r", 1, [1, 2, 3], [1, 1], 9.0), G, 0.0, engine.out)
    assert engine.failure().code == "invalid_request"


def test_a_cancelled_request_ends_and_is_not_computed(engine):
    engine.accept([1] * 30, [1] * 31)
    engine.accept([2] * 30, name="other")
    engine.work.step(engine.clock, engine.out)
    engine.work.cancel(G, "r", engine.out)
    engine.work.cancel(G, "nobody", engine.out)
    engine.run()
    first, second = engine.ended()
    assert first == Finished("r", "cancelled", 61, 0)
    assert isinstance(second, Embedded)
    assert engine.work.waiting_tokens == 0
    assert sum(map(sum, engine.model.batches)) == 60


def test_a_request_that_ended_within_a_batch_stays_ended(engine):
    """Its texts were taken together, and the first of them failed it."""
    engine.accept([1] * 5, [2] * 5)
    engine.model.embed = lambda texts: np.full((len(texts), 3), np.nan, np.float32)
    engine.run()
    failure = engine.failure()
    assert (failure.code, failure.retryable) == ("engine_failed", False)
    assert "input 0 is not a number" in failure.message


def test_nothing_is_computed_for_a_gateway_that_is_gone(engine):
    engine.accept([1])
    engine.accept([1], gateway=H)
    engine.work.lose_gateway(G)
    engine.run()
    assert engine.ended() == []
    assert len(engine.ended(H)) == 1


def test_a_request_ends_with_its_time(engine):
    engine.accept([1], timeout_s=5.0)
    engine.accept([1], name="later", timeout_s=7.0)
    engine.work.expire(5.0, engine.out)
    assert engine.failure().code == "request_timeout"
    assert (engine.work.waiting, engine.work.waiting_tokens) == (1, 1)


def test_all_are_told_when_the_engine_stops(engine):
    engine.accept([1])
    engine.accept([2], gateway=H)
    engine.work.fail_all(Draining("stopping"), engine.out)
    assert (engine.failure().code, engine.failure().retryable) == ("draining", True)
    assert len(engine.ended(H)) == 1
    assert not engine.work.busy


def test_a_full_queue_takes_no_more():
    engine = Engine(max_waiting=1)
    engine.accept([1], name="first")
    engine.accept([1])
    assert (engine.failure().code, engine.failure().retry_after_s) == ("queue_full", 1.0)


def test_a_queue_of_too_many_tokens_takes_no_more(engine):
    engine.work._waiting.tokens = MAX_WAITING_TOKENS + 1
    engine.accept([1], timeout_s=10_000.0)
    assert engine.failure().code == "queue_full"
    assert "tokens wait already" in engine.failure().message


def test_who_would_wait_longer_than_its_time_is_told_at_once(engine):
    for i in range(200):
        engine.accept([1] * 512, name=str(i), timeout_s=1000.0)
        engine.work._max_waiting = 1000
    engine.accept([1], timeout_s=2.0)
    assert "takes about 10 s, the request may take 2 s" in engine.failure().message
    assert engine.failure().retry_after_s == pytest.approx(8.24)


def test_a_later_part_of_a_request_waits_for_its_turn(engine):
    engine.accept([1] * 30, name="second part", ahead_tokens=1000)
    engine.accept([1] * 30, name="other", now=0.05)
    engine.run()
    assert [it.request_id for it in engine.ended()] == ["other", "second part"]


def test_what_is_on_its_hands_is_told(engine):
    engine.accept([1] * 30, [1] * 31)
    engine.accept([1] * 30, name="other")
    assert (engine.work.running, engine.work.waiting, engine.work.waiting_tokens) == (0, 2, 91)
    engine.work.step(engine.clock, engine.out)
    assert (engine.work.running, engine.work.waiting, engine.work.waiting_tokens) == (1, 1, 61)
    engine.out.by_gateway.clear()
    engine.work.sign_of_life(engine.out)
    assert engine.out.by_gateway == {G: ([], [])}
    engine.run()
    assert [it.queued_s for it in engine.ended()] == [pytest.approx(0.03), pytest.approx(0.01)]
