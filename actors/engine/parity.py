"""The self-check at load: does this model, in a batch, compute what it computes alone?

Some architectures give wrong numbers when prompts of unequal length share a batch. A model that
fails is served so that it does not happen, and says so.
"""

from collections.abc import Callable
from typing import Any, Literal

import mlx.core as mx

from actors.engine.adapter import (
    can_batch,
    is_cuttable,
    merged,
    new_caches,
    read_alone,
    read_together,
)
from actors.engine.kv.groups import Arrived, GroupedCaches
from actors.engine.kv.plain import PlainCaches
from actors.engine.kv.precision import FULL, Parts, Precision
from actors.engine.windows import shorten

Batching = Literal["batch", "prefill_alone", "serial"]
Logits = list[list[mx.array]]  # by prompt: after it, and after each forced token

# Rounding differs between batch shapes: about 1e-6 in float32 and 1e-2 in bfloat16, of the norm.
# A wrong mask or position gives errors of order 1.
TOLERANCE = 0.08
# Quantised caches need only work at all: 8 bits cost about 0.01, 4 bits up to 0.3.
QUANTISED_TOLERANCE = {8: 0.3, 4: 0.5}
# Sliding windows are made so short that one prompt is longer, one outgrows it by its answer, and
# one stays within: thousands of tokens would show nothing else.
_WINDOW = 6
_PROMPT_LENGTHS = (3, 11, 5)
_FORCED = 2


# The ways in which architectures, and kernels that do not exist for a shape, refuse.
_SAYS_NO = (
    ValueError, TypeError, AttributeError, NotImplementedError, IndexError, RuntimeError,
)  # fmt: skip


class Sample:
    """Made-up sequences, and what the model says to each of them alone."""

    def __init__(self, model: Any, vocab_size: int) -> None:  # noqa: ANN401
        self.model = model
        self.prompts = [_tokens(i, length, vocab_size) for i, length in enumerate(_PROMPT_LENGTHS)]
        self.forced = _tokens(7, _FORCED, vocab_size)
        self.alone = [self._alone(place) for place in range(len(self.prompts))]

    def _alone(self, place: int) -> list[mx.array]:
        caches = self.read(place)
        return [read_alone(self.model, [token], caches)[0] for token in self.fed(place)]

    def caches(self, precision: Precision = FULL) -> list[Any]:
        """For one sequence."""
        caches = new_caches(self.model, precision)
        shorten(caches, _WINDOW)
        return caches

    def read(self, place: int, precision: Precision = FULL) -> list[Any]:
        """The caches after one of the prompts, but for its last token."""
        caches = self.caches(precision)
        read_alone(self.model, self.prompts[place][:-1], caches)
        return caches

    def fed(self, place: int) -> list[int]:
        """What a row is fed after that, token by token."""
        return [self.prompts[place][-1], *self.forced]

    def agrees(self, compute: Callable[["Sample"], Logits], tolerance: float = TOLERANCE) -> bool:
        """Whether this way of computing them all gives the same."""
        try:
            found = compute(self)
            distances = [
                _distance(single, other)
                for singles, others in zip(self.alone, found, strict=True)
                for single, other in zip(singles, others, strict=True)
            ]
            farthest: float = mx.max(mx.stack(distances)).item()  # type: ignore[assignment]
        except _SAYS_NO:
            return False
        return farthest < tolerance


def check_batching(sample: Sample) -> Batching:
    """How this model may be batched: fully, with prompts read one by one, or not at all."""
    if not can_batch(sample.model) or not sample.agrees(_staggered):
        return "serial"
    return "batch" if sample.agrees(_together) else "prefill_alone"


def check_groups(sample: Sample, precision: Precision = FULL) -> bool:
    """Whether its attention works by groups of rows (`actors.engine.kv.groups`)."""
    if not is_cuttable(sample.model):
        return False
    tolerance = QUANTISED_TOLERANCE.get(precision.bits, TOLERANCE)
    return sample.agrees(lambda s: _grouped(s, precision), tolerance)


def _staggered(sample: Sample) -> Logits:
    """Each prompt read by itself; its row joins when those before it have come on by a token, and
    leaves at its end."""
    caches, running = PlainCaches(), list[int]()
    found: Logits = [[] for _ in sample.prompts]
    for place in range(len(sample.prompts) + _FORCED):
        if place < len(sample.prompts):
            caches.join(merged([sample.read(place)]), 1)
            running.append(place)
        tokens = [sample.fed(row)[len(found[row])] for row in running]
        logits = sample.model(mx.array(tokens)[:, None], cache=caches.layers)[:, -1]
        for row, mine in zip(running, logits, strict=True):
            found[row].append(mine)
        stay = [i for i, row in enumerate(running) if len(found[row]) <= _FORCED]
        caches.keep(stay)
        running = [running[i] for i in stay]
    return found


def _together(sample: Sample) -> Logits:
    """All prompts read in one pass."""
    fresh = [sample.caches() for _ in sample.prompts]
    batch = read_together(sample.model, [prompt[:-1] for prompt in sample.prompts], fresh)
    return _in_step(sample, lambda tokens: sample.model(tokens, cache=batch))


def _grouped(sample: Sample, precision: Precision) -> Logits:
    """Two rows in a full group and one in a group of `precision`."""
    groups: GroupedCaches | None = None
    for place, held in enumerate((FULL, FULL, precision)):
        caches = sample.read(place, held)
        states = [cache.keys_and_values() for cache in caches]
        end = len(sample.prompts[place]) - 1
        keys, values = ([_parts(state[i]) for state in states] for i in (0, 1))
        groups = groups or GroupedCaches(len(caches))
        groups.join(Arrived([0], end, keys, values), held, bucket=place // 2)
    assert groups is not None
    return _in_step(sample, lambda tokens: _step(sample.model, groups, tokens))


def _parts(held: Any) -> Parts:  # noqa: ANN401
    return tuple(held) if isinstance(held, (tuple, list)) else (held,)


def _step(model: Any, groups: GroupedCaches, tokens: mx.array) -> mx.array:  # noqa: ANN401
    groups.begin()
    logits: mx.array = model(tokens, cache=groups.layers)
    groups.advance()
    return logits


def _in_step(sample: Sample, forward: Callable[[mx.array], mx.array]) -> Logits:
    """All rows at once, from the last tokens of their prompts on."""
    rows = range(len(sample.prompts))
    steps = zip(*(sample.fed(row) for row in rows), strict=True)
    found = [forward(mx.array(tokens)[:, None])[:, -1] for tokens in steps]
    return [[logits[row] for logits in found] for row in rows]


def _tokens(salt: int, length: int, vocab_size: int) -> list[int]:
    """Fixed, spread-out token ids."""
    return [(2654435761 * (salt * 64 + i + 1) >> 7) % vocab_size for i in range(length)]


def _distance(expected: mx.array, found: mx.array) -> mx.array:
    """The norm of the difference, relative to the expected one's."""
    a, b = expected.astype(mx.float32), found.astype(mx.float32)
    return mx.linalg.norm(a - b) / (mx.linalg.norm(a) + 1e-9)
