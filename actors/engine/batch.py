"""The decoding rows. One step is one forward pass and one sampling of all rows."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import mlx.core as mx

from actors.engine.kv.groups import GroupedCaches
from actors.engine.kv.plain import PlainCaches
from actors.engine.rows import Row, RowMatcher, RowStep
from actors.engine.sampling.sampler import Sampled, Sampler

Masks = Callable[[Sequence[Any]], mx.array | None]


class OnFinished(Protocol):
    """Hears of a row that is complete, while its caches are still there."""

    def __call__(self, row: Row, place: int) -> None:
        """`place`: of the row in the batch."""


class DecodeBatch:
    """Computes the tokens to come while the last ones are being given out."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        caches: GroupedCaches | PlainCaches,
        sampler: Sampler,
        masks: Masks,
        on_finished: OnFinished,
    ) -> None:
        """`masks`: the grammars' words for these matchers, see `actors.engine.grammar`."""
        self.rows: list[Row] = []
        self.caches = caches
        self.fresh = False  # a row's first token waits to be taken
        self._model = model
        self._sampler = sampler
        self._masks = masks
        self._on_finished = on_finished
        self._inputs = mx.array([], dtype=mx.uint32)  # (rows,): what each is fed next
        self._sampled: Sampled | None = None  # not taken yet
        self._sampled_rows: list[Row | None] = []  # None: gone since
        self._joined = False

    def join(self, first: int, rows: Sequence[Row]) -> None:
        """Rows whose caches are in, from place `first`; fed with their prompts' last tokens."""
        last_tokens = mx.array([row.tokens[-1] for row in rows], dtype=mx.uint32)
        before, after = self._inputs[:first], self._inputs[first:]
        self._inputs = mx.concatenate([before, last_tokens, after])
        self.rows[first:first] = rows
        self._joined = True
        self._sampler.arrange(self.rows)

    def leave(self, gone: set[Row]) -> None:
        """Rows that go without an end, or after it."""
        places = [i for i, row in enumerate(self.rows) if row not in gone]
        if len(places) == len(self.rows):
            return
        self.caches.keep(places)
        self.rows = [self.rows[i] for i in places]
        self._inputs = self._inputs[mx.array(places, dtype=mx.uint32)]
        self._sampled_rows = [None if row in gone else row for row in self._sampled_rows]
        self._sampler.arrange(self.rows)

    def take(self) -> list[RowStep]:
        """Give out the tokens that were computed; waits for them."""
        sampled, rows = self._sampled, self._sampled_rows
        if sampled is None:
            return []
        self._sampled, self._sampled_rows, self.fresh = None, [], False
        tokens: list[int] = sampled.tokens.tolist()  # type: ignore[assignment]
        asked = any(row is not None and row.logprobs is not None for row in rows)
        logprobs = sampled.logprobs() if asked else {}
        return [
            RowStep(row, token, row.advance(token), logprobs.get(place))
            for place, (row, token) in enumerate(zip(rows, tokens, strict=True))
            if row is not None
        ]

    def step(self, first: mx.array | None = None) -> list[RowStep]:
        """Start computing the next tokens, give out the ones before if nobody has.

        `first`: the logits (1, vocabulary) after the prompt that all rows have just come from.
        """
        steps: list[RowStep] = []
        if not self.rows:
            return steps
        logits = self._forward() if first is None else mx.repeat(first, len(self.rows), axis=0)
        words = None
        if any(row.matcher is not None for row in self.rows):
            # What may come next depends on the tokens before, the logits do not: meanwhile.
            mx.async_eval(logits)  # type: ignore[no-untyped-call]
            steps = self.take()
            words = self._masks([_live(row.matcher) for row in self.rows])
        sampled = self._sampler.sample(logits, self._positions(), words)
        mx.async_eval(sampled.arrays())  # type: ignore[no-untyped-call]
        steps += self.take()
        self._inputs, self._sampled, self._sampled_rows = sampled.tokens, sampled, list(self.rows)
        self.fresh, self._joined = self._joined, False
        return steps

    def _forward(self) -> mx.array:
        self.caches.begin()
        logits = self._model(self._inputs[:, None], cache=self.caches.layers)[:, -1, :]
        self.caches.advance()
        return logits  # type: ignore[no-any-return]

    def _positions(self) -> list[int]:
        positions = [len(row.tokens) + row.sampled for row in self.rows]
        for row in self.rows:
            row.sampled += 1
        return positions

    def finish(self, steps: Sequence[RowStep]) -> None:
        """Let go of the rows that ended with these steps."""
        ended = {step.row for step in steps if step.finished is not None}
        if not ended:
            return
        for place, row in enumerate(self.rows):
            if row in ended:
                self._on_finished(row, place)
        self.leave(ended)

    @property
    def nbytes(self) -> int:
        """Of the caches."""
        return self.caches.nbytes


def _live(matcher: RowMatcher | None) -> RowMatcher | None:
    """Rows that just ended need no mask."""
    return None if matcher is None or matcher.stopped or matcher.error else matcher
