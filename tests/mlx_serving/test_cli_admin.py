import json
import threading

import msgspec
import pytest
import zmq

from mlx_serving.cli import main
from mlx_serving.cli.admin_session import fresh, request
from mlx_serving.cli.parser import build_parser
from transport.codec import Codec
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import (
    AdminReply,
    AdminRequest,
    ChildOutput,
    Children,
    ChildReport,
    Config,
    Drain,
    DrainReply,
    Events,
    EventsReply,
    Load,
    LoadReply,
    Logs,
    LogsReply,
    NodeStatus,
    Published,
    Recycle,
    RecycleReply,
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
from transport.sockets import publisher, router

NODE = NodeStatus(
    node="mac-1",
    uptime_s=75.0,
    children=[
        ChildReport(id="control", kind="control", state="ready", pid=7, incarnation=1, restarts=0,
                    ready_at=0.0, facts={"control_endpoint": "ipc://x", "router.leases": 3}),
        ChildReport(id="engine:demo:0", kind="engine", state="backoff", pid=None, incarnation=3,
                    restarts=2, ready_at=None, facts={}),
    ],
)  # fmt: skip


class Desk:
    """Answers on the admin socket with what the test put in, and keeps what it was asked."""

    def __init__(self, runtime):
        self.replies, self.asked = {}, []
        self._context = zmq.Context()
        self._socket = router(self._context, runtime.admin)
        self._events = publisher(self._context, runtime.events)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(10)
        self._socket.close(0)
        self._events.close(0)
        self._context.term()

    def _serve(self):
        requests, replies = Codec(AdminRequest), Codec(AdminReply)
        while not self._stop.is_set():
            if self._socket.poll(20):
                identity, request_id, frame = self._socket.recv_multipart()
                asked = requests.decode(frame)
                self.asked.append(asked)
                reply = self.replies[type(asked)]
                reply = reply.pop(0) if isinstance(reply, list) else reply
                self._socket.send_multipart([identity, request_id, replies.encode(reply)])


@pytest.fixture
def runtime(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("MLX_SERVING_SERVER__RUNTIME_DIR", str(folder))
    return RuntimeDirectory(folder)


@pytest.fixture
def desk(runtime):
    desk = Desk(runtime)
    yield desk
    desk.close()


def test_status_is_a_table(desk, capsys):
    desk.replies[Status] = StatusReply(NODE)
    assert main(["admin", "status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mac-1, up 1 min 15 s"
    assert lines[2].split() == ["CHILD", "STATE", "PID", "RESTARTS", "READY", "FOR", "FACTS"]
    assert lines[3].startswith("control        ready    7    0")
    assert lines[3].endswith("router.leases=3")
    assert lines[4] == "engine:demo:0  backoff  -    2         -"


def test_status_tells_why_models_could_not_be_loaded(desk, capsys):
    failed = {"m": "engine:m:0: model in /x: no weights"}
    desk.replies[Status] = StatusReply(msgspec.structs.replace(NODE, failed=failed))
    assert main(["admin", "status"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "model m could not be loaded: engine:m:0: model in /x: no weights"


def test_status_as_json_is_the_node_itself(desk, capsys):
    desk.replies[Status] = StatusReply(NODE)
    assert main(["admin", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == msgspec.to_builtins(NODE)


@pytest.mark.parametrize(
    ("words", "asked", "reply", "said"),
    [
        ("restart x", Restart("x"), RestartReply(["x"]), "restarted: x"),
        ("recycle x", Recycle("x"), RecycleReply(["x"]), "recycled: x"),
        ("restart x --no-wait", Restart("x", False), RestartReply(["x"]), "restarted: x"),
        ("stop", Stop(None), StopReply(["a", "b"]), "stopped: a, b"),
        ("stop a", Stop("a"), StopReply(["a"]), "stopped: a"),
        ("drain a", Drain("a", 30.0), DrainReply(["a"], True), "drained: a"),
        ("drain a --timeout 5", Drain("a", 5.0), DrainReply(["a"], False), "not drained yet: a"),
        (
            "load a/b=c --replicas 2",
            Load("a/b", "c", 2),
            LoadReply("model:c", ["engine:c:0", "engine:c:1"]),
            "loaded: engine:c:0, engine:c:1 in model:c",
        ),
        (
            "load d",
            Load("d"),
            LoadReply("model:d", ["engine:d:0"]),
            "loaded: engine:d:0 in model:d",
        ),
        ("unload c", Unload("c"), UnloadReply("model:c"), "unloaded: model:c"),
        (
            "version",
            Version(),
            VersionReply("2.1.0", 1, "3.11.7", 7),
            "mlx-serving 2.1.0, protocol 1, Python 3.11.7, pid 7",
        ),
        ("logs a --lines 2", Logs("a", 2), LogsReply([ChildOutput("a", 1, "hello")]), "a | hello"),
    ],
)
def test_a_verb(desk, capsys, words, asked, reply, said):
    desk.replies[type(asked)] = reply
    assert main(["admin", *words.split()]) == 0
    assert desk.asked == [asked]
    assert capsys.readouterr().out == said + "\n"


def test_a_refusal_is_one_line_and_1(desk, capsys):
    desk.replies[Restart] = Refused("unknown_child", "no child is called x")
    assert main(["admin", "restart", "x"]) == 1
    assert capsys.readouterr().err == "mlx-serving: no child is called x\n"


def test_no_server_is_said_clearly(runtime, capsys):
    assert main(["admin", "status"]) == 1
    assert capsys.readouterr().err.startswith(f"mlx-serving: no server runs in {runtime.path};")


def test_the_runtime_directory_may_be_named(desk, runtime, capsys, monkeypatch):
    monkeypatch.delenv("MLX_SERVING_SERVER__RUNTIME_DIR")
    desk.replies[Status] = StatusReply(NODE)
    assert main(["admin", "status", "--runtime-dir", str(runtime.path)]) == 0


def line(text) -> ChildOutput:
    return ChildOutput("a", 1, text)


def test_following_logs_prints_each_line_once(desk, capsys):
    desk.replies[Logs] = [
        LogsReply([line("1"), line("2"), line("3")]),
        LogsReply([line("2"), line("3"), line("3"), line("4")]),
        Refused("draining", "the server stopped"),
    ]
    assert main(["admin", "logs", "a", "--follow", "--lines", "2"]) == 1
    assert capsys.readouterr().out.splitlines() == ["a | 2", "a | 3", "a | 3", "a | 4"]


def test_following_events_asks_for_what_came_since(desk, capsys):
    published = [Published(n, 0.0, TreeReady()) for n in (1, 2, 3)]
    desk.replies[Events] = [
        EventsReply(published[:2]),
        EventsReply(published[2:]),
        Refused("draining", "the server stopped"),
    ]
    assert main(["admin", "events", "--follow"]) == 1
    assert [asked.since for asked in desk.asked] == [0, 2, 3]
    numbers = [text.split()[0] for text in capsys.readouterr().out.splitlines()]
    assert numbers == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "", ""),
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abb", "b"),
        ("abc", "cde", "de"),
        ("aaa", "aaa", ""),
        ("abc", "xyz", "xyz"),
    ],
)
def test_what_is_new_in_a_list_that_forgets(before, now, new):
    assert fresh([*map(line, before)], [*map(line, now)]) == [*map(line, new)]


def test_every_verb_has_its_message():
    verbs = {
        "status": Status, "children": Children, "restart x": Restart, "stop": Stop,
        "recycle x": Recycle,
        "drain x": Drain, "logs x": Logs, "events": Events, "load x": Load, "unload x": Unload,
        "config": Config, "version": Version,
    }  # fmt: skip
    for words, message in verbs.items():
        arguments = build_parser().parse_args(["admin", *words.split()])
        assert isinstance(request(arguments), message)
