import logging
import os
import resource
import time

import mlx.core as mx
import pytest
from mlx_lm.models.cache import make_prompt_cache

from actors.engine.store import disk
from actors.engine.store.disk import QUEUE_BYTES, DiskTier, Offer
from actors.engine.store.spill import model_identity
from actors.engine.store.store import PrefixStore, stored_bits
from tests.actors.engine.store.prompts import Uneven, go_on, read, tokens_of
from tests.models import TINY_LLAMA, make_model
from transport.prefix import block_hashes

pytestmark = pytest.mark.mlx
PROMPT, MORE = tokens_of(1, 192), tokens_of(2, 9)
WAIT_S = 30.0


@pytest.fixture
def open_store(tmp_path):
    """Opens stores over one folder, as one engine after the other would."""
    opened = []

    def start(model, bits="16", identity="m", directory=tmp_path / "kv", max_bytes=1 << 30):
        tier = DiskTier(directory, max_bytes, identity)
        opened.append(PrefixStore(model, bits=stored_bits(bits), disk=tier))
        return opened[-1], tier

    yield start
    for store in opened:
        store.close(0.0)


def spilled(store, tier, model, prompt=PROMPT, salt=""):
    """A prompt's blocks on disk and no longer in memory."""
    store.insert(prompt, salt, read(model, prompt)[1])
    store.evict_to(0)
    assert tier.flush(WAIT_S)


def bring(store, prompt, salt=""):
    """Wait for what is on disk of a prompt; what is stored of it then."""
    fetch = store.fetch(prompt, salt, 0.0)
    while store.is_coming(fetch, 0.0):
        store.wait(WAIT_S)
        store.land()
    return store.match(prompt, salt)


def found(store, prompt, salt=""):
    with bring(store, prompt, salt) as match:
        return match.tokens


def files_of(folder):
    return sorted((folder / "kv").iterdir(), key=lambda f: f.stat().st_mtime_ns)


def test_blocks_outlive_the_process_and_are_the_same_bytes(model_of, open_store, tmp_path):
    model = model_of("llama")
    _, caches = read(model, PROMPT)
    expected = go_on(model, caches, MORE)
    store, tier = open_store(model)
    spilled(store, tier, model)
    assert (tier.stats().written_blocks, tier.stats().skipped_blocks) == (3, 0)
    after, _ = open_store(model)  # the first one was never closed
    assert (found(after, PROMPT, "other"), found(after, tokens_of(9, 192))) == (0, 0)
    with bring(after, PROMPT + MORE) as match:
        assert match.tokens == 192
        assert mx.array_equal(go_on(model, match.caches(), MORE), expected)
    assert after.news() == (block_hashes(PROMPT, ""), [])
    stats = after.stats()
    assert (stats.entries, stats.disk.loaded_blocks, stats.disk.rejected_blocks) == (3, 3, 0)
    assert stats.bytes == sum(a.nbytes for f in files_of(tmp_path) for a in arrays_in(f))


def arrays_in(file):
    return [a for name, a in mx.load(str(file)).items() if name != "checksum"]


@pytest.mark.parametrize("bits", ["16", "8", "4"])
def test_every_type_and_shape_comes_back(open_store, bits):
    model = Uneven()
    caches = make_prompt_cache(model)
    model(mx.zeros((1, 192)), caches)
    store, tier = open_store(model, bits)
    store.insert(PROMPT, "", caches)
    with store.match([*PROMPT, 1], "") as match:
        before = match.caches()
        mx.eval([c.state for c in before])
    size = store.bytes
    store.evict_to(0)
    assert tier.flush(WAIT_S)
    again = bring(store, [*PROMPT, 1]).caches()
    assert store.bytes == size
    for old, new in zip(before, again, strict=True):
        assert new.keys.dtype == mx.bfloat16
        assert mx.array_equal(old.keys, new.keys)
        assert mx.array_equal(old.values, new.values)


def test_bad_files_are_deleted_with_one_warning_and_never_loaded(
    model_of, open_store, tmp_path, caplog
):
    model = model_of("llama")
    store, tier = open_store(model)
    prompts = [tokens_of(seed, 64) for seed in range(5)]
    for prompt in prompts:
        spilled(store, tier, model, prompt)
    flipped, short, swapped, empty, good = files_of(tmp_path)
    data = bytearray(flipped.read_bytes())
    data[-40] ^= 1
    flipped.write_bytes(data)
    os.truncate(short, short.stat().st_size - 1)
    swapped.write_bytes(good.read_bytes())  # whole, but of another prompt
    empty.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert [found(store, [*p, 1]) for p in prompts] == [0, 0, 0, 0, 64]
    assert len(caplog.records) == 1
    assert tier.stats().rejected_blocks == 4
    assert files_of(tmp_path) == [good]


def test_other_models_and_other_bits_are_other_blocks(model_of, open_store, tmp_path, caplog):
    model = model_of("wide")
    store, tier = open_store(model, "8")
    spilled(store, tier, model)
    for bits, identity in (("4", "m"), ("8", "n")):
        other, _ = open_store(model, bits, identity)
        assert found(other, PROMPT) == 0
    assert found(store, [*PROMPT, 1]) == 192
    assert not caplog.records
    folders = [make_model(tmp_path / name, TINY_LLAMA) for name in "ab"]
    first, second = map(model_identity, folders)
    assert first != second
    assert first == model_identity(folders[0])


def test_the_least_recently_used_files_go_when_there_are_too_many(model_of, open_store, tmp_path):
    model = model_of("llama")
    store, tier = open_store(model)
    prompts = [tokens_of(seed, 64) for seed in range(6)]
    for prompt in prompts:
        spilled(store, tier, model, prompt)
    assert found(store, [*prompts[0], 1]) == 64  # a use, by this process
    abandoned = tmp_path / "kv" / "a.1.tmp"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    size = tier.stats().bytes // 6
    after, late = open_store(model, max_bytes=4 * size)
    spilled(after, late, model, tokens_of(7, 64))
    assert [found(after, [*p, 1]) for p in prompts] == [64, 0, 0, 0, 64, 64]
    assert found(after, [*tokens_of(7, 64), 1]) == 64
    assert (len(files_of(tmp_path)), late.stats().bytes) == (4, 4 * size)


def test_at_the_end_what_is_hot_or_pinned_is_written(model_of, open_store):
    model = model_of("llama")
    store, tier = open_store(model)
    store.insert(PROMPT, "", read(model, PROMPT)[1])
    assert store.pin(PROMPT, "")
    store.close(WAIT_S)
    assert tier.stats().written_blocks == 3
    after, late = open_store(model, max_bytes=tier.stats().bytes * 3 // 4)
    assert late.flush(WAIT_S)
    assert found(after, PROMPT) == 128
    after.insert(PROMPT, "t", read(model, PROMPT)[1])
    after.close(WAIT_S)  # two blocks fit: the first two, since none is of use without those above
    assert late.stats().written_blocks == 2
    last, _ = open_store(model)
    assert found(last, PROMPT, "t") == 128


def test_a_disk_that_takes_nothing_is_left_alone(model_of, open_store, tmp_path, caplog):
    model = model_of("llama")
    (tmp_path / "file").write_text("no folder")
    store, tier = open_store(model, directory=tmp_path / "file" / "kv")
    for seed in (1, 2):
        spilled(store, tier, model, tokens_of(seed, 64))
    assert found(store, tokens_of(1, 65)) == 0
    assert (len(caplog.records), tier.stats().writing) == (1, False)


def test_a_full_disk_stops_the_writing_and_nothing_else(model_of, open_store, tmp_path, caplog):
    model = model_of("llama")
    store, tier = open_store(model)
    spilled(store, tier, model, tokens_of(1, 64))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16384, limits[1]))  # less than one block
        spilled(store, tier, model, tokens_of(2, 128))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spilled(store, tier, model, tokens_of(3, 64))
    assert (len(caplog.records), tier.stats().written_blocks) == (1, 1)
    assert [f.suffix for f in files_of(tmp_path)] == [".safetensors"]
    assert [found(store, [*tokens_of(s, 64), 1]) for s in (1, 2, 3)] == [64, 0, 0]


def test_of_many_blocks_that_go_at_once_the_first_of_a_prompt_are_written(
    model_of, open_store, monkeypatch
):
    model = model_of("llama")
    store, tier = open_store(model)
    store.insert(PROMPT, "", read(model, PROMPT)[1])
    monkeypatch.setattr(disk, "QUEUE_BYTES", store.bytes * 2 // 3)
    with tier._changed:  # the writer cannot take anything
        store.evict_to(0)
    assert tier.flush(WAIT_S)
    assert (found(store, PROMPT), tier.stats().skipped_blocks) == (128, 1)


def test_copies_that_wait_for_the_disk_are_bounded(tmp_path):
    tier = DiskTier(tmp_path, 1 << 40, "m")
    with tier._changed:  # the writer cannot take anything
        for name in ("a", "b", "c"):
            tier.offer(Offer(name, QUEUE_BYTES // 2 + 1, time.time(), lambda: [b"x"]))
        tier.offer(Offer("d", 1, time.time(), lambda: [b"x"]), time.monotonic())
    tier.close(WAIT_S)
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "d"}
    assert tier.stats().skipped_blocks == 2
