"""mlx-lm's sliding windows: caches that keep only the last tokens of a sequence.

Such a cache holds all of the last chunk of a prompt beside its window until the next token comes,
and one of a batch stays as wide as its longest row ever was. Nobody has counted on either.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchRotatingKVCache, ChunkedKVCache, RotatingKVCache

NARROW_TOKENS = 256  # less than a step of growth is not worth a copy


def parts_of(caches: Iterable[Any]) -> Iterator[Any]:
    """The caches, each of those that consist of several in place of the whole."""
    return chain.from_iterable(
        parts_of(cache.caches) if hasattr(cache, "caches") else (cache,) for cache in caches
    )


def shorten(caches: Iterable[Any], tokens: int) -> None:
    """Make the windows of fresh caches of one sequence no longer than this."""
    for cache in parts_of(caches):
        if isinstance(cache, RotatingKVCache):
            cache.max_size = min(cache.max_size, tokens)


def cut(caches: Iterable[Any]) -> None:
    """Let go of what one sequence's windows do not need for what comes next."""
    for cache in parts_of(caches):
        if isinstance(cache, ChunkedKVCache):
            cache.maybe_trim_front()
        elif isinstance(cache, RotatingKVCache) and cache.keys is not None:
            _cut(cache)


def _cut(cache: RotatingKVCache) -> None:
    extra = cache.keys.shape[2] - cache.max_size
    if extra > 0:  # so its last tokens came at once, and it is in order
        cache.keys = mx.contiguous(cache._trim(extra, cache.keys))
        cache.values = mx.contiguous(cache._trim(extra, cache.values))
        cache._idx = cache.max_size


def narrow(batch: Iterable[Any]) -> None:
    """Make the windows of a batch as wide as its longest row; may wait for the last step."""
    wide = [cache for cache in parts_of(batch) if _is_wide(cache)]
    if wide:
        longest = max(wide[0].offset.tolist())
        for cache in wide:
            _narrow(cache, min(longest, cache.max_size))


def _is_wide(cache: Any) -> bool:  # noqa: ANN401
    if not isinstance(cache, BatchRotatingKVCache) or cache.keys is None:
        return False
    return bool(cache.keys.shape[2] > min(cache.max_size, NARROW_TOKENS))


def _narrow(cache: BatchRotatingKVCache, width: int) -> None:
    least = min(cache.max_size, width + NARROW_TOKENS - 1)
    if cache.keys.shape[2] <= least:
        return
    cache._temporal_order()
    first, end = cache._idx - width, cache._idx
    cache.keys, cache.values = cache.keys[:, :, first:end], cache.values[:, :, first:end]
    cache.left_padding = cache.left_padding - first
    cache._idx = cache._offset = width
