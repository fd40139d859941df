import pytest
from mlx_lm.models.cache import BatchRotatingKVCache

from actors.engine import parity
from actors.engine.adapter import new_caches
from actors.engine.kv import groups
from actors.engine.kv.precision import FULL
from actors.engine.model import load
from actors.engine.parity import Sample, check_batching, check_groups
from tests.models import TINY_GEMMA3, TINY_JAMBA, TINY_LLAMA4, TINY_WIDE, make_model

pytestmark = pytest.mark.mlx


def loaded(tmp_path, config):
    return load(make_model(tmp_path / "m", config), "m", None, lambda stage, fraction: None)


def test_a_sound_model_is_batched_and_grouped(tiny):
    assert (tiny.batching, tiny.grouped) == ("batch", True)
    assert tiny.quantised_bits == []  # its heads are too narrow


def test_wide_heads_can_be_quantised(tmp_path):
    model = loaded(tmp_path, TINY_WIDE)
    assert (model.group_size, model.quantised_bits) == (64, [8, 4])


@pytest.mark.parametrize("broken", [8, 4])
def test_a_precision_that_does_not_work_is_left_out(tmp_path, monkeypatch, broken):
    right = groups._quantised_attention

    def refuse(*args):
        if args[-1] == broken:
            raise ValueError("no kernel for this")
        return right(*args)

    monkeypatch.setattr(groups, "_quantised_attention", refuse)
    assert loaded(tmp_path, TINY_WIDE).quantised_bits == [12 - broken]


@pytest.mark.parametrize("broken", [8, 4])
def test_a_precision_in_which_no_prompt_can_be_read_is_left_out(tmp_path, monkeypatch, broken):
    fresh = parity.new_caches

    def refuse(model, precision=FULL):
        if precision.bits == broken:
            raise TypeError("not with this attention")
        return fresh(model, precision)

    monkeypatch.setattr(parity, "new_caches", refuse)
    assert loaded(tmp_path, TINY_WIDE).quantised_bits == [12 - broken]


def test_a_model_that_is_wrong_in_uneven_batches_reads_its_prompts_one_by_one(tmp_path):
    model = loaded(tmp_path, TINY_JAMBA)
    assert (model.batching, model.grouped) == ("prefill_alone", False)
    assert model.card.batching == "batch"


def test_a_model_whose_cache_knows_no_batches_is_served_one_by_one_and_says_so(tmp_path, caplog):
    model = loaded(tmp_path, TINY_LLAMA4)
    assert "answered one by one" in caplog.text
    assert (model.batching, model.card.batching) == ("serial", "serial")


def test_a_broken_batch_is_found_out(tiny, monkeypatch):
    right = parity._staggered
    monkeypatch.setattr(parity, "_staggered", lambda sample: right(sample)[::-1])
    assert check_batching(Sample(tiny.model, tiny.card.vocab_size)) == "serial"


def in_place(cache):
    """As `_temporal_order` would be if it forgot that the window has wrapped."""


def unrolled(cache, tokens, window_size=None, return_array=False):
    """As `make_mask` would be if it did."""
    cache.rotated, rotated = False, cache.rotated
    mask = MAKE_MASK(cache, tokens, window_size, return_array)
    cache.rotated = rotated
    return mask


MAKE_MASK = BatchRotatingKVCache.make_mask


@pytest.mark.parametrize(
    ("name", "broken"), [("_temporal_order", in_place), ("make_mask", unrolled)]
)
def test_a_window_that_is_wrong_once_it_has_wrapped_is_found_out(
    tmp_path, monkeypatch, name, broken
):
    """Though it is longer than any prompt of the check."""
    assert loaded(tmp_path, TINY_GEMMA3).batching == "batch"
    monkeypatch.setattr(BatchRotatingKVCache, name, broken)
    assert loaded(tmp_path, TINY_GEMMA3).batching == "serial"


def test_what_is_served_has_its_whole_window(tmp_path):
    model = loaded(tmp_path, TINY_GEMMA3)
    assert {cache.max_size for cache in new_caches(model.model)[:3]} == {32}


def test_broken_groups_are_found_out(tiny, monkeypatch):
    monkeypatch.setattr(groups.Group, "mask", lambda group: None)
    monkeypatch.setattr(groups.GroupedCaches, "advance", lambda batch: batch.groups.reverse())
    assert not check_groups(Sample(tiny.model, tiny.card.vocab_size))
