"""The caches of a decoding batch as mlx-lm keeps them: for every kind of cache it knows."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from actors.engine.windows import narrow


class PlainCaches:
    """One batch cache for each layer; rows lie in the order of their coming."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self._rows = 0

    def begin(self) -> None:
        """Before a forward pass."""

    def advance(self) -> None:
        """After a forward pass; the caches count for themselves."""

    def join(self, caches: list[Any], rows: int) -> int:
        """Take rows in; returns the place of the first of them."""
        first = self._rows
        if first == 0:
            self.layers = caches
        else:
            for ours, theirs in zip(self.layers, caches, strict=True):
                ours.extend(theirs)
        self._rows += rows
        return first

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows (rising)."""
        if len(rows) == self._rows:
            return
        self._rows = len(rows)
        if not rows:
            self.layers = []
            return
        chosen = mx.array(list(rows))
        for layer in self.layers:
            layer.filter(chosen)
        narrow(self.layers)

    def extract(self, row: int, tokens: int) -> list[Any]:
        """A row's caches; they hold all that was fed, which may be more than `tokens`."""
        return [layer.extract(row) for layer in self.layers]

    @property
    def nbytes(self) -> int:
        """Of all layers."""
        return sum(layer.nbytes for layer in self.layers)
