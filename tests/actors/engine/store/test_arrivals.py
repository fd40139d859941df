"""What comes back from disk, and what does not wait for it."""

import threading

import pytest

from actors.engine.store import arrivals, fetch
from actors.engine.store import store as store_of_prefixes
from actors.engine.store.arrivals import FETCH_S
from actors.engine.store.disk import DiskTier
from actors.engine.store.store import PrefixStore, stored_bits
from tests.actors.engine.generate import greedy, make_generator, run
from tests.actors.engine.store.prompts import read, tokens_of

pytestmark = pytest.mark.mlx
WAIT_S = 30.0
SYSTEM = tokens_of(1, 128)
PROMPT = [*SYSTEM, *tokens_of(2, 128)]
OTHER = [*SYSTEM, *tokens_of(3, 128)]


class Disk:
    """A store with prompts on disk and none in memory; files are read when they may be."""

    def __init__(self, model, folder, prompts):
        before = PrefixStore(
            model, bits=stored_bits("16"), disk=DiskTier(folder / "kv", 1 << 30, "m")
        )
        for prompt in prompts:
            before.insert(prompt, "", read(model, prompt)[1])
        before.close(WAIT_S)
        self.may, self.reads = threading.Event(), []
        self.tier = DiskTier(folder / "kv", 1 << 30, "m")
        load = self.tier.load

        def slow(files):
            self.reads.append([file.name for file in files])
            assert self.may.wait(WAIT_S)
            return load(files)

        self.tier.load = slow
        self.model = model
        self.store = PrefixStore(model, bits=stored_bits("16"), disk=self.tier)

    def ask(self, prompt, now=0.0):
        asked = self.store.fetch([*prompt, 1], "", now)
        return asked, self.store.is_coming(asked, now)

    def wait_for(self, asked):
        while self.store.is_coming(asked, 0.0):
            self.store.wait(WAIT_S)
            self.store.land()

    def in_memory(self, prompt):
        with self.store.match([*prompt, 1], "") as match:
            return match.tokens


@pytest.fixture
def disk(model_of, tmp_path):
    """Opens one with these prompts; its disk is stuck."""
    opened = []

    def start(*prompts, kind="llama"):
        opened.append(Disk(model_of(kind), tmp_path, prompts))
        return opened[-1]

    yield start
    for one in opened:
        one.may.set()
        one.store.close(0.0)


def test_nothing_waits_for_a_disk_that_is_stuck(disk):
    one = disk(PROMPT)
    assert one.in_memory(PROMPT) == 0
    asked, coming = one.ask(PROMPT)
    one.store.land()
    assert (coming, one.in_memory(PROMPT)) == (True, 0)
    assert one.store.is_coming(asked, FETCH_S - 0.1)
    assert not one.store.is_coming(asked, FETCH_S)
    one.may.set()
    again, _ = one.ask([*PROMPT, 7])  # it came too late for the first, not for the next
    one.wait_for(again)
    assert one.in_memory(PROMPT) == 256


def test_what_is_in_memory_or_nowhere_is_not_waited_for(disk):
    one = disk(PROMPT)
    assert one.ask(tokens_of(9, 256))[1] is False
    assert one.ask(PROMPT[:63])[1] is False
    one.may.set()
    one.wait_for(one.ask(PROMPT)[0])
    assert one.ask(PROMPT)[1] is False


def test_without_a_disk_nothing_comes(model_of):
    for kind in ("llama", "gemma3"):
        store = PrefixStore(model_of(kind), bits=stored_bits("16"))
        assert not store.is_coming(store.fetch(PROMPT, "", 0.0), 0.0)
        store.wait(WAIT_S)
        store.land()


def test_blocks_that_two_prompts_share_are_read_once(disk):
    one = disk(PROMPT, OTHER)
    first, _ = one.ask(PROMPT)
    second, coming = one.ask(OTHER)
    assert coming
    one.may.set()
    one.wait_for(second)
    assert [one.in_memory(p) for p in (PROMPT, OTHER)] == [256, 256]
    assert not one.store.is_coming(first, 0.0)
    assert one.tier.stats().loaded_blocks == 6
    assert len({name for names in one.reads for name in names}) == 6


def test_a_step_takes_in_only_so_much(disk, monkeypatch):
    one = disk(PROMPT)
    monkeypatch.setattr(arrivals, "LAND_BYTES", 1)
    one.may.set()
    asked, _ = one.ask(PROMPT)
    found = []
    while one.store.is_coming(asked, 0.0):
        one.store.wait(WAIT_S)
        one.store.land()
        found.append(one.in_memory(PROMPT))
    assert found == [64, 128, 192, 256, 256]


def test_no_more_is_read_than_what_is_taken_in(disk, monkeypatch):
    monkeypatch.setattr(fetch, "AHEAD_BYTES", 1)
    monkeypatch.setattr(fetch, "TOGETHER_BYTES", 1)
    monkeypatch.setattr(arrivals, "LAND_BYTES", 1)
    one = disk(PROMPT)
    one.may.set()
    asked, _ = one.ask(PROMPT)
    for blocks in range(1, 5):
        one.store.wait(WAIT_S)
        assert len(one.reads) == blocks
        one.store.land()
        assert one.in_memory(PROMPT) == 64 * blocks
    one.wait_for(asked)


def test_what_others_stored_meanwhile_is_not_stored_twice(disk):
    one = disk(PROMPT)
    asked, _ = one.ask(PROMPT)
    one.store.insert(PROMPT[:192], "", read(one.model, PROMPT[:192])[1])
    size = one.store.bytes // 3
    one.may.set()
    one.wait_for(asked)
    assert (one.in_memory(PROMPT), one.store.bytes) == (256, 4 * size)


def test_the_rest_is_left_when_what_came_is_gone_again(disk, monkeypatch):
    one = disk(PROMPT)
    monkeypatch.setattr(arrivals, "LAND_BYTES", 1)
    one.may.set()
    asked, _ = one.ask(PROMPT)
    one.store.wait(WAIT_S)
    one.store.land()
    one.store.evict_to(0)
    one.wait_for(asked)
    assert (one.in_memory(PROMPT), one.store.bytes) == (0, 0)


def test_a_reader_that_fails_keeps_nobody_waiting(disk, caplog):
    one = disk(PROMPT)
    one.tier.has = lambda name: True
    one.store._arrivals._spill.fetcher._load = lambda files: [][0]
    asked, _ = one.ask(PROMPT)
    one.wait_for(asked)
    assert "could not be read" in caplog.text


def test_running_rows_go_on_while_a_prompt_waits_for_the_disk(disk, tiny):
    one = disk(PROMPT)
    generator = make_generator(tiny, store=one.store)
    running, waiting = greedy(range(5), 100), greedy([*PROMPT, 1, 2])
    generator.add(running)
    for _ in range(3):
        generator.step()
    generator.add(waiting)
    for _ in range(5):
        before = len(running.answer)
        generator.step()
        assert (len(running.answer), waiting.sampled) == (before + 1, 0)
    one.may.set()
    while len(waiting.answer) < 8:
        generator.step()
    assert waiting.cached == 256
    assert waiting.answer == run(make_generator(tiny), [greedy(waiting.tokens)])[0]


def test_an_idle_engine_waits_for_the_disk_and_not_for_ever(disk, tiny, monkeypatch):
    monkeypatch.setattr(store_of_prefixes, "FETCH_S", 0.0)
    one = disk(PROMPT)
    cold = greedy([*PROMPT, 1, 2])
    run(make_generator(tiny, store=one.store), [cold])
    assert cold.cached == 0
    monkeypatch.setattr(store_of_prefixes, "FETCH_S", WAIT_S)
    one.may.set()
    again = disk(PROMPT)
    again.may.set()
    warm = greedy([*PROMPT, 1, 2])
    assert run(make_generator(tiny, store=again.store), [warm]) == [cold.answer]
    assert warm.cached == 256
