"""Prefixes that are kept, on real models with real stores."""

import logging

import pytest

from actors.engine.admission import Room
from actors.engine.memory import EngineMemory
from actors.engine.model import load
from actors.engine.pins import MAX_PINS
from actors.engine.request import Outputs
from actors.engine.store.store import PrefixStore, stored_bits
from actors.engine.work import Work
from tests.actors.engine.generate import make_generator
from tests.actors.engine.test_work import G, request
from tests.models import TINY_GEMMA3, TINY_MAMBA2, make_model
from transport.messages.control import Budget

pytestmark = pytest.mark.mlx
EACH = {16: 512}
PLENTY = 1 << 30
BLOCK = 64 * 512


def prompt(kind, length):
    return [(3 * i + 101 * kind) % 500 for i in range(length)]


class Engine:
    """What an engine has, without its thread and its sockets."""

    def __init__(self, loaded, kv_bytes=PLENTY, max_rows=None):
        self.store = PrefixStore(loaded.model, bits=stored_bits("16"))
        generator = make_generator(loaded, chunk=64, store=self.store)
        self.work = Work(generator, loaded.card, Room(kv_bytes, EACH, max_rows), 100, None)
        self.memory = EngineMemory(self.work, self.store, 0.5)
        self.out = Outputs()

    def budget(self, kv_bytes, stored_bytes):
        self.memory.apply(Budget(kv_bytes, True, stored_bytes, None, wired_bytes=0))

    def run(self, *requests):
        """Work until there is nothing to do; the ends by name."""
        for one in requests:
            self.work.accept(one, G, 0.0, self.out)
        for _ in range(500):
            if not self.work.can_step:
                return {end.request_id: end for end in self.out.of(G)[1]}
            self.work.step(0.0, self.out)
            self.memory.make_room()
            assert self.work.pins.bytes == self.store.pinned_bytes
        raise AssertionError("the work does not end")


def test_a_pinned_prefix_is_read_once_and_stays_whatever_else_goes(tiny):
    engine, system = Engine(tiny), prompt(1, 150)
    for _ in range(3):
        engine.work.pins.want(system, "")
    ends = engine.run()
    assert (ends, engine.work.admitted, engine.work.busy) == ({}, 1, False)
    engine.run(request("other", prompt(2, 150)))
    engine.store.evict_to(0)
    assert engine.store.bytes == engine.work.pins.bytes == 2 * BLOCK
    ends = engine.run(request("same", [*system, 7]), request("tenant", [*system, 7], salt="t"))
    assert (ends["same"].cached_tokens, ends["tenant"].cached_tokens) == (128, 128)


@pytest.mark.parametrize("kind", [TINY_GEMMA3, TINY_MAMBA2])
def test_caches_that_cannot_be_cut_are_kept_at_exactly_these_tokens(tmp_path, kind):
    loaded = load(make_model(tmp_path / "m", kind), "m", None, lambda stage, fraction: None)
    engine, system = Engine(loaded), prompt(1, 75)
    engine.work.pins.want(system, "")
    engine.run()
    engine.store.evict_to(0)
    assert engine.store.bytes == engine.work.pins.bytes > 0
    asked = request("r", [*system, 7, 8, 9])
    assert engine.run(asked)["r"].cached_tokens == 75
    tokens = [delta.tokens for delta in engine.out.of(G)[0]]
    cold = Engine(loaded)
    assert cold.run(asked)["r"].cached_tokens == 0
    assert [delta.tokens for delta in cold.out.of(G)[0]] == tokens


def test_what_is_pinned_has_its_limit_and_the_last_one_yields(tiny, caplog):
    engine = Engine(tiny)
    engine.budget(20 * BLOCK, 3 * BLOCK)
    for kind in (1, 2):
        engine.work.pins.want(prompt(kind, 130), "")
    engine.run()
    assert engine.work.pins.bytes == 2 * BLOCK
    engine.run(request())
    assert caplog.text.count("is not pinned") == 1
    engine.budget(20 * BLOCK, 8 * BLOCK)
    engine.run()
    assert engine.work.pins.bytes == 4 * BLOCK
    engine.budget(7 * BLOCK, 4 * BLOCK)  # half of it is for live sequences
    assert engine.work.pins.bytes == 2 * BLOCK
    engine.budget(7 * BLOCK, 0)
    assert engine.store.bytes == 0
    engine.run(request())
    assert engine.store.holds(prompt(1, 130), "") is False


def test_live_sequences_have_what_pinned_prefixes_leave(tiny):
    engine = Engine(tiny)
    engine.budget(12 * BLOCK, 6 * BLOCK)
    engine.work.pins.want(prompt(1, 200), "")
    engine.run()
    assert engine.work.pins.bytes == 3 * BLOCK  # the rest is for two sequences of 256 tokens
    for i in range(4):
        engine.work.accept(request(f"r{i}", prompt(i + 2, 100)), G, 0.0, engine.out)
    engine.work.step(0.0, engine.out)
    assert (engine.work.running, engine.work.waiting) == (2, 2)
    assert len(engine.run()) == 4


def test_those_who_wait_go_first(tiny):
    engine = Engine(tiny, max_rows=1)
    engine.work.pins.want(prompt(1, 150), "")
    engine.work.accept(request("a", max_tokens=3), G, 0.0, engine.out)
    engine.work.accept(request("b", max_tokens=3), G, 0.0, engine.out)
    while len(engine.out.of(G)[1]) < 2:
        assert engine.work.pins.row is None
        engine.work.step(0.0, engine.out)
    engine.run()
    assert engine.work.pins.bytes == 2 * BLOCK


def test_what_can_never_be_kept_is_said_and_nothing_else_happens(tiny, caplog):
    engine = Engine(tiny)
    for tokens in ([], [1] * 63, [512] * 64, [-1] * 64, [1] * 1024):
        engine.work.pins.want(tokens, "")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 5
    assert not engine.work.can_step
    for i in range(MAX_PINS + 1):
        engine.work.pins.want(prompt(i, 64), "")
    assert caplog.text.count(f"{MAX_PINS} already") == 1


def test_without_a_store_nothing_is_pinned(tiny):
    work = Work(make_generator(tiny), tiny.card, Room(PLENTY, EACH), 100, None)
    work.pins.want(prompt(1, 150), "")
    assert not work.can_step
