"""What comes from gateways and control while clients have filled the actor's inbox."""

import tempfile
import threading

import pytest
import zmq

from actors.base import Actor, Address, Inbox
from actors.engine.inlet import Inlet, Received, Unwanted
from actors.engine.io import Close, EngineIO, NewControl, UseControl
from config.errors import QueueFull
from tests.actors.counter import eventually
from tests.actors.samples import card
from transport.codec import Codec
from transport.messages import data as d
from transport.messages.control import Budget, EngineHello, FromControl
from transport.outbox import Outbox
from transport.sockets import dealer, router

G, OTHER = b"gateway:0#1", b"gateway:1#1"
WAIT_S = 20.0
to_engine, from_engine, from_control = Codec(d.ToEngine), Codec(d.FromEngine), Codec(FromControl)


def generate(name):
    return d.Generate(name, 1, [1, 2], 5, 60.0)


def batch(*items):
    return d.Batch(list(items))


class Full:
    """An inlet into an inbox that has room for two."""

    def __init__(self):
        self.inbox = Inbox("engine", 2)
        self.inlet = Inlet(Address(self.inbox))
        for name in "ab":
            assert self.inlet.receive(G, batch(generate(name))) is None

    def come(self):
        """What the actor finds, in order, told short."""
        found = []
        while self.inbox._queue.qsize():
            match self.inbox.get().message:
                case Received(_, batch):
                    found.append([type(item).__name__ for item in batch.items])
                case Unwanted() as unwanted:
                    found.append(unwanted.take())
                case other:
                    found.append(other)
        return found


def test_new_work_is_refused_and_a_cancel_gets_through():
    full = Full()
    refused = full.inlet.receive(G, batch(generate("c"), d.Cancel("a"), d.Cancel("c")))
    assert isinstance(refused, QueueFull)
    assert full.come()[2:] == [([(G, "a"), (G, "c")], [])]


def test_however_many_come_they_are_one_message():
    full = Full()
    for i in range(1000):
        full.inlet.receive(G, batch(d.Cancel(f"r{i % 10}")))
        full.inlet.lose(OTHER)
    (unwanted,) = full.come()[2:]
    assert unwanted == ([(G, f"r{i}") for i in range(10)], [OTHER])


def test_a_cancel_never_overtakes_what_it_ends():
    full = Full()
    full.inlet.receive(G, batch(d.Cancel("a")))
    full.inbox.get()
    full.inbox.get()
    assert full.inlet.receive(G, batch(generate("late"))) is None
    full.inlet.receive(G, batch(d.Cancel("late")))
    assert full.come() == [([(G, "a")], []), ["Generate"], ([(G, "late")], [])]


def test_what_was_taken_grows_no_more():
    full = Full()
    full.inlet.lose(G)
    (first,) = full.come()[2:]
    full.inlet.lose(OTHER)
    assert (first, full.come()) == (([], [G]), [([], [OTHER])])


def test_prefixes_to_pin_get_through_too():
    full = Full()
    full.inlet.receive(G, batch(generate("c"), d.Pin([1, 2, 3])))
    assert full.come()[2:] == [["Pin"]]


class Stuck(Actor):
    """Handles nothing before it may."""

    def __init__(self, may, seen):
        super().__init__()
        self.may, self.seen = may, seen

    def receive(self, message):
        assert self.may.wait(WAIT_S)
        self.seen.append(message)


class Thread:
    """The I/O thread before an actor that is stuck, and its peers' sockets in our hands."""

    def __init__(self, host, folder):
        self.may, self.seen, self.outbox = threading.Event(), [], Outbox()
        actor = host.start("engine", lambda: Stuck(self.may, self.seen), inbox=2)
        hello = EngineHello("engine:m:0", 1, f"ipc://{folder}/e.sock", card())
        self.io = EngineIO(hello, actor, self.outbox, lambda error: None)
        self.context = zmq.Context()
        self.control = router(self.context, f"ipc://{folder}/c.sock")
        self.gateway = dealer(self.context, hello.endpoint, "gateway:0#1", keep=True)
        for link in (self.control, self.gateway):
            link.setsockopt(zmq.RCVTIMEO, int(WAIT_S * 1000))
        self.io.start()
        self.outbox.put(UseControl(f"ipc://{folder}/c.sock"))
        self.peer, _ = self.control.recv_multipart()

    def close(self):
        self.may.set()
        self.outbox.put(Close())
        self.io.join(WAIT_S)
        self.gateway.close(linger=0)
        self.control.close(linger=0)
        self.context.term()


@pytest.fixture
def thread(host):
    with tempfile.TemporaryDirectory(prefix="mlxs-", dir="/tmp") as folder:
        running = Thread(host, folder)
        yield running
        running.close()


def test_the_thread_passes_on_what_must_not_be_lost(thread):
    for i in range(5):
        thread.gateway.send(to_engine.encode(batch(generate(f"r{i}"))))
    thread.gateway.send(to_engine.encode(batch(d.Cancel("r0"), generate("last"))))
    refused = []
    while "last" not in refused:
        ended = from_engine.decode(thread.gateway.recv()).ended
        assert {end.code for end in ended} == {"queue_full"}
        refused += [end.request_id for end in ended]
    thread.control.send_multipart([thread.peer, from_control.encode(Budget(7))])
    thread.may.set()
    eventually(lambda: thread.seen[-1:] == [Budget(7)])
    assert isinstance(thread.seen[0], NewControl)
    assert isinstance(thread.seen[-2], Unwanted)
    assert len(thread.seen) == 1 + (6 - len(refused)) + 2
