"""The child's side, with the test as its supervisor; and the frames of both sides."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ProtocolError
from transport.lifeline import (
    MAX_LIFELINE_BYTES,
    ORPHAN_EXIT_CODE,
    FrameBuffer,
    Lifeline,
    accept_start,
    frame,
    from_child,
    to_child,
)
from transport.messages.lifeline import (
    Announce,
    Drain,
    Drained,
    Heartbeat,
    Loading,
    Ready,
    Removed,
    Start,
    StartFailed,
    Stop,
    Suspect,
)

START = Start(
    child_id="a",
    incarnation=2,
    entry="m:f",
    args=msgspec.Raw(msgspec.msgpack.encode({"x": 1})),
    fds={"listen": 5},
    runtime_dir="/tmp/x",
    log_level="info",
    heartbeat_s=0.02,
)
ANNOUNCE = Announce("b", "test", {}, "ready", 1, 7, {"x": 1})


class Parent:
    """The supervisor's end of a lifeline."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(10)
        self.lifeline = Lifeline(theirs, START)
        self._theirs = theirs
        self._buffer = FrameBuffer()
        self._messages: list[object] = []

    def send(self, *messages) -> None:
        for message in messages:
            self.sock.sendall(frame(to_child.encode(message)))

    def hear(self, kind: type):
        """The next message of this kind."""
        while True:
            for number, message in enumerate(self._messages):
                if isinstance(message, kind):
                    del self._messages[: number + 1]
                    return message
            data = self.sock.recv(65536)
            assert data, "the lifeline ended"
            self._messages += [from_child.decode(p) for p in self._buffer.feed(data)]

    def close(self) -> None:
        self.lifeline.close()
        self.sock.close()
        self._theirs.close()


@pytest.fixture
def parent():
    parent = Parent()
    yield parent
    parent.close()


def test_knows_who_it_is(parent):
    life = parent.lifeline
    assert (life.child_id, life.incarnation, life.fds) == ("a", 2, {"listen": 5})
    assert life.runtime.path == Path("/tmp/x")


def test_says_what_the_child_says(parent):
    life = parent.lifeline
    life.loading("weights", 0.5)
    life.ready({"x": 1})
    life.start_failed("model_load_failed", "why", "weights")
    life.drained()
    life.suspect("b", 3, "silent")
    assert parent.hear(Loading) == Loading("weights", 0.5)
    assert parent.hear(Ready) == Ready({"x": 1})
    assert parent.hear(StartFailed) == StartFailed("model_load_failed", "why", "weights")
    assert parent.hear(Drained) == Drained()
    assert parent.hear(Suspect) == Suspect("b", 3, "silent")


def test_calls_back(parent):
    heard: list[object] = []
    done = threading.Event()
    life = parent.lifeline
    life.on_announce = heard.append
    life.on_drain = heard.append
    life.on_stop = lambda timeout_s: (heard.append(timeout_s), done.set())
    life.listen()
    parent.send(ANNOUNCE, Removed("b"), Drain(3.0), Stop(4.0))
    assert done.wait(10)
    assert heard == [ANNOUNCE, Removed("b"), 3.0, 4.0]


def test_what_is_said_before_it_listens_is_not_lost(parent):
    heard: list[object] = []
    done = threading.Event()
    life = parent.lifeline
    life.watch()
    parent.send(ANNOUNCE, Drain(3.0))
    life.on_announce = life.on_drain = heard.append
    life.on_stop = lambda timeout_s: (heard.append(timeout_s), done.set())
    life.listen()
    parent.send(Stop(4.0))
    assert done.wait(10)
    assert heard == [ANNOUNCE, 3.0, 4.0]


def test_it_can_be_stopped_from_elsewhere_even_before_it_listens(parent):
    heard: list[float] = []
    done = threading.Event()
    life = parent.lifeline
    life.stop_within(2.0)
    life.on_stop = lambda timeout_s: (heard.append(timeout_s), done.set())
    life.listen()
    assert done.wait(10)
    assert heard == [2.0]


def test_a_callback_that_fails_does_not_make_it_deaf(parent, caplog):
    stopped = threading.Event()
    parent.lifeline.on_announce = lambda _: 1 / 0
    parent.lifeline.on_stop = lambda _: stopped.set()
    parent.lifeline.listen()
    parent.send(ANNOUNCE)
    parent.sock.sendall(frame(b"\x01\xc1"))
    parent.send(START, Stop(1.0))
    assert stopped.wait(10)
    assert caplog.text.count("was not handled") == 3


def test_heartbeats_tell_of_work_and_facts(parent):
    life = parent.lifeline
    life.ready({"x": 1})
    life.listen()
    assert parent.hear(Heartbeat).facts == {"x": 1}
    life.busy(True)
    life.progress()
    life.facts(y=2)
    parent.hear(Heartbeat)
    beat = parent.hear(Heartbeat)
    assert (beat.busy, beat.progress, beat.facts) == (True, 1, {"x": 1, "y": 2})


def test_progress_ages_from_the_beginning_of_work(parent):
    life = parent.lifeline
    time.sleep(0.2)
    life.busy(True)
    life.listen()
    first = parent.hear(Heartbeat).progress_age_s
    assert first < 0.2
    assert parent.hear(Heartbeat).progress_age_s > first
    life.progress()
    parent.hear(Heartbeat)


def test_work_that_begins_during_a_heartbeat_is_not_as_old_as_the_idleness(parent, monkeypatch):
    """The heartbeat reads twice; work may begin in between."""
    life = parent.lifeline
    life._progress_at -= 100.0
    monotonic = time.monotonic

    def begin_work() -> float:
        if threading.current_thread().name == "lifeline-beat":
            life._busy = True
        return monotonic()

    monkeypatch.setattr(time, "monotonic", begin_work)
    life.listen()
    assert not parent.hear(Heartbeat).busy


def test_nothing_is_heard_after_close(parent):
    heard: list[object] = []
    parent.lifeline.on_announce = heard.append
    parent.lifeline.listen()
    parent.lifeline.close()
    parent.send(ANNOUNCE)
    parent.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    assert heard == []


def test_saying_something_to_nobody_is_no_error(parent):
    parent.sock.close()
    parent.lifeline.drained()


def test_begins_with_start():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame(to_child.encode(START)))
        start = accept_start(theirs)
        assert (start.child_id, bytes(start.args)) == ("a", msgspec.msgpack.encode({"x": 1}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ended"),
        (b"\0\0", "ended"),
        (frame(to_child.encode(START))[:-1], "ended"),
        (frame(to_child.encode(Stop(1.0))), "begins with start"),
        (frame(b"\x02\x80"), "protocol version"),
        (b"\xff\xff\xff\xff", "bytes on a lifeline"),
    ],
)
def test_anything_else_at_the_beginning_is_refused(data, reason):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError, match=reason):
            accept_start(theirs)


@given(st.lists(st.binary(max_size=200), max_size=10), st.integers(1, 50))
def test_frames_survive_any_cutting(payloads, size):
    stream = b"".join(map(frame, payloads))
    buffer, found = FrameBuffer(), []
    for begin in range(0, len(stream), size):
        found += buffer.feed(stream[begin : begin + size])
    assert found == payloads


def test_a_frame_over_the_limit_is_refused():
    with pytest.raises(ProtocolError):
        list(FrameBuffer().feed((MAX_LIFELINE_BYTES + 1).to_bytes(4, "big")))


def test_facts_that_two_threads_change_at_once_are_all_kept(parent):
    between = threading.Event()

    class Slow(dict):
        def __or__(self, other):
            between.set()
            time.sleep(0.05)
            return dict(self) | other

    life = parent.lifeline
    life._facts = Slow()
    other = threading.Thread(target=lambda: life.facts(x=1))
    other.start()
    assert between.wait(10)
    life.facts(y=2)
    other.join()
    life.listen()
    assert parent.hear(Heartbeat).facts == {"x": 1, "y": 2}


ORPHAN = """
import socket, sys, time
from transport import lifeline
lifeline.ORPHAN_GRACE_S = 0.2
sock = socket.socket(fileno=int(sys.argv[1]))
life = lifeline.Lifeline(sock, lifeline.accept_start(sock))
life.on_orphaned = lambda: print("orphaned", flush=True)
life.METHOD()
time.sleep(60)
"""


@pytest.mark.processes
@pytest.mark.parametrize("method", ["watch", "listen"])
@pytest.mark.parametrize("last", [b"", b"\xff\xff\xff\xff"])
def test_the_end_of_the_supervisor_is_the_end_of_the_child(last, method):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-c", ORPHAN.replace("METHOD", method), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ,
            )
        ours.sendall(frame(to_child.encode(START)) + last)
        if not last:
            ours.shutdown(socket.SHUT_RDWR)
        said, _ = child.communicate(timeout=30)
    assert (said, child.returncode) == (b"orphaned\n", ORPHAN_EXIT_CODE)
