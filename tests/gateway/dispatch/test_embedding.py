"""Texts on their way to an engine and back as vectors, over deaths of engines."""

from gateway.dispatch.types import CompletedEmbedding, EmbeddingRequest
from tests.gateway.dispatch.house import PATIENT_S, in_house, outcomes, until
from transport.fake import fake_vector
from transport.messages.data import Batch, Cancel, Embed

TEXTS = [[1, 2, 3], [4], [5, 6]]


def asked(*, timeout_s=PATIENT_S, **more):
    return EmbeddingRequest(
        model="fake",
        tokens=[token for text in TEXTS for token in text],
        lengths=[len(text) for text in TEXTS],
        timeout_s=timeout_s,
        **more,
    )


def assert_whole(sink):
    assert isinstance(sink.end, CompletedEmbedding), sink.end
    assert sink.end.vectors == b"".join(map(fake_vector, TEXTS))
    assert (sink.end.prompt_tokens, sink.end.completion_tokens) == (6, 0)
    assert sink.tokens == []


def received(engine):
    return [item for batch in engine.received if isinstance(batch, Batch) for item in batch.items]


class Observed:
    def __init__(self):
        self.pauses, self.ends = [], []

    def started(self):
        """Of no interest."""

    def recovered(self, model, pause_s):
        self.pauses.append(model)

    def ended(self, generation):
        self.ends.append(generation)


@in_house
async def test_texts_become_vectors(house):
    await house.open("e0")
    sink = house.submit(asked(dimensions=2, ahead_tokens=7))
    await sink.ended()
    assert_whole(sink)
    (embed,) = received(house.engines["e0"])
    assert isinstance(embed, Embed)
    assert (embed.tokens, embed.lengths) == ([1, 2, 3, 4, 5, 6], [3, 1, 2])
    assert (embed.dimensions, embed.ahead_tokens, embed.incarnation) == (2, 7, 1)
    assert 0 < embed.timeout_s <= PATIENT_S
    await until(lambda: outcomes(house) == ["finished"])


@in_house
async def test_many_share_a_message(house):
    await house.open("e0")
    sinks = [house.submit(asked()) for _ in range(50)]
    for sink in sinks:
        await sink.ended()
        assert_whole(sink)
    assert len(house.engines["e0"].received) < 50


@in_house(observer=Observed())
async def test_an_engine_that_dies_loses_nothing(house):
    await house.open("e0", prefill_s=PATIENT_S)
    sinks = [house.submit(asked()) for _ in range(20)]
    await until(lambda: len(received(house.engines["e0"])) == 20)
    house.start_engine("e1")
    house.kill_engine("e0")
    for sink in sinks:
        await sink.ended()
        assert_whole(sink)
    assert len(received(house.engines["e1"])) == 20
    assert house._observer.pauses == ["fake"] * 20
    assert {(it.code, it.prompt_tokens) for it in house._observer.ends} == {("stop", 6)}
    assert all(it.first_token_s is not None for it in house._observer.ends)


@in_house
async def test_the_only_engine_s_successor_does_what_it_left(house):
    await house.open("e0", prefill_s=PATIENT_S)
    sink = house.submit(asked())
    await until(lambda: received(house.engines["e0"]))
    house.kill_engine("e0")
    house.start_engine("e0")
    await sink.ended()
    assert_whole(sink)


@in_house
async def test_what_kills_every_engine_ends(house):
    await house.open("e0", "e1", "e2", "e3", poison=lambda item: True)
    sink = house.submit(asked())
    end = await sink.ended()
    assert end.code == "engine_failed"
    await until(lambda: sum(engine.alive for engine in house.engines.values()) == 1)


@in_house
async def test_it_is_cancelled_with_its_time(house):
    await house.open("e0", prefill_s=PATIENT_S)
    sink = house.submit(asked(timeout_s=0.2))
    end = await sink.ended()
    assert end.code == "request_timeout"


@in_house
async def test_what_nobody_wants_any_more_is_cancelled(house):
    await house.open("e0", prefill_s=PATIENT_S)
    sink = house.submit(asked())
    await until(lambda: received(house.engines["e0"]))
    house.dispatcher.cancel(sink.id)
    assert (await sink.ended()).reason == "cancelled"
    await until(lambda: Cancel(sink.id) in received(house.engines["e0"]))


@in_house
async def test_a_refusal_by_a_full_engine_goes_to_another(house):
    await house.open("e0", refuses="queue_full")
    house.start_engine("e1")
    await house.ready(2)
    sinks = [house.submit(asked()) for _ in range(4)]
    for sink in sinks:
        await sink.ended()
        assert_whole(sink)
