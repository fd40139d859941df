"""The actor without its thread and its sockets: the test hands it its messages."""

import socket
import threading
from pathlib import Path

import msgspec
import pytest

from actors.base import Binding, Inbox
from actors.engine.actor import EngineActor
from actors.engine.args import EngineArgs
from actors.engine.grammar.grammars import Grammars
from actors.engine.inlet import Received
from actors.engine.io import Report
from actors.engine.model import load
from actors.engine.place import Own, Place
from config.errors import QueueFull
from gateway.text import grammar as grammars_of
from mlx_serving.tree import demo_folder
from transport.lifeline import Lifeline
from transport.messages import data as d
from transport.messages.control import Warm, Warmed
from transport.messages.lifeline import Start
from transport.outbox import Outbox

pytestmark = pytest.mark.mlx
G = b"gateway:0#1"
ROOM = 20


class Engine:
    """An actor with a model, in the test's own thread."""

    def __init__(self, loaded, sock):
        raw = msgspec.Raw(msgspec.msgpack.encode({}))
        lifeline = Lifeline(sock, Start("engine:demo:0", 1, "", raw, {}, "/tmp", "info"))
        args = EngineArgs(
            source="demo", model="demo", number=0, replica=0, wired_limit_bytes=1 << 30,
            budget_fraction=0.8, max_concurrent=None, max_waiting=50, max_context_tokens=None,
            prefill_chunk_tokens=None,
        )  # fmt: skip
        self.outbox, self.inbox = Outbox(), Inbox("engine", ROOM)
        self.actor = EngineActor(Place(lifeline, args, self.outbox))
        self.actor._binding = Binding(
            self.inbox, threading.Event(), lambda at, timer: None, lambda error: None
        )
        self.actor._build(loaded)

    def told(self):
        """What waits in the inbox."""
        return [self.inbox.get().message for _ in range(self.inbox._queue.qsize())]

    def run_until_it_reports(self, kind):
        """Hand it its messages, and the time, until it tells control this."""
        while True:
            for message in [Own.TICK, *self.told()]:
                self.actor.receive(message)
            for item in self.outbox.take():
                if isinstance(item, Report) and isinstance(item.message, kind):
                    return item.message


@pytest.fixture(scope="module")
def demo():
    return load(Path(str(demo_folder())), "demo", None, lambda stage, fraction: None)


@pytest.fixture
def engine(demo):
    ours, theirs = socket.socketpair()
    found = Engine(demo, ours)
    yield found
    found.actor.on_stop()
    ours.close()
    theirs.close()


def test_a_grammar_that_is_compiled_is_heard_of_though_the_inbox_is_full(engine):
    for _ in range(ROOM):
        engine.actor.address.tell(Own.TICK)
    with pytest.raises(QueueFull):
        engine.actor.address.tell(Own.TICK)
    grammar = grammars_of.regex("[ab]{3}", param="regex")
    asked = d.Generate("r", 1, [1, 2, 3], 5, 60.0, grammar=grammar)
    engine.actor.receive(Received(G, d.Batch([asked])))
    engine.actor._requests._known[G, "r"].matcher.result(30)
    engine.actor._grammars._threads.shutdown()  # so that everybody was called back
    assert Own.COMPILED in engine.told()


@pytest.fixture
def masked(monkeypatch):
    """How many rows were in the steps that had a mask; before there is an engine."""
    found, words = [], Grammars.words

    def watched(grammars, matchers):
        mask = words(grammars, matchers)
        found.extend([len(matchers)] if mask is not None else [])
        return mask

    monkeypatch.setattr(Grammars, "words", watched)
    return found


def test_warming_up_has_steps_with_a_grammar_too(masked, engine):
    engine.actor.receive(Warm(widths=[1, 4], prompt_tokens=8, max_tokens=3))
    assert engine.run_until_it_reports(Warmed).took_s > 0
    assert set(masked) == {1, 4}
    assert not engine.actor._requests.busy


def test_a_model_without_structured_output_is_warmed_up_all_the_same(masked, engine, tmp_path):
    engine.actor._grammars = Grammars(tmp_path, 512, [])  # there is no tokenizer
    engine.actor.receive(Warm(widths=[1], prompt_tokens=8, max_tokens=3))
    engine.run_until_it_reports(Warmed)
    assert (masked, engine.actor._requests.generated_tokens) == ([], 3)
