"""The engine process over its real sockets: a gateway and a control are played by the test."""

import socket

import pytest
import zmq

from tests.actors.engine.child import PEER, Engine, from_control, from_engine, send
from tests.models import TINY_LLAMA, make_model
from transport.messages import control as c
from transport.messages import data as d
from transport.messages import lifeline as life
from transport.sockets import router

pytestmark = [pytest.mark.processes, pytest.mark.mlx]
GREEDY = d.Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("m") / "tiny", TINY_LLAMA)


@pytest.fixture(scope="module")
def shared(folder):
    """For tests that leave the engine as it was: starting one takes seconds."""
    running = Engine(folder)
    running.ready = running.hear(life.Ready)
    _, running.hello = running.report(c.EngineHello)
    yield running
    running.close()


@pytest.fixture
def engine(folder):
    running = Engine(folder)
    running.ready = running.hear(life.Ready)
    yield running
    running.close()


def generate(name, tokens=(1, 2, 3), max_tokens=5, incarnation=3, **kwargs):
    return d.Generate(name, incarnation, list(tokens), max_tokens, 60.0, GREEDY, **kwargs)


def collect(link, names):
    """Tokens and ends of these requests."""
    tokens, ended = {name: [] for name in names}, {}
    while set(ended) != set(names):
        step = from_engine.decode(link.recv())
        assert (step.engine_id, step.incarnation) == ("engine:tiny:0", 3)
        for delta in step.deltas:
            tokens[delta.request_id] += delta.tokens
        for end in step.ended:
            assert end.request_id not in ended
            ended[end.request_id] = end
    return tokens, ended


def test_requests_of_two_gateways_are_answered_and_reported(shared):
    one = shared.connect()
    two = shared.connect()
    hello = shared.hello
    assert (hello.card.name, hello.endpoint) == ("tiny", shared.ready.facts["endpoint"])
    send(one, generate("a"), generate("b", (9, 8)))
    send(two, generate("c"))
    tokens, ended = collect(one, ["a", "b"])
    assert collect(two, ["c"])[0]["c"] == tokens["a"]
    assert {e.reason for e in ended.values()} == {"length"}
    _, memory = shared.report(c.MemoryReport)
    assert memory.weights_bytes > 0
    assert memory.device_limit_bytes > memory.active_bytes > 0
    assert shared.report(c.LoadReport)[1].generated_tokens


def test_a_cancelled_request_ends(shared):
    link = shared.connect()
    send(link, generate("a", max_tokens=900))
    first = from_engine.decode(link.recv())
    assert first.deltas
    send(link, d.Cancel("a"))
    _, ended = collect(link, ["a"])
    assert ended["a"].reason == "cancelled"
    assert ended["a"].completion_tokens < 900


def test_a_request_for_another_incarnation_is_refused_as_retryable(shared):
    link = shared.connect()
    send(link, generate("a", incarnation=2))
    end = collect(link, ["a"])[1]["a"]
    assert (end.code, end.retryable) == ("engine_unavailable", True)


@pytest.mark.parametrize(
    "bad", [b"", b"\x01", b"\x02\x80", b"\x01\xff\xff", b"\x01" + b"\x91" * 5000, b"x" * 100]
)
def test_hostile_frames_are_dropped(shared, bad):
    link = shared.connect()
    link.send(bad)
    link.send_multipart([b"one", b"two", b"three"])
    send(link, generate("a"))
    assert len(collect(link, ["a"])[0]["a"]) == 5


def test_a_budget_closes_and_opens_the_door(shared):
    link = shared.connect()
    shared.control.send_multipart([PEER, from_control.encode(c.Budget(1 << 20, admit=False))])
    while shared.hear(life.Heartbeat).facts.get("kv_budget_bytes") != 1 << 20:
        continue
    send(link, generate("a"))
    while shared.report(c.LoadReport)[1].waiting != 1:
        continue
    shared.control.send_multipart([PEER, from_control.encode(c.Budget(1 << 20))])
    assert collect(link, ["a"])[1]["a"].reason == "length"


def test_warming_up_is_reported_when_done(shared):
    warm = c.Warm(widths=[1, 4], prompt_tokens=16, max_tokens=2)
    shared.control.send_multipart([PEER, from_control.encode(warm)])
    assert shared.report(c.Warmed)[1].took_s > 0


def test_a_lost_gateway_frees_its_rows(shared):
    link = shared.connect()
    before = shared.report(c.MemoryReport) and shared.report(c.LoadReport)[1].generated_tokens
    send(link, generate("a", max_tokens=1000))
    link.recv()
    link.close(linger=0)
    while True:
        report = shared.report(c.LoadReport)[1]
        if report.running == 0 and report.generated_tokens > before:
            break
    assert report.generated_tokens < before + 1000


def test_progress_is_seen_while_it_works(shared):
    link = shared.connect()
    send(link, generate("a", max_tokens=900))
    beats = [shared.hear(life.Heartbeat) for _ in range(2)]
    assert beats[-1].progress >= beats[0].progress
    collect(link, ["a"])
    while shared.hear(life.Heartbeat).busy:
        continue


def test_vectors_are_refused(shared):
    link = shared.connect()
    send(link, d.Embed("a", 3, [1, 2], [2], 60.0))
    end = collect(link, ["a"])[1]["a"]
    assert (end.code, end.message) == ("invalid_request", "this model makes no embeddings")


def test_a_new_control_is_greeted(engine):
    engine.report(c.EngineHello)
    engine.control.close(linger=0)
    engine.control = router(engine.context, f"ipc://{engine.run}/c2.sock")
    engine.control.setsockopt(zmq.RCVTIMEO, 30_000)
    facts = {"control_endpoint": f"ipc://{engine.run}/c2.sock"}
    engine.say(life.Announce("control", "control", {}, "ready", 2, None, facts))
    assert engine.report(c.EngineHello)[1].incarnation == 3


def test_stop_ends_every_request_and_the_process_with_zero(engine):
    link = engine.connect()
    send(link, generate("a", max_tokens=900))
    link.recv()
    engine.say(life.Stop(10.0))
    end = collect(link, ["a"])[1]["a"]
    assert (end.code, end.retryable) == ("draining", True)
    assert engine.process.wait(20) == 0


def test_drain_finishes_what_runs_and_takes_nothing_new(engine):
    link = engine.connect()
    send(link, generate("a", max_tokens=100))
    link.recv()
    engine.say(life.Drain(30.0))
    engine.report(c.NoLongerAdmits)
    send(link, generate("b"))
    _, ended = collect(link, ["a", "b"])
    assert ended["a"].reason == "length"
    assert (ended["b"].code, ended["b"].retryable) == ("draining", True)
    engine.hear(life.Drained)


def test_what_is_said_while_the_model_is_looked_for_waits_for_it(folder):
    engine = Engine(folder)
    engine.say(life.Drain(30.0))
    engine.hear(life.Ready)
    engine.hear(life.Drained)
    engine.report(c.NoLongerAdmits)
    engine.close()


def test_a_model_that_cannot_be_loaded_says_why(tmp_path):
    folder = make_model(tmp_path / "broken", TINY_LLAMA)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    engine = Engine(folder)
    failed = engine.hear(life.StartFailed)
    assert failed.code == "model_load_failed"
    assert failed.message.startswith("model in broken: ")
    assert engine.process.wait(20) == 1
    engine.close()


def test_an_orphan_ends(engine):
    engine.lifeline.shutdown(socket.SHUT_RDWR)
    assert engine.process.wait(20) == 0
