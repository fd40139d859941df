import gc

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models.cache import KVCache, make_prompt_cache

from actors.engine.store.store import PrefixStore, stored_bits
from tests.actors.engine.store.prompts import Uneven, distance, go_on, read, tokens_of
from transport.prefix import block_hashes

pytestmark = pytest.mark.mlx
PLAIN = stored_bits("16")


def store_of(model, prompt, bits=PLAIN, **options):
    store = PrefixStore(model, bits=bits, **options)
    store.insert(prompt, "", read(model, prompt)[1])
    return store


def found(store, prompt, salt=""):
    with store.match(prompt, salt) as match:
        return match.tokens


@pytest.mark.parametrize(
    ("kind", "cuttable"),
    [("llama", True), ("wide", True), ("gemma3", False), ("jamba", False), ("mamba2", False)],
)
def test_going_on_from_a_stored_prefix_is_going_on(model_of, kind, cuttable):
    model, prompt, more = model_of(kind), tokens_of(1, 128), tokens_of(2, 9)
    _, caches = read(model, prompt)
    store = PrefixStore(model, bits=PLAIN)
    store.insert(prompt, "", caches)
    assert store.cuttable == cuttable
    expected = go_on(model, caches, more)
    for _ in range(2):  # what was stored is not touched by those who use it
        with store.match(prompt + more, "") as match:
            assert match.tokens == 128
            assert mx.array_equal(go_on(model, match.caches(), more), expected)
    whole, _ = read(model, prompt + more)
    assert distance(whole, expected[-1]) < 1e-4


def test_every_length_and_every_turn_of_a_prompt(model_of):
    model, prompt = model_of("llama"), tokens_of(1, 200)
    store = store_of(model, prompt)  # three whole blocks
    for asked, tokens in [
        (prompt, 192),  # the very prompt that was stored
        (prompt[:192], 191),  # all of it is stored: one token is left to compute
        (prompt[:100], 99),  # shorter than what is stored
        (prompt[:64], 63),
        (prompt[:150] + tokens_of(3, 90), 150),  # turns away in the middle of a block
        (prompt[:128] + tokens_of(3, 90), 128),
        (tokens_of(4, 90), 0),
        (prompt[:1], 0),
        ([], 0),
    ]:
        match = store.match(asked, "")
        assert match.tokens == tokens
        if tokens:
            expected = read(model, prompt[:tokens])[1]
            for mine, theirs in zip(match.caches(), expected, strict=True):
                assert mine.offset == tokens == mine.keys.shape[2]
                assert distance(theirs.keys[..., :tokens, :], mine.keys) < 1e-5
                assert distance(theirs.values[..., :tokens, :], mine.values) < 1e-5
        else:
            assert match.caches() == []
        match.release()
    assert store.match(prompt, "other").tokens == 0
    stats = store.stats()
    assert stats.lookups == 10
    assert stats.hit_tokens == 192 + 191 + 99 + 63 + 150 + 128
    assert (stats.stored_entries, stats.entries) == (3, 3)


@pytest.mark.parametrize(("bits", "error"), [(8, 0.01), (4, 0.15)])
def test_quantised_blocks_are_small_and_near(model_of, bits, error):
    model, prompt, more = model_of("wide"), tokens_of(1, 192), tokens_of(2, 9)
    _, caches = read(model, prompt)
    store = PrefixStore(model, bits=stored_bits(str(bits)))
    store.insert(prompt, "", caches)
    numbers = sum(c.keys[..., :192, :].size + c.values[..., :192, :].size for c in caches)
    assert store.bytes == numbers * bits // 8 + numbers // 64 * 8  # a scale and a bias for 64
    match = store.match(prompt[:190], "")
    for mine, theirs in zip(match.caches(), caches, strict=True):
        assert mine.keys.dtype == theirs.keys.dtype
        assert distance(theirs.keys[..., :189, :], mine.keys) < error
    expected = go_on(model, caches, more)
    assert distance(expected, go_on(model, store.match([*prompt, 1], "").caches(), more)) < error


def test_auto_bits_by_depth_and_blocks_of_both_kinds_in_one_match(model_of):
    assert [stored_bits("auto")(depth) for depth in (0, 8191, 8192, 10**6)] == [8, 8, 4, 4]
    model, prompt = model_of("wide"), tokens_of(1, 256)
    _, caches = read(model, prompt)
    store = PrefixStore(model, bits=lambda depth: (16, 8, 8, 4)[depth // 64])
    store.insert(prompt, "", caches)
    (layer, _) = store.match([*prompt, 1], "").caches()
    spans = [(0, 64, 0.0), (64, 192, 0.01), (192, 256, 0.15)]
    for start, stop, error in spans:
        theirs = caches[0].keys[..., start:stop, :]
        assert distance(theirs, layer.keys[..., start:stop, :]) <= error


def test_heads_that_cannot_be_quantised_stay_as_they_are(model_of):
    prompt = tokens_of(1, 64)
    store = store_of(model_of("llama"), prompt, stored_bits("4"))  # heads of 16
    _, caches = read(model_of("llama"), prompt)
    assert mx.array_equal(
        store.match([*prompt, 1], "").caches()[0].keys, caches[0].keys[..., :64, :]
    )


def test_layers_of_different_shapes_are_stacked_by_shape():
    model = Uneven()
    caches = make_prompt_cache(model)
    model(mx.zeros((1, 150)), caches)
    for bits in ("16", "8"):
        store = PrefixStore(model, bits=stored_bits(bits))
        store.insert(tokens_of(1, 150), "", caches)
        for mine, theirs in zip(store.match(tokens_of(1, 150), "").caches(), caches, strict=True):
            for a, b in ((mine.keys, theirs.keys), (mine.values, theirs.values)):
                assert a.dtype == mx.bfloat16
                assert distance(b[..., :128, :], a) < (0.02 if bits == "8" else 1e-9)


def test_storing_again_stores_nothing_and_longer_stores_the_rest(model_of):
    model, prompt = model_of("llama"), tokens_of(1, 200)
    store = store_of(model, prompt[:130])
    block = store.bytes // 2
    store.insert(prompt[:130], "", read(model, prompt)[1])
    assert store.bytes == 2 * block
    store.insert(prompt, "", read(model, prompt)[1])
    store.insert(prompt, "tenant", read(model, prompt)[1])
    assert store.bytes == 6 * block
    with pytest.raises(ValueError, match="130 tokens"):
        store.insert(tokens_of(5, 200), "", read(model, prompt[:130])[1])


def test_what_is_used_or_pinned_stays_and_the_rest_goes_oldest_first(model_of):
    model = model_of("llama")
    a, b, c = (tokens_of(seed, 128) for seed in (1, 2, 3))
    store = PrefixStore(model, bits=PLAIN)
    for prompt in (a, b, c):
        store.insert(prompt, "", read(model, prompt)[1])
    block = store.bytes // 6
    match = store.match(a, "")
    assert store.pin(b[:64], "") == block == store.stats().pinned_bytes
    assert store.pin(b[:64], "") == block == store.stats().pinned_bytes
    store.evict_to(0)
    assert store.bytes == 3 * block  # both of a, the first of b
    assert [found(store, p) for p in (b, c)] == [64, 0]
    expected = read(model, a[:127])[1][0].keys[..., :127, :]
    assert distance(expected, match.caches()[0].keys) < 1e-5
    match.release()
    match.release()
    store.unpin(b[:64], "")
    store.unpin(c, "")
    store.evict_to(block)
    assert (store.bytes, store.stats().evicted_entries) == (block, 5)
    store.evict_to(0)
    assert store.bytes == 0


def test_news_are_what_came_and_went_since_the_last_time(model_of):
    model, a, b = model_of("llama"), tokens_of(1, 200), tokens_of(2, 70)
    store = store_of(model, a)
    names = block_hashes(a, "")
    assert store.news() == (names, [])
    assert store.news() == ([], [])
    store.insert(b, "t", read(model, b)[1])
    store.evict_to(store.bytes * 2 // 4)
    assert store.news() == (block_hashes(b, "t"), names[:0:-1])
    store.insert(a, "", read(model, a)[1])
    store.evict_to(0)
    assert [sorted(n) for n in store.news()] == [[], sorted([names[0], *block_hashes(b, "t")])]


@pytest.mark.parametrize("kind", ["gemma3", "jamba"])
def test_checkpoints_are_used_whole_and_the_longest_wins(model_of, kind):
    model, prompt = model_of(kind), tokens_of(1, 150)
    store = PrefixStore(model, bits=PLAIN)
    caches = None
    for start, stop in ((0, 30), (30, 100), (100, 150)):
        _, caches = read(model, prompt[start:stop], caches)
        store.insert(prompt[:stop], "", caches)
        store.insert(prompt[:stop], "", caches)
    asked = [[*prompt, 1], prompt, [*prompt[:120], 1], prompt[:100], prompt[:30], [9]]
    assert [found(store, p) for p in asked] == [150, 100, 100, 30, 0, 0]
    assert found(store, prompt, "other") == 0
    names = block_hashes(prompt, "")
    assert store.news() == ([names[0], names[1]], [])
    held = store.match(prompt[:100], "")
    store.evict_to(0)
    assert (store.stats().entries, held.tokens) == (1, 30)
    assert store.news() == ([], [names[1], names[0]])


@pytest.mark.parametrize(
    ("kind", "bits"), [("wide", "16"), ("wide", "8"), ("gemma3", "16"), ("jamba", "16")]
)
def test_memory_is_what_the_books_say(model_of, kind, bits):
    """Nothing of the caches that were stored, nor of a batch they were part of, stays."""
    model, prompt = model_of(kind), tokens_of(1, 960)
    store = PrefixStore(model, bits=stored_bits(bits))
    before = active_memory()
    store.insert(prompt, "", [half_of_a_batch(c) for c in read(model, prompt)[1]])
    held = active_memory() - before
    assert store.bytes <= held <= store.bytes * 1.05 + 65536
    with store.match([*prompt, 1], "") as match:
        mx.eval([c.state for c in match.caches()])
    store.evict_to(store.bytes // 2)
    assert active_memory() - before <= store.bytes * 1.05 + 65536
    store.evict_to(0)
    assert abs(active_memory() - before) <= 65536


def half_of_a_batch(cache):
    """As a batch gives out one of its rows: cut out of arrays of many rows."""
    for name, value in vars(cache).items():
        if isinstance(value, mx.array):
            setattr(cache, name, mx.concatenate([value, value])[:1])
        elif name == "cache":
            cache.cache = [mx.concatenate([v, v])[:1] for v in value]
    return cache


def active_memory():
    gc.collect()
    mx.synchronize()
    return mx.get_active_memory()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_is_stored_and_dropped_a_match_holds_the_right_tokens(model_of, data):
    """The values of the caches are the tokens, so that every mix-up shows."""
    store = PrefixStore(model_of("llama"), bits=PLAIN, block_tokens=4)
    prompts = st.lists(st.integers(0, 1), min_size=1, max_size=14)
    held = []
    for _ in range(data.draw(st.integers(1, 12))):
        tokens = data.draw(prompts)
        match data.draw(st.sampled_from(["insert", "match", "evict", "release"])):
            case "insert":
                store.insert(tokens, "", spelled(tokens))
            case "match":
                held.append((tokens, store.match(tokens, "")))
            case "evict":
                store.evict_to(data.draw(st.integers(0, store.bytes)))
            case _ if held:
                held.pop()[1].release()
        for asked, kept in held:
            for cache in kept.caches():
                assert cache.keys[0, 0, :, 0].tolist() == asked[: kept.tokens]
                assert cache.values[0, 1, :, 5].tolist() == asked[: kept.tokens]


def spelled(tokens):
    caches = [KVCache(), KVCache()]
    for cache in caches:
        numbers = mx.broadcast_to(
            mx.array(tokens, mx.float32)[None, None, :, None], (1, 2, len(tokens), 16)
        )
        cache.update_and_fetch(numbers, numbers)
    return caches


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_what_is_pinned_for_everybody_is_there_for_every_tenant_and_nothing_else_is(model_of, kind):
    model, prompt = model_of(kind), tokens_of(1, 300)
    pinned = prompt[:128]
    store = store_of(model, pinned)
    store.insert(prompt, "", read(model, prompt)[1])
    assert found(store, [*pinned, 3, 4, 5], "tenant") == 0
    store.pin(pinned, "")
    assert found(store, [*pinned, 3, 4, 5], "tenant") == 128
    if store.cuttable:
        assert found(store, prompt, "tenant") == 128  # and not what somebody else went on with
    store.unpin(pinned, "")
    assert found(store, [*pinned, 3, 4, 5], "tenant") == 0
