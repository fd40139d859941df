"""A continuous batch of rows over one model: reads prompts, decodes, remembers prefixes."""

from collections.abc import Iterable
from typing import Any

import mlx.core as mx

from actors.engine.adapter import merged, repeated
from actors.engine.admission import bucket
from actors.engine.batch import DecodeBatch, Masks
from actors.engine.kv.groups import Arrived, GroupedCaches
from actors.engine.kv.plain import PlainCaches
from actors.engine.kv.precision import Parts, nothing
from actors.engine.model import LoadedModel
from actors.engine.reading import Reader, ReadPrompts, leaves_prefixes
from actors.engine.reading_plan import Pace
from actors.engine.rows import Row, RowStep
from actors.engine.sampling.sampler import Sampler
from actors.engine.store.store import PrefixStore
from transport.prefix import BLOCK_TOKENS


class StepGenerator:
    """Rows go in with `add`, tokens come out of `step`; engine thread only."""

    def __init__(
        self, loaded: LoadedModel, pace: Pace, store: PrefixStore | None, masks: Masks
    ) -> None:
        model, card = loaded.model, loaded.card
        self.store = store
        self.reader = Reader(
            model,
            store,
            pace,
            group_size=loaded.group_size,
            together=loaded.batching == "batch",
            eos_token_ids=card.eos_token_ids,
        )
        self._shapes = loaded.shapes
        self._grouped = GroupedCaches(len(loaded.shapes)) if loaded.grouped else None
        self._plain = PlainCaches()
        self.batch = DecodeBatch(
            model,
            self._plain if self._grouped is None else self._grouped,
            Sampler(card.vocab_size),
            masks,
            self._remember,
        )

    def add(self, row: Row) -> None:
        """Put a row in the queue; its prompt is read from the next step on."""
        self.reader.add(row)

    def drop(self, rows: Iterable[Row]) -> None:
        """Take rows out, whatever stage they are in."""
        self.batch.leave({row for row in rows if not self.reader.drop(row)})

    def step(self) -> list[RowStep]:
        """Decode one token of each row and read a chunk of the prompts."""
        steps: list[RowStep] = []
        logits = None
        if self.reader.prompts:
            # Nobody waits for the chunk with a token that is ready.
            steps = self.batch.take()
            self.batch.finish(steps)
            read = self.reader.step(decoding=bool(self.batch.rows))
            if read is not None:
                self._join(read)
                logits = read.logits
        elif self.batch.fresh:
            steps = self.batch.take()
            self.batch.finish(steps)
        more = self.batch.step(logits)
        self.batch.finish(more)
        return steps + more

    def _join(self, read: ReadPrompts) -> None:
        rows = [row for prompt in read.prompts for row in prompt.rows]
        places = [i for i, prompt in enumerate(read.prompts) for _ in prompt.rows]
        if self._grouped is None:
            caches = read.caches if len(read.prompts) > 1 else merged([read.caches])
            if len(rows) > len(read.prompts):
                repeated(caches, places)
            self.batch.join(self._plain.join(caches, len(rows)), rows)
            return
        for size in {bucket(row.final_tokens) for row in rows}:
            chosen = [i for i, row in enumerate(rows) if bucket(row.final_tokens) == size]
            precision = read.prompts[0].precision
            arrived = self._arrived(read, [places[i] for i in chosen])
            first = self._grouped.join(arrived, precision, size)
            self.batch.join(first, [rows[i] for i in chosen])

    def _remember(self, row: Row, place: int) -> None:
        """Keep what was computed for a row that ended, for those who go on from there."""
        fed = len(row.tokens) + row.sampled - 1
        store = self.store
        if store is None or not leaves_prefixes(row, store):
            return
        if store.cuttable and fed // BLOCK_TOKENS <= (len(row.tokens) - 1) // BLOCK_TOKENS:
            return
        tokens = (row.tokens + row.answer)[:fed]
        store.insert(tokens, row.salt, self.batch.caches.extract(place, fed))

    def _arrived(self, read: ReadPrompts, places: list[int]) -> Arrived:
        """What was read, in the form of grouped caches; row i goes on with prompt `places[i]`."""
        precision, everything = read.prompts[0].precision, list(range(len(read.prompts)))
        cut = min(read.padding[place] for place in places)
        rows = None if places == everything else mx.array(places)

        def parts(held: Any, heads: int, width: int, dtype: mx.Dtype) -> Parts:  # noqa: ANN401
            if held is None:  # prompts of one token
                nil = nothing(heads, width, dtype, precision)
                return tuple(mx.repeat(part, len(places), axis=0) for part in nil)
            all_parts = held if isinstance(held, (tuple, list)) else (held,)
            cuts = (part[:, :, cut : read.end] for part in all_parts)
            return tuple(part if rows is None else part[rows] for part in cuts)

        layers = list(zip(read.caches, self._shapes, strict=True))
        return Arrived(
            padding=[read.padding[place] - cut for place in places],
            end=read.end - cut,
            keys=[parts(c.keys, s.heads, s.key_width, s.dtype) for c, s in layers],
            values=[parts(c.values, s.heads, s.value_width, s.dtype) for c, s in layers],
        )

    @property
    def kv_bytes(self) -> int:
        """What the caches of all rows take now; stored prefixes are not among them."""
        return self.batch.nbytes + self.reader.nbytes
