"""A whole gateway on a thread, with a lifeline, the real dispatcher and fake engines."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPResponse

import msgspec
import pytest

from config.settings import Settings
from gateway.args import GatewayArgs
from gateway.main import run
from tests.gateway.scripted import WAIT_S, demo_card
from transport import lifeline
from transport.client import Client
from transport.fake.control import FakeControl
from transport.fake.engine import FakeEngine
from transport.lifeline import FrameBuffer, Lifeline, frame, from_child, to_child
from transport.messages.lifeline import (
    Announce,
    Drain,
    Drained,
    FromChild,
    Ready,
    Start,
    Stop,
    ToChild,
)


class Supervised:
    """The supervisor's end of a gateway's lifeline, and what a client sees of it."""

    def __init__(self, folder: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._sock, self._theirs = socket.socketpair()
        start = Start(
            child_id="gateway:0",
            incarnation=1,
            entry="",
            args=msgspec.Raw(b""),
            fds={"http": os.dup(self.listener.fileno())},
            runtime_dir=folder,
            log_level="info",
        )
        args = msgspec.msgpack.encode(GatewayArgs.of(Settings(), 0))
        self.codes: list[int] = []
        self._thread = threading.Thread(
            target=lambda: self.codes.append(run(Lifeline(self._theirs, start), args)), daemon=True
        )
        self._buffer = FrameBuffer()
        self._thread.start()

    def tell(self, message: ToChild) -> None:
        self._sock.sendall(frame(to_child.encode(message)))

    def hear(self, kind: type[FromChild]) -> FromChild:
        self._sock.settimeout(WAIT_S)
        while True:
            for payload in self._buffer.feed(self._sock.recv(65536)):
                message = from_child.decode(payload)
                if isinstance(message, kind):
                    return message

    def announce(self, control: FakeControl) -> None:
        facts = {
            "control_endpoint": control.control_endpoint,
            "topology_endpoint": control.topology_endpoint,
        }
        self.tell(Announce("control", "control", {}, "ready", control.incarnation, 1, facts))

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=WAIT_S) as response:
            return response.read()

    def status(self, path: str) -> int:
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        return 200

    def complete(self, **body: object) -> dict:
        with self._post({"prompt": "Hi", "max_tokens": 5, "ignore_eos": True} | body) as response:
            return json.loads(response.read())

    def stream(self, **body: object) -> HTTPResponse:
        return self._post({"prompt": "Hi", "ignore_eos": True, "stream": True} | body)

    def orphan(self) -> None:
        """Go without a word."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.tell(Stop(1.0))
        self.join()
        for sock in (self._sock, self._theirs, self.listener):
            sock.close()

    def _post(self, body: dict) -> HTTPResponse:
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + "/v1/completions", data)
        return urllib.request.urlopen(request, timeout=WAIT_S)


class Cluster:
    """A gateway with control and one engine; `step_s` is the engine's pace."""

    def __init__(self, folder: str, step_s: float) -> None:
        self.folder = folder
        self.gateway = Supervised(folder)
        self.control = FakeControl(folder)
        self.engine = FakeEngine(
            "engine:demo:0",
            1,
            f"ipc://{folder}/engine.sock",
            control=self.control.control_endpoint,
            card=demo_card(),
            step_s=step_s,
        )
        self.ready = self.gateway.hear(Ready)
        self.gateway.announce(self.control)
        wait(lambda: self.gateway.status("/ready") == 200)

    def end(self) -> None:
        self.gateway.end()
        self.engine.die()
        self.control.die()


@pytest.fixture
def start() -> Iterator[Callable[..., Cluster]]:
    with tempfile.TemporaryDirectory(prefix="mlxs") as folder, contextlib.ExitStack() as stack:

        def begin(step_s: float = 0.0) -> Cluster:
            cluster = Cluster(folder, step_s)
            stack.callback(cluster.end)
            return cluster

        yield begin


def wait(condition: Callable[[], bool]) -> None:
    deadline_at = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_at
        time.sleep(0.01)


def test_it_is_ready_before_there_is_a_control():
    with tempfile.TemporaryDirectory(prefix="mlxs") as folder:
        gateway = Supervised(folder)
        facts = gateway.hear(Ready).facts
        assert facts["address"] == gateway.url
        assert facts["client_endpoint"] == f"ipc://{folder}/client-0.sock"
        assert gateway.status("/health") == 200
        assert gateway.status("/ready") == 503
        gateway.end()
        assert gateway.codes == [0]


def test_it_answers_over_http_and_zeromq_and_counts(start):
    cluster = start()
    assert cluster.gateway.complete()["usage"]["completion_tokens"] == 5
    with Client(endpoint=cluster.ready.facts["client_endpoint"]) as client:
        first = client.complete("Hi", max_tokens=5, seed=1)
        assert client.complete("Hi", max_tokens=5, seed=1) == first
    assert b"mlx_serving_requests_total" in cluster.gateway.get("/metrics")


def test_several_answers_are_sequences_of_their_own_seeds(start):
    cluster = start()
    choices = cluster.gateway.complete(n=3, seed=1)["choices"]
    assert len({choice["text"] for choice in choices}) == 3
    assert cluster.gateway.complete(seed=1)["choices"][0]["text"] == choices[0]["text"]


def test_draining_finishes_what_runs_and_refuses_the_rest(start):
    cluster = start(step_s=0.02)
    gateway = cluster.gateway
    running = gateway.stream(max_tokens=40)
    running.readline()
    gateway.tell(Drain(WAIT_S))
    wait(lambda: gateway.status("/ready") == 503)
    with pytest.raises(urllib.error.HTTPError) as refused:
        gateway.complete()
    assert refused.value.code == 503
    assert refused.value.headers["Retry-After"] == "1"
    refused.value.close()
    assert running.read().endswith(b"data: [DONE]\n\n")
    gateway.hear(Drained)


def test_stop_cuts_off_what_does_not_finish_in_time_with_an_error(start):
    cluster = start(step_s=0.05)
    gateway = cluster.gateway
    running = gateway.stream(max_tokens=400)
    running.readline()
    gateway.tell(Stop(0.1))
    *_, last = running.read().decode().strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "draining"
    gateway.join()
    assert gateway.codes == [0]


def test_who_had_the_time_to_finish_gets_no_more_of_it_from_a_patient_stop(start):
    cluster = start(step_s=0.05)
    gateway = cluster.gateway
    running = gateway.stream(max_tokens=100)
    running.readline()
    gateway.tell(Drain(0.1))
    gateway.tell(Stop(WAIT_S))
    *_, last = running.read().decode().strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "draining"
    gateway.join()


def test_a_new_control_is_used(start):
    cluster = start()
    cluster.control.die()
    cluster.control = FakeControl(cluster.folder, 2)
    cluster.engine.join(cluster.control.control_endpoint)
    cluster.gateway.announce(cluster.control)
    assert cluster.gateway.complete()["usage"]["completion_tokens"] == 5


def test_without_a_supervisor_it_ends(start, monkeypatch):
    monkeypatch.setattr(lifeline, "ORPHAN_GRACE_S", 3600.0)  # then it would end this process
    gateway = start().gateway
    gateway.orphan()
    gateway.join()
    assert gateway.codes == [0]
