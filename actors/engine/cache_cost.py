"""What one sequence's caches take, by the kinds of layers a model has."""

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import ChunkedKVCache, RotatingKVCache
from msgspec import Struct

from actors.engine.adapter import new_caches
from actors.engine.admission import CACHE_STEP_TOKENS
from actors.engine.windows import parts_of


class CacheCost(Struct, frozen=True):
    """In bytes: for each token; for each token as long as there are fewer than a window, by its
    tokens; and once for the sequence, however long it is (state-space layers)."""

    per_token: int
    windows: Mapping[int, int]
    per_row: int

    @property
    def first_tokens(self) -> int:
        """For each token of a sequence that is shorter than any window."""
        return self.per_token + sum(self.windows.values())


def measured(model: Any) -> CacheCost:  # noqa: ANN401
    """Found out by reading two tokens."""
    caches = new_caches(model)
    mx.eval(model(mx.array([[1, 1]]), cache=caches))
    per_token = per_row = 0
    windows: dict[int, int] = {}
    for cache in parts_of(caches):
        each, window = _bytes_of_token(cache), _window(cache)
        if window is not None:
            windows[window] = windows.get(window, 0) + each
        else:
            per_token += each
            per_row += 0 if each else int(cache.nbytes)
    return CacheCost(per_token, windows, per_row)


def _bytes_of_token(cache: Any) -> int:  # noqa: ANN401
    """0: it does not grow."""
    keys, values = getattr(cache, "keys", None), getattr(cache, "values", None)
    if keys is None or values is None:
        return 0
    return int((keys.nbytes + values.nbytes) // keys.shape[2])


def _window(cache: Any) -> int | None:  # noqa: ANN401
    """How many tokens it holds at most; None: all."""
    if isinstance(cache, RotatingKVCache):
        return int(cache.max_size)
    if isinstance(cache, ChunkedKVCache):  # makes room in whole steps
        return int(cache.chunk_size) + CACHE_STEP_TOKENS
    return None
