"""The I/O thread: what happens when an actor or a peer is not there."""

import os
import tempfile
import threading

import pytest
import zmq

from actors.base import Actor
from actors.control.io import Actors, Close, ControlIO, Outlets, Publish, ToPeer, post
from actors.crew import Crew
from actors.host import Host
from tests.actors.control.rig import WAIT_S, Peer
from tests.actors.samples import route
from transport.messages.control import Admit, Charge, Hello, Lease, LeaseBatch, Refusal, RouteBatch
from transport.messages.topology import ModelGone
from transport.outbox import Outbox


class Stuck(Actor):
    """Never gets to its second message."""

    def __init__(self, free):
        super().__init__()
        self.free = free

    def receive(self, message):
        self.free.wait(WAIT_S)


class Stage:
    def __init__(self, folder):
        self.free = threading.Event()
        self.host = Host(lambda name, error: None)
        names = ("registry", "router", "breaker", "governor", "pool", "limiter")
        started = [self.host.start(name, lambda: Stuck(self.free), inbox=1) for name in names]
        self.actors = Actors(*started)
        self.outbox = Outbox()
        self.failures = []
        self.endpoint = f"ipc://{folder}/c"
        endpoints = (self.endpoint, f"ipc://{folder}/t")
        self.dropped = []
        outlets = Outlets(self.failures.append, self.dropped.append)
        crew = Crew(self.outbox.wake)
        self.io = ControlIO(endpoints, self.actors, self.outbox, crew, outlets)
        self.io.start()
        self.context = zmq.Context()
        self.peer = Peer(self.context, self.endpoint, "gateway:0#1")

    def close(self):
        self.outbox.put(Close())
        self.io.join(WAIT_S)
        self.free.set()
        self.host.stop(WAIT_S)
        self.peer.socket.close(linger=0)
        self.context.term()


@pytest.fixture
def stage():
    with tempfile.TemporaryDirectory(prefix="mlxs-") as folder:
        stage = Stage(folder)
        yield stage
        stage.close()


def test_a_full_router_refuses_instead_of_keeping_silent(stage):
    for number in range(5):
        stage.peer.send(RouteBatch([route(str(number))]))
    [refusal] = stage.peer.receive(LeaseBatch).answers
    assert (refusal.code, refusal.retryable, refusal.retry_after_s) == ("queue_full", True, 0.1)


def test_a_full_limiter_refuses_too(stage):
    for number in range(5):
        stage.peer.send(Admit(str(number), Charge("k")))
    refusal = stage.peer.receive(Refusal)
    assert (refusal.code, refusal.retryable, refusal.retry_after_s) == ("queue_full", True, 0.1)


def test_what_an_actor_may_miss_is_dropped(stage, caplog):
    for _ in range(3):
        post(stage.actors.registry, Hello("gateway:0", 1))
    assert "dropped a Hello" in caplog.text


def test_an_actor_that_ended_is_no_trouble(stage, caplog):
    stage.free.set()
    stage.host.stop(WAIT_S)
    post(stage.actors.registry, Hello("gateway:0", 1))
    assert "dropped" not in caplog.text


def test_answers_of_one_turn_to_one_peer_are_one_message(stage):
    stage.peer.send(RouteBatch([]))
    batch = LeaseBatch([Lease("r", "l", "e", 1, "ipc://e")])
    while not stage.peer.socket.poll(20):
        stage.io._send([ToPeer(b"gateway:0#1", batch)] * 2)
    answers = stage.peer.receive(LeaseBatch).answers
    assert len(answers) == 2


def test_a_peer_that_is_gone_is_no_trouble(stage):
    stage.outbox.put(ToPeer(b"nobody#1", LeaseBatch([])))
    stage.outbox.put(Publish(ModelGone("m")))
    stage.peer.send(RouteBatch([route()]))
    stage.peer.send(RouteBatch([route()]))
    stage.peer.send(RouteBatch([route()]))
    assert stage.peer.receive(LeaseBatch)
    assert (stage.failures, stage.dropped) == ([], ["unreachable"])


def test_a_failure_of_the_thread_is_told(stage, caplog):
    stage.outbox.put(ToPeer("not bytes", LeaseBatch([])))
    stage.io.join(WAIT_S)
    [failure] = stage.failures
    assert "not bytes" in str(failure) or isinstance(failure, TypeError)
    assert "sockets failed" in caplog.text
    assert not os.path.exists(stage.endpoint.removeprefix("ipc://"))
