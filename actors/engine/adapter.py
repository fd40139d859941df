"""The one module that touches mlx-lm's insides: its caches, and how prompts are read in batches.

Written against mlx-lm 0.32.2, where much of what is used here is undocumented; the tests run every
part, so a release that changes one is found there. (Attention over our own caches is in
`actors.engine.kv.groups`, sliding windows are in `actors.engine.windows`.)

Everything here runs on the one thread that owns the model: mlx streams are thread-local.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache, QuantizedKVCache, make_prompt_cache

from actors.engine.kv.precision import FULL, HeadShape, Precision, group_size_for, unpack
from actors.engine.windows import cut, narrow


class _Lone:
    """Batch methods for a cache that knows no batches: a batch of one row is the cache itself."""

    @staticmethod
    def merge(caches: Sequence[Any]) -> Any:  # noqa: ANN401
        (cache,) = caches
        return cache

    def filter(self, keep: mx.array) -> None:
        if keep.tolist() != [0]:
            raise ValueError("a cache without batch support holds one row")

    def extract(self, index: int) -> "_Lone":
        return self


def new_caches(model: Any, precision: Precision = FULL) -> list[Any]:  # noqa: ANN401
    """Empty caches for one sequence; where a layer's kind knows no batches, all go without."""
    caches: list[Any] = make_prompt_cache(model)
    if precision.quantised:
        return [QuantizedKVCache(precision.group_size, precision.bits) for _ in caches]
    if not all(hasattr(cache, "merge") for cache in caches):
        for cache in caches:
            kind = type(cache)
            cache.__class__ = type(f"Lone{kind.__name__}", (_Lone, kind), {})
    return caches


def can_batch(model: Any) -> bool:  # noqa: ANN401
    """Whether all of the model's caches know batches."""
    return all(hasattr(cache, "merge") for cache in make_prompt_cache(model))


def is_cuttable(model: Any) -> bool:  # noqa: ANN401
    """Whether all of the model's caches are plain keys and values, a slot for each token."""
    return all(type(cache) is KVCache for cache in make_prompt_cache(model))


def quantised(caches: list[Any], precision: Precision) -> list[Any]:
    """Plain one-row caches in another precision."""
    if not precision.quantised:
        return caches
    size, bits = precision.group_size, precision.bits
    return [cache.to_quantized(group_size=size, bits=bits) for cache in caches]


def unquantised(caches: list[Any]) -> list[Any]:
    """One-row caches as plain ones; computes nothing yet."""
    return [_plain(c) if isinstance(c, QuantizedKVCache) else c for c in caches]


def _plain(cache: QuantizedKVCache) -> KVCache:
    precision = Precision(cache.bits, cache.group_size)
    keys, values = cache.keys_and_values()
    plain = KVCache()
    plain.keys, plain.values = unpack(keys, precision), unpack(values, precision)
    plain.offset = cache.offset
    return plain


def read_alone(model: Any, tokens: list[int], caches: list[Any]) -> mx.array:  # noqa: ANN401
    """Read more of one sequence into its caches; the logits (1, vocabulary) after the last token,
    which are not computed unless somebody asks."""
    logits: mx.array = model(mx.array([tokens]), cache=caches)[:, -1, :]
    cut(caches)
    evaluate(caches)
    return logits


def read_together(
    model: Any,  # noqa: ANN401
    tokens: Sequence[list[int]],
    caches: Sequence[list[Any]],
) -> list[Any]:
    """Read more of several sequences at once; one batch cache for each layer."""
    batch = merged(caches)
    lengths = [len(t) for t in tokens]
    widest = max(lengths)
    if widest == 0:
        return batch
    padding = [widest - length for length in lengths]
    if any(padding):
        for cache in batch:
            cache.prepare(lengths=lengths, right_padding=padding)
    padded = [t + [0] * p for t, p in zip(tokens, padding, strict=True)]
    model(mx.array(padded), cache=batch)
    evaluate(batch)
    if any(padding):
        for cache in batch:
            cache.finalize()
        evaluate(batch)
    narrow(batch)
    return batch


def evaluate(caches: list[Any]) -> None:
    """Compute what the caches hold, now."""
    mx.eval([cache.state for cache in caches])


def merged(caches: Sequence[list[Any]]) -> list[Any]:
    """Batch caches of these sequences, by layer."""
    return [kinds[0].merge(list(kinds)) for kinds in zip(*caches, strict=True)]


def repeated(batch: list[Any], rows: Sequence[int]) -> None:
    """Take rows of a batch several times, in place."""
    chosen = mx.array(list(rows))
    for cache in batch:
        cache.filter(chosen)


def head_shapes(model: Any) -> list[HeadShape]:  # noqa: ANN401
    """By layer, for a model whose caches are cuttable."""
    return [
        HeadShape(c.keys.shape[1], c.keys.shape[3], c.values.shape[3], c.keys.dtype)
        for c in _short_caches(model)
    ]


def quantisation_group(shapes: Sequence[HeadShape]) -> int:
    """The group size in which all layers can be quantised; 0: none."""
    return group_size_for(*{w for s in shapes for w in (s.key_width, s.value_width)})


def _short_caches(model: Any) -> list[Any]:  # noqa: ANN401
    caches = new_caches(model)
    mx.eval(model(mx.array([[1, 1]]), cache=caches))
    return caches
