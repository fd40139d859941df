import shutil
import tempfile
import time

import pytest
import zmq

from config.errors import PeerUnreachable
from transport.codec import Codec
from transport.fake import FakeControl, FakeEngine, fake_card, fake_tokens
from transport.messages.control import (
    FromControl,
    Hello,
    Lease,
    LeaseBatch,
    Refusal,
    Release,
    Route,
    RouteBatch,
    ToControl,
)
from transport.messages.data import (
    Batch,
    Cancel,
    Failed,
    Finished,
    FromEngine,
    Generate,
    Sampling,
    ToEngine,
)
from transport.messages.topology import EngineDown, EngineUp, ModelStatus, Snapshot, Topology
from transport.sockets import dealer, subscriber

WAIT_MS = 15_000
SLOW = 0.01


class Peer:
    """Talks to one fake."""

    def __init__(self, context, endpoint, sent, received):
        self._socket = dealer(context, endpoint, "gateway:0#1", keep=True)
        self._sent, self._received = Codec(sent), Codec(received)

    def send(self, message):
        self._socket.send(self._sent.encode(message))

    def send_bytes(self, frame):
        self._socket.send(frame)

    def silent_for(self, timeout_ms):
        return not self._socket.poll(timeout_ms)

    def receive(self):
        assert self._socket.poll(WAIT_MS), "no answer"
        return self._received.decode(self._socket.recv())

    def ask(self, *routes):
        self.send(RouteBatch(list(routes)))
        while not isinstance(answer := self.receive(), LeaseBatch):
            pass
        return answer.answers

    def collect(self, *request_ids):
        """Tokens and the end of each."""
        tokens, ends = {it: [] for it in request_ids}, {}
        while not ends.keys() >= set(request_ids):
            output = self.receive()
            for delta in output.deltas:
                tokens.setdefault(delta.request_id, []).extend(delta.tokens)
            for end in output.ended:
                assert end.request_id not in ends, "ended twice"
                ends[end.request_id] = end
        return tokens, ends


class Stage:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="f", dir="/tmp")
        self.context = zmq.Context()
        self.fakes = []
        self.peers = []

    def engine(self, engine_id="e0", incarnation=1, **options):
        endpoint = f"ipc://{self.folder}/{engine_id}-{incarnation}.sock"
        self.fakes.append(FakeEngine(engine_id, incarnation, endpoint, **options))
        return self.fakes[-1]

    def control(self, incarnation=1, **options):
        self.fakes.append(FakeControl(self.folder, incarnation, **options))
        return self.fakes[-1]

    def gateway_to(self, fake):
        if isinstance(fake, FakeEngine):
            peer = Peer(self.context, fake.endpoint, ToEngine, FromEngine)
        else:
            peer = Peer(self.context, fake.control_endpoint, ToControl, FromControl)
        self.peers.append(peer)
        return peer

    def close(self):
        for fake in self.fakes:
            fake.die()
        self.context.destroy(linger=0)
        shutil.rmtree(self.folder)


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.close()


def until(condition):
    deadline = time.monotonic() + WAIT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def generate(request_id="r", count=5, seed=1, prompt=3, incarnation=1, **fields):
    timeout_s = fields.pop("timeout_s", 60.0)
    sampling = Sampling(seed=seed)
    return Generate(request_id, incarnation, [0] * prompt, count, timeout_s, sampling, **fields)


def route(route_id="r1", model="fake", **fields):
    return Route(route_id, model, 5, 5, **fields)


def test_tokens_depend_on_seed_and_position_alone():
    whole = fake_tokens(7, 10, 20)
    assert whole[8:] == fake_tokens(7, 18, 12)
    assert whole != fake_tokens(8, 10, 20)


def test_an_engine_generates(stage):
    gateway = stage.gateway_to(stage.engine())
    gateway.send(Batch([generate("a", seed=1), generate("b", seed=2, count=9)]))
    tokens, ends = gateway.collect("a", "b")
    assert tokens == {"a": fake_tokens(1, 3, 5), "b": fake_tokens(2, 3, 9)}
    assert ends["b"] == Finished("b", "length", 3, 9)


def test_a_stop_token_is_counted_but_not_sent(stage):
    gateway = stage.gateway_to(stage.engine())
    stop = fake_tokens(1, 3, 5)[2]
    gateway.send(Batch([generate(count=50, stop_token_ids=[stop])]))
    tokens, ends = gateway.collect("r")
    assert ends["r"].reason == "stop"
    assert ends["r"].completion_tokens == len(tokens["r"]) + 1


def test_one_step_is_one_message(stage):
    gateway = stage.gateway_to(stage.engine(step_s=SLOW))
    gateway.send(Batch([generate("a"), generate("b")]))
    assert len(gateway.receive().deltas) == 2


def test_cancel(stage):
    gateway = stage.gateway_to(stage.engine(step_s=SLOW))
    gateway.send(Batch([generate(count=10_000)]))
    gateway.receive()
    gateway.send(Batch([Cancel("r"), Cancel("nobody")]))
    assert gateway.collect("r")[1]["r"].reason == "cancelled"


def test_a_deadline(stage):
    gateway = stage.gateway_to(stage.engine(step_s=SLOW))
    gateway.send(Batch([generate(count=10_000, timeout_s=0.05)]))
    assert gateway.collect("r")[1]["r"].code == "request_timeout"


def test_another_incarnation_is_refused(stage):
    gateway = stage.gateway_to(stage.engine(incarnation=2))
    gateway.send(Batch([generate(incarnation=1)]))
    end = gateway.collect("r")[1]["r"]
    assert isinstance(end, Failed)
    assert end.retryable


def test_made_to_fail(stage):
    engine = stage.engine(step_s=SLOW)
    gateway = stage.gateway_to(engine)
    gateway.send(Batch([generate(count=10_000)]))
    gateway.receive()
    engine.fail("queue_full")
    assert gateway.collect("r")[1]["r"].code == "queue_full"


def test_hangs_and_goes_on(stage):
    engine = stage.engine(step_s=SLOW)
    gateway = stage.gateway_to(engine)
    gateway.send(Batch([generate(count=5)]))
    gateway.receive()
    engine.hang()
    while not gateway.silent_for(50):
        gateway.receive()
    gateway.send(Batch([generate("later")]))
    assert gateway.silent_for(50)
    engine.resume()
    assert gateway.collect("later")[0]["later"] == fake_tokens(1, 3, 5)


def test_dies(stage):
    engine = stage.engine()
    engine.die()
    assert not engine.alive
    with pytest.raises(PeerUnreachable):
        engine.hang()
    engine.die()


def test_poison_kills(stage):
    engine = stage.engine(poison=lambda order: order.sampling.seed == 6)
    stage.gateway_to(engine).send(Batch([generate(seed=6)]))
    until(lambda: not engine.alive)


def test_junk_is_dropped_and_injected(stage):
    engine = stage.engine()
    gateway = stage.gateway_to(engine)
    gateway.send_bytes(b"junk")
    gateway.send(Batch([generate(count=1)]))
    gateway.collect("r")
    engine.inject(b"\x01junk")
    assert not gateway.silent_for(WAIT_MS)


def test_control_knows_engines_that_said_hello(stage):
    control = stage.control()
    engine = stage.engine(control=control.control_endpoint)
    gateway = stage.gateway_to(control)
    up = EngineUp("e0", 1, engine.endpoint, fake_card())
    until(lambda: control.received)
    gateway.send(Hello("gateway:0", 1))
    assert gateway.receive() == Snapshot(1, [up], [ModelStatus("fake", "ready", 1, 1)])


def test_control_publishes(stage):
    control = stage.control()
    news = subscriber(stage.context, control.topology_endpoint)
    seen = []

    def saw(kind):
        while news.poll(10):
            seen.append(Codec(Topology).decode(news.recv()))
        return any(isinstance(message, kind) for message in seen)

    until(lambda: saw(Snapshot))
    stage.engine(control=control.control_endpoint)
    until(lambda: saw(EngineUp))
    control.engine_down("e0", 1)
    until(lambda: saw(EngineDown))
    news.close(linger=0)


def test_control_leases_the_least_loaded(stage):
    control = stage.control(leases_per_engine=1)
    for name in ("e0", "e1"):
        stage.engine(name, control=control.control_endpoint)
    gateway = stage.gateway_to(control)
    until(lambda: len({m.engine_id for m in tuple(control.received)}) == 2)
    first, second, third = gateway.ask(route("1"), route("2"), route("3"))
    assert {first.engine_id, second.engine_id} == {"e0", "e1"}
    assert (third.code, third.retryable) == ("queue_full", True)
    gateway.send(RouteBatch(releases=[Release(first.lease_id, first.engine_id, 1, "finished")]))
    (fourth,) = gateway.ask(route("4"))
    assert fourth.engine_id == first.engine_id
    assert control.leases == 2


def test_control_refuses(stage):
    control = stage.control(models=("fake",))
    unknown, empty = stage.gateway_to(control).ask(route("1", model="x"), route("2"))
    assert (unknown.code, unknown.retryable) == ("model_not_found", False)
    assert (empty.code, empty.retryable) == ("engine_unavailable", True)


def test_control_excludes(stage):
    control = stage.control()
    stage.engine(control=control.control_endpoint)
    gateway = stage.gateway_to(control)
    until(lambda: control.received)
    allowed, refused = gateway.ask(route("1"), route("2", excluded=["e0#1"]))
    assert isinstance(allowed, Lease)
    assert isinstance(refused, Refusal)


def test_a_new_control_hears_of_the_engines(stage):
    engine = stage.engine(control=stage.control().control_endpoint)
    stage.fakes[0].die()
    second = stage.control(incarnation=2)
    engine.join(second.control_endpoint)
    until(lambda: second.received)
    assert isinstance(stage.gateway_to(second).ask(route())[0], Lease)
