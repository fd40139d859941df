"""An embedding engine over its real sockets."""

import numpy as np
import pytest

from actors.engine.embedding.actor import MAX_OUTPUT_BYTES, pieces
from tests.actors.engine.child import PEER, Engine, from_control, from_engine, send
from tests.actors.engine.embedding.reference import reference
from tests.embedding_models import TINY_BERT, make_embedding_model
from transport.messages import control as c
from transport.messages import data as d
from transport.messages import lifeline as life

# So wide that some hundred texts take a while.
WIDE = TINY_BERT | {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_embedding_model(tmp_path_factory.mktemp("m") / "tiny", TINY_BERT)


@pytest.fixture(scope="module")
def shared(folder):
    """For tests that leave the engine as it was: starting one takes seconds."""
    running = Engine(folder)
    running.ready = running.hear(life.Ready)
    _, running.hello = running.report(c.EngineHello)
    yield running
    running.close()


@pytest.fixture
def wide(tmp_path):
    running = Engine(make_embedding_model(tmp_path / "wide", WIDE), max_waiting=5000)
    running.ready = running.hear(life.Ready)
    yield running
    running.close()


def embed(name, *texts, incarnation=3, timeout_s=60.0, **more):
    tokens = [token for text in texts for token in text]
    return d.Embed(name, incarnation, tokens, [len(text) for text in texts], timeout_s, **more)


def collect(link, names):
    """The ends of these requests."""
    ended = {}
    while set(ended) != set(names):
        step = from_engine.decode(link.recv())
        assert (step.engine_id, step.incarnation, step.deltas) == ("engine:tiny:0", 3, [])
        for end in step.ended:
            assert end.request_id not in ended
            ended[end.request_id] = end
    return ended


def vectors(embedded, width=32):
    return np.frombuffer(embedded.vectors, "<f4").reshape(-1, width)


@pytest.mark.processes
@pytest.mark.mlx
class TestShared:
    def test_it_says_of_which_kind_it_is(self, shared):
        assert shared.ready.facts["kind"] == "embedding"
        card = shared.hello.card
        assert (card.kind, card.dimensions, card.context_tokens) == ("embedding", 32, 64)

    def test_texts_of_two_gateways_become_vectors(self, shared, folder):
        one, two = shared.connect(), shared.connect()
        send(one, embed("a", [5, 6, 7], [9]), embed("b", [1] * 60))
        send(two, embed("a", [5, 6, 7]))
        ended = collect(one, ["a", "b"])
        assert abs(vectors(ended["a"])[0] - reference(folder, [5, 6, 7])).max() < 1e-4
        assert abs(vectors(ended["b"])[0] - reference(folder, [1] * 60)).max() < 1e-4
        other = collect(two, ["a"])["a"]
        assert vectors(other) == pytest.approx(vectors(ended["a"])[:1], abs=1e-6)
        assert (ended["a"].prompt_tokens, ended["b"].prompt_tokens) == (4, 60)

    def test_fewer_dimensions_have_length_one(self, shared):
        link = shared.connect()
        send(link, embed("a", [5, 6, 7], [9], dimensions=8))
        found = vectors(collect(link, ["a"])["a"], 8)
        assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1], abs=1e-6)

    def test_what_is_not_for_it_is_refused(self, shared):
        link = shared.connect()
        text = d.Generate("words", 3, [1], 5, 60.0)
        late = embed("late", [1], incarnation=2)
        send(link, d.Pin([1]), text, embed("long", [1] * 65), embed("empty", []), late)
        ended = collect(link, ["words", "long", "empty", "late"])
        assert ended["words"].message == "this model only makes embeddings"
        assert ended["long"].code == "context_length_exceeded"
        assert ended["empty"].code == "invalid_request"
        assert (ended["late"].code, ended["late"].retryable) == ("engine_unavailable", True)

    def test_it_reports_as_every_engine_does(self, shared):
        link = shared.connect()
        send(link, embed("a", [1] * 20))
        collect(link, ["a"])
        while not shared.report(c.LoadReport)[1].generated_tokens:
            continue
        _, memory = shared.report(c.MemoryReport)
        assert memory.weights_bytes > shared.hello.card.weights_bytes > 0
        assert (memory.kv_bytes, memory.reserved_kv_bytes) == (0, 0)
        assert memory.device_limit_bytes > memory.active_bytes > 0

    def test_warming_up_is_reported_when_done(self, shared):
        warm = c.Warm(widths=[1, 4], prompt_tokens=512, max_tokens=2)
        shared.control.send_multipart([PEER, from_control.encode(warm)])
        assert shared.report(c.Warmed)[1].took_s > 0


@pytest.mark.processes
@pytest.mark.mlx
class TestWide:
    def test_a_cancelled_request_ends_before_its_turn(self, wide):
        link = wide.connect()
        send(link, embed("big", *[[1] * 60] * 500), embed("small", [1]))
        send(link, d.Cancel("big"))
        ended = collect(link, ["big", "small"])
        assert ended["big"].reason == "cancelled"
        assert len(vectors(ended["small"], 64)) == 1

    def test_a_request_s_time_is_kept(self, wide):
        link = wide.connect()
        late = embed("late", [1] * 60, timeout_s=0.1, ahead_tokens=30_000)
        send(link, embed("big", *[[1] * 60] * 500), late)
        ended = collect(link, ["big", "late"])
        assert ended["late"].code in ("request_timeout", "queue_full")
        assert len(vectors(ended["big"], 64)) == 500

    def test_stop_ends_every_request_and_the_process_with_zero(self, wide):
        link = wide.connect()
        send(link, embed("big", *[[1] * 60] * 500))
        send(link, embed("small", [1]))
        collect(link, ["small"])  # so the large one is there, and takes its time
        wide.say(life.Stop(10.0))
        end = collect(link, ["big"])["big"]
        assert (end.code, end.retryable) == ("draining", True)
        assert wide.process.wait(20) == 0

    def test_drain_finishes_what_runs_and_takes_nothing_new(self, wide):
        link = wide.connect()
        send(link, embed("big", *[[1] * 60] * 100))
        link.poll(100)
        wide.say(life.Drain(30.0))
        wide.report(c.NoLongerAdmits)
        send(link, embed("new", [1]))
        ended = collect(link, ["big", "new"])
        assert len(vectors(ended["big"], 64)) == 100
        assert (ended["new"].code, ended["new"].retryable) == ("draining", True)
        wide.hear(life.Drained)


def test_what_ended_is_cut_into_messages():
    big = d.Embedded("big", b"x" * (MAX_OUTPUT_BYTES // 2 + 1), 1)
    small = d.Failed("small", "queue_full", "", retryable=True)
    assert list(pieces([])) == [[]]
    assert list(pieces([big, small, big, big])) == [[big, small], [big], [big]]
