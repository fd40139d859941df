"""The admin socket of a real tree, verb by verb, and under fire."""

import contextlib
import signal
import threading
import time

import msgspec
import pytest
import zmq

from config.errors import (
    ChildStartFailed,
    ConflictingCommand,
    ModelLoadFailed,
    ModelNotFound,
    PeerUnreachable,
    ServingError,
    UnknownChild,
)
from tests.supervisor.live import PATIENCE_S, child, group, live, wait_until
from transport.admin import AdminClient
from transport.codec import PROTOCOL_VERSION, Codec
from transport.messages.admin import (
    MAX_ADMIN_BYTES,
    AdminReply,
    AdminRequest,
    Children,
    ChildrenReply,
    Config,
    ConfigReply,
    Drain,
    DrainReply,
    Events,
    EventsReply,
    Load,
    LoadReply,
    Logs,
    LogsReply,
    Refused,
    Restart,
    RestartReply,
    Status,
    StatusReply,
    Stop,
    StopReply,
    TreeReady,
    Unload,
    UnloadReply,
    Version,
    VersionReply,
)
from transport.sockets import dealer

pytestmark = pytest.mark.processes
MODELS = group(id="models")


@contextlib.contextmanager
def desk(path, *members, **options):
    """A tree with a child `a`, a place for models and these; and a client of it."""
    with (
        live(path, group(child("a"), MODELS, *members), **options) as tree,
        tree.client() as client,
    ):
        yield tree, lambda request: client.call(request, PATIENCE_S)


def test_questions_are_answered(runtime_path):
    with desk(runtime_path, child("b", "says", "hello")) as (tree, ask):
        status = msgspec.to_builtins(ask(Status()))["status"]
        assert list(status) == ["node", "uptime_s", "children", "failed"]
        first = status["children"][0]
        assert list(first) == ["id", "kind", "state", "pid", "incarnation", "restarts",
                               "ready_at", "facts"]  # fmt: skip
        assert (first["id"], first["state"], first["facts"]) == (
            "a",
            "ready",
            {"pid": first["pid"]},
        )

        listed = ask(Children())
        assert isinstance(listed, ChildrenReply)
        assert [g.id for g in listed.groups] == ["root", "models"]
        assert [c.id for c in listed.children] == ["a", "b"]

        assert ask(Config()) == ConfigReply("server: {}\n")
        version = ask(Version())
        assert isinstance(version, VersionReply)
        assert (version.pid, version.protocol) == (tree.process.pid, PROTOCOL_VERSION)

        wait_until(lambda: len(tree.lines("b")) == 5)
        logs = ask(Logs("b", 2))
        assert isinstance(logs, LogsReply)
        assert [line.text for line in logs.lines] == tree.lines("b")[-2:]

        events = ask(Events())
        assert isinstance(events, EventsReply)
        assert [e.sequence for e in events.events] == list(range(1, len(events.events) + 1))
        assert events.events[-1].event == TreeReady()
        assert ask(Events(since=events.events[-2].sequence, limit=1)).events == events.events[-1:]


def test_restart_stop_and_restart_again(runtime_path):
    with desk(runtime_path) as (tree, ask):
        assert ask(Restart("a")) == RestartReply(["a"])
        report = tree.report("a")
        assert (report.state, report.incarnation, report.restarts) == ("ready", 2, 1)
        assert ask(Stop("a")) == StopReply(["a"])
        assert tree.report("a").pid is None
        assert ask(Restart("a", wait=False)) == RestartReply(["a"])
        tree.expect_up("a", 3)
        assert [g.recent_restarts for g in ask(Children()).groups] == [0, 0]


def test_a_restart_that_fails_is_refused_in_the_end(runtime_path):
    with desk(runtime_path, child("b", "fails_again", restart="temporary")) as (tree, ask):
        tree.expect_end("b")
        with pytest.raises(ChildStartFailed, match="b: the weights are damaged"):
            ask(Restart("b"))


def test_drain_answers_when_drained_or_late(runtime_path):
    with desk(runtime_path, child("b", "never_drained")) as (tree, ask):
        assert ask(Drain("a")) == DrainReply(["a"], True)
        assert tree.report("a").state == "draining"
        assert ask(Drain("b", timeout_s=0.2)) == DrainReply(["b"], False)
        ask(Stop("a"))
        with pytest.raises(ConflictingCommand, match="only a ready child"):
            ask(Drain("a"))


def test_unload_and_stop_wait_until_what_runs_is_finished(runtime_path):
    with desk(runtime_path) as (tree, ask):
        ask(Load("drains_slowly", alias="m"))
        assert ask(Stop("m")) == StopReply(["engine:m:0"])
        ask(Restart("m"))
        assert ask(Unload("m")) == UnloadReply("model:m")
        assert tree.lines("engine:m:0") == ["finished", "finished"]


def test_load_and_unload(runtime_path):
    with desk(runtime_path) as (tree, ask):
        engines = ["engine:m:0", "engine:m:1"]
        loaded = ask(Load("slow_start", alias="m", replicas=2))
        assert loaded == LoadReply("model:m", engines)
        assert [tree.report(i).state for i in engines] == ["ready", "ready"]
        with pytest.raises(ConflictingCommand, match="served already"):
            ask(Load("normal", alias="m"))
        assert ask(Unload("m")) == UnloadReply("model:m")
        assert [c.id for c in tree.status().children] == ["a"]
        assert ask(Load("normal", alias="m", wait=False)).children == ["engine:m:0"]
        tree.expect_up("engine:m:0", 2)


def test_a_model_of_the_configuration_is_kept_out_also_when_it_is_not_loaded(runtime_path):
    with desk(runtime_path) as (_, ask):
        assert ask(Unload("normal")) == UnloadReply("model:normal")
        for name in ("normal", "model:normal"):
            with pytest.raises(ConflictingCommand, match="'normal' is unloaded already"):
                ask(Unload(name))
        assert ask(Load("normal")) == LoadReply("model:normal", ["engine:normal:0"])
        with pytest.raises(ConflictingCommand, match="served already; unload it first"):
            ask(Load("normal"))
        ask(Unload("normal"))
        with pytest.raises(UnknownChild, match="no model is called 'says'; loaded are none"):
            ask(Unload("says"))


def test_a_model_of_the_configuration_keeps_the_number_of_engines_it_was_loaded_with(runtime_path):
    with desk(runtime_path) as (_, ask):
        two = LoadReply("model:normal", ["engine:normal:0", "engine:normal:1"])
        assert ask(Load("normal", replicas=2)) == two
        with pytest.raises(ConflictingCommand, match="served already; unload it first"):
            ask(Load("normal", replicas=3))
        ask(Unload("normal"))
        assert ask(Load("normal")) == two


@pytest.mark.parametrize("wait", [True, False])
def test_a_model_that_cannot_be_loaded_is_taken_out_again(runtime_path, wait):
    with desk(runtime_path) as (tree, ask):
        if wait:
            with pytest.raises(ModelLoadFailed, match="engine:bad:0: the weights are damaged"):
                ask(Load("fails_to_start", alias="bad"))
        else:
            ask(Load("fails_to_start", alias="bad", wait=False))
            tree.expect(type="group_removed", group_id="model:bad")
        assert [(c.id, c.state) for c in tree.status().children] == [("a", "ready")]
        assert tree.status().failed == {"bad": "engine:bad:0: the weights are damaged"}


def test_what_is_not_there_is_refused(runtime_path):
    with desk(runtime_path) as (_, ask):
        for request in (Restart("x"), Stop("x"), Drain("x"), Logs("x"), Unload("x")):
            with pytest.raises(UnknownChild):
                ask(request)
        with pytest.raises(ModelNotFound):
            ask(Load("x"))


def test_stop_of_the_whole_tree_is_answered_last(runtime_path):
    with desk(runtime_path, child("g", drains=True)) as (tree, ask):
        assert ask(Stop()) == StopReply(["a", "g"])
        assert tree.wait() == 0
        with pytest.raises(PeerUnreachable, match="no server answers"):
            ask(Status())


def test_who_waits_is_told_when_the_tree_goes(runtime_path):
    with desk(runtime_path) as (tree, ask):
        refused = []

        def load():
            with contextlib.suppress(ServingError):
                ask(Load("silent_start"))
            refused.append(True)

        waiting = threading.Thread(target=load)
        waiting.start()
        tree.expect(child_id="engine:silent_start:0", state="starting")
        tree.signal(signal.SIGTERM)
        waiting.join(PATIENCE_S)
        assert refused


def test_events_can_be_followed(runtime_path):
    with live(runtime_path, group(child("a"))) as tree, tree.client() as client:
        assert client.follow_events(0.2) is None
        tree.kill("a")
        followed = []
        wait_until(lambda: followed.append(client.follow_events(1.0)) or len(followed) > 3)
        numbers = [published.sequence for published in followed]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


class Raw:
    """A peer that sends what it likes."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.socket = dealer(self.context, endpoint, f"raw-{time.monotonic_ns()}")
        self.replies: Codec[AdminReply] = Codec(AdminReply)

    def send(self, *frames: bytes) -> None:
        assert self.socket.poll(PATIENCE_S * 1000, zmq.POLLOUT)
        self.socket.send_multipart(frames)

    def answer(self) -> tuple[bytes, AdminReply]:
        assert self.socket.poll(PATIENCE_S * 1000)
        echoed, frame = self.socket.recv_multipart()
        return echoed, self.replies.decode(frame)

    def close(self) -> None:
        self.socket.close(linger=0)
        self.context.term()


HOSTILE = [
    [b"id"],
    [b"id", b""],
    [b"id", b"\x01"],
    [b"id", b"\xff\x80"],
    [b"id", b"\x01\xc1"],
    [b"id", b"\x01" + msgspec.msgpack.encode({"type": "nonsense"})],
    [b"id", b"\x01" + msgspec.msgpack.encode({"type": "load", "model": ""})],
    [b"id", b"\x01" + msgspec.msgpack.encode({"type": "events", "limit": 10**9})],
    [b"id", b"\x01" + b"\x91" * 100_000],
    [b"id", b"\x01" + bytes(MAX_ADMIN_BYTES - 1)],
    [b"id", b"\x01\x80", b"one more"],
]


def test_bad_frames_are_refused_and_hurt_nobody(runtime_path):
    with live(runtime_path, group(child("a"))) as tree:
        raw = Raw(tree.runtime.admin)
        try:
            for frames in HOSTILE:
                raw.send(*frames)
                echoed, reply = raw.answer()
                assert isinstance(reply, Refused)
                assert reply.code == "protocol_error"
                assert echoed == (b"id" if len(frames) > 1 else b"")
            requests: Codec[AdminRequest] = Codec(AdminRequest)
            raw.send(b"id", requests.encode(Status()))
            assert isinstance(raw.answer()[1], StatusReply)
        finally:
            raw.close()
        assert tree.stop() == 0


def test_a_frame_over_the_limit_costs_only_its_sender(runtime_path):
    with live(runtime_path, group(child("a"))) as tree:
        raw = Raw(tree.runtime.admin)
        raw.send(b"id", bytes(MAX_ADMIN_BYTES + 1))
        assert tree.report("a").state == "ready"
        raw.close()
        assert tree.stop() == 0


def test_an_asker_that_left_is_not_missed(runtime_path):
    with live(runtime_path, group(child("a"))) as tree:
        for _ in range(20):
            raw = Raw(tree.runtime.admin)
            raw.send(b"id", Codec(AdminRequest).encode(Restart("a", wait=True)))
            raw.close()
        with AdminClient(tree.runtime.admin) as client:
            assert isinstance(client.call(Version(), PATIENCE_S), VersionReply)
        assert tree.stop() == 0
