"""The caches of a decoding batch whose rows differ much in length or in precision.

One forward pass serves all rows, but attention runs by groups: rows of a group are padded to one
width and kept in one precision. So a long row does not widen the short ones, and quantised rows
decode beside full ones. Models know nothing of it: their attention asks whether a cache has `bits`
and then calls `mlx_lm.models.base.quantized_scaled_dot_product_attention`, which is ours for the
arrays that come from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.models import base
from mlx_lm.models.cache import KVCache

from actors.engine.kv.precision import Parts, Precision, pack, unpack

LARGE_BYTES = 4 << 20  # of one layer: from here on, memory counts for more than a moment's wait
NARROW_TOKENS = 512  # a group more costs more than padding by so many
STEP_TOKENS = 256  # arrays grow in steps of this many slots
_quantised_attention = base.quantized_scaled_dot_product_attention


@dataclass(slots=True)
class Group:
    """Rows of one width; row i is in the slots from `padding[i]` to `end`, in every layer."""

    precision: Precision
    bucket: int
    padding: list[int]
    end: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.padding)

    def mask(self) -> mx.array | None:
        """(rows, 1, 1, end + 1): the slots that belong to each row, with the token to come."""
        if not any(self.padding):
            return None
        starts = mx.array(self.padding)[:, None, None, None]
        return starts <= mx.arange(self.end + 1)


@dataclass(slots=True)
class Arrived:
    """Rows that come from reading: by layer the keys and the values (rows, heads, end, width)."""

    padding: list[int]
    end: int
    keys: list[Parts]
    values: list[Parts]


class LayerCache:
    """What one layer of the model is given as its cache; one token a row and a step."""

    group_size, bits = 64, 8  # only that they are there counts, see the head of this file

    def __init__(self, batch: "GroupedCaches") -> None:
        self._batch = batch
        self.keys: list[Parts] = []
        self.values: list[Parts] = []

    @property
    def offset(self) -> mx.array:
        """(rows,): the position of the token to come."""
        return self._batch.offsets

    def make_mask(self, tokens: int, return_array: bool = False, window_size: Any = None) -> Any:  # noqa: ANN401
        """See `mlx_lm.models.base.create_attention_mask`.

        Raises:
            NotImplementedError: the model wants more than plain attention; it is not for us then.
        """
        if tokens != 1 or return_array or window_size is not None:
            raise NotImplementedError("only plain attention over one token")
        return self._batch.masks

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Any, Any]:
        """Put in the token to come; what attention then reads, see `_attention`."""
        first = 0
        for i, group in enumerate(self._batch.groups):
            rows = slice(first, first + group.rows)
            self.keys[i] = _put(self.keys[i], group, keys[rows])
            self.values[i] = _put(self.values[i], group, values[rows])
            first += group.rows
        return _Read(self._batch, self.keys), self.values

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(part.nbytes for parts in (*self.keys, *self.values) for part in parts)


@dataclass(slots=True)
class _Read:
    batch: "GroupedCaches"
    keys: list[Parts]


class GroupedCaches:
    """The caches of all rows of a batch; rows lie in the order of their groups."""

    def __init__(self, layers: int) -> None:
        self.groups: list[Group] = []
        self.layers = [LayerCache(self) for _ in range(layers)]
        self.offsets = mx.array([])
        self.masks: list[mx.array | None] = []
        base.quantized_scaled_dot_product_attention = _attention

    def begin(self) -> None:
        """Before a forward pass."""
        self.offsets = mx.array([g.end - p for g in self.groups for p in g.padding])
        self.masks = [group.mask() for group in self.groups]

    def advance(self) -> None:
        """After a forward pass: each row has one token more."""
        for group in self.groups:
            group.end += 1

    def join(self, arrived: Arrived, precision: Precision, bucket: int) -> int:
        """Take rows in; returns the place of the first of them among all rows.

        Nobody is padded to a multiple of the own length: rows of one bucket, which says how long
        they may become, can be in several groups.
        """
        first = 0
        for i, group in enumerate(self.groups):
            first += group.rows
            if (group.precision, group.bucket) == (precision, bucket) and _near(group, arrived):
                self._widen(i, arrived)
                return first
        self.groups.append(Group(precision, bucket, list(arrived.padding), arrived.end))
        for layer, keys, values in zip(self.layers, arrived.keys, arrived.values, strict=True):
            layer.keys.append(keys)
            layer.values.append(values)
        return first

    def _widen(self, i: int, arrived: Arrived) -> None:
        group = self.groups[i]
        end = max(group.end, arrived.end)
        ours, theirs = end - group.end, end - arrived.end
        for layer, keys, values in zip(self.layers, arrived.keys, arrived.values, strict=True):
            layer.keys[i] = _stack(layer.keys[i], group.end, ours, keys, arrived.end, theirs)
            layer.values[i] = _stack(layer.values[i], group.end, ours, values, arrived.end, theirs)
            _settle(layer, i)
        group.padding = [p + ours for p in group.padding] + [p + theirs for p in arrived.padding]
        group.end = end

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows (places among all, rising)."""
        first = 0
        for i in range(len(self.groups)):
            last = first + self.groups[i].rows
            self._keep_in_group(i, [row - first for row in rows if first <= row < last])
            first = last
        alive = [i for i, group in enumerate(self.groups) if group.rows]
        if len(alive) < len(self.groups):
            self.groups = [self.groups[i] for i in alive]
            for layer in self.layers:
                layer.keys = [layer.keys[i] for i in alive]
                layer.values = [layer.values[i] for i in alive]

    def _keep_in_group(self, i: int, rows: list[int]) -> None:
        group = self.groups[i]
        if len(rows) == group.rows:
            return
        group.padding = [group.padding[row] for row in rows]
        cut = min(group.padding, default=0)
        group.padding = [padding - cut for padding in group.padding]
        group.end -= cut
        if not rows:
            return
        chosen = mx.array(rows)
        for layer in self.layers:
            layer.keys[i] = tuple(part[chosen][:, :, cut:] for part in layer.keys[i])
            layer.values[i] = tuple(part[chosen][:, :, cut:] for part in layer.values[i])
            _settle(layer, i)

    def extract(self, row: int, tokens: int) -> list[Any]:
        """The first `tokens` tokens of a row, as mlx-lm's caches of one row, unquantised."""
        for i, group in enumerate(self.groups):  # noqa: B007 - the one that holds the row
            if row < group.rows:
                break
            row -= group.rows
        first = group.padding[row]
        span = slice(first, min(first + tokens, group.end))
        return [self._one(layer, i, row, span) for layer in self.layers]

    def _one(self, layer: LayerCache, i: int, row: int, span: slice) -> KVCache:
        precision = self.groups[i].precision
        cache = KVCache()
        keys, values = (
            tuple(part[row : row + 1, :, span] for part in parts)
            for parts in (layer.keys[i], layer.values[i])
        )
        cache.keys = mx.contiguous(unpack(keys, precision))
        cache.values = mx.contiguous(unpack(values, precision))
        cache.offset = span.stop - span.start
        return cache

    @property
    def nbytes(self) -> int:
        """Of all layers."""
        return sum(layer.nbytes for layer in self.layers)


def _near(group: Group, arrived: Arrived) -> bool:
    longer, shorter = max(group.end, arrived.end), min(group.end, arrived.end)
    return longer <= shorter + NARROW_TOKENS or longer <= 2 * shorter


def _settle(layer: LayerCache, i: int) -> None:
    """Large arrays are rebuilt a layer at a time, so that the old ones are not all held beside."""
    parts = (*layer.keys[i], *layer.values[i])
    if sum(part.nbytes for part in parts) >= LARGE_BYTES:
        mx.eval(parts)


def _put(parts: Parts, group: Group, values: mx.array) -> Parts:
    end = group.end
    if end == parts[0].shape[2]:
        parts = tuple(_padded(part, 0, STEP_TOKENS - end % STEP_TOKENS) for part in parts)
    for part, new in zip(parts, pack(values, group.precision), strict=True):
        part[..., end : end + 1, :] = new
    return parts


def _padded(part: mx.array, left: int, right: int) -> mx.array:
    return mx.pad(part, [(0, 0), (0, 0), (left, right), (0, 0)]) if left or right else part


def _stack(a: Parts, a_end: int, a_left: int, b: Parts, b_end: int, b_left: int) -> Parts:
    """Both on top of each other, right-justified at their ends, with room to grow."""
    slots = a_end + a_left
    right = -slots % STEP_TOKENS
    return tuple(
        mx.concatenate(
            [
                _padded(x[:, :, :a_end], a_left, right),
                _padded(y[:, :, :b_end], b_left, right),
            ]
        )
        for x, y in zip(a, b, strict=True)
    )


def _attention(
    queries: mx.array,
    keys: Any,  # noqa: ANN401
    values: Any,  # noqa: ANN401
    scale: float,
    mask: Any,  # noqa: ANN401
    group_size: int = 64,
    bits: int = 8,
) -> mx.array:
    """Stands in for mlx-lm's function of this name."""
    if not isinstance(keys, _Read):
        return _quantised_attention(queries, keys, values, scale, mask, group_size, bits)  # type: ignore[no-any-return]
    first, found = 0, []
    for group, k, v, m in zip(keys.batch.groups, keys.keys, values, mask, strict=True):
        mine = queries[first : first + group.rows]
        found.append(_group_attention(mine, group, k, v, scale, m))
        first += group.rows
    return found[0] if len(found) == 1 else mx.concatenate(found)


def _group_attention(
    queries: mx.array, group: Group, keys: Parts, values: Parts, scale: float, mask: mx.array | None
) -> mx.array:
    slots = group.end + 1
    k = tuple(part[:, :, :slots] for part in keys)
    v = tuple(part[:, :, :slots] for part in values)
    precision = group.precision
    if precision.quantised:
        return _quantised_attention(  # type: ignore[no-any-return]
            queries, k, v, scale, mask, precision.group_size, precision.bits
        )
    return mx.fast.scaled_dot_product_attention(queries, k[0], v[0], scale=scale, mask=mask)
