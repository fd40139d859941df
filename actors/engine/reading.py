"""Reads prompts into caches, a chunk at a time; engine thread only."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from actors.engine.adapter import new_caches, quantised, read_alone, read_together, unquantised
from actors.engine.kv.precision import Precision
from actors.engine.reading_cost import pairs
from actors.engine.reading_plan import Pace, Unread, order, plan
from actors.engine.rows import Row
from actors.engine.store.arrivals import Fetch
from actors.engine.store.store import PrefixStore
from transport.prefix import BLOCK_TOKENS, block_hashes

LOGITS_TOKENS = 64  # the model's head runs over all tokens of a pass: dearer than a step for more
LOOK_AHEAD = 32  # prompts whose stored prefixes are fetched before their turn comes
DISK_WAIT_S = 0.02  # while nobody has anything else to do
FORGET_TOKENS = 256  # the allocator's spare memory is given back after chunks of this size


@dataclass(slots=True, eq=False)
class Prompt:
    """A prompt in the queue, for one row or for several that ask the same."""

    rows: list[Row]
    precision: Precision
    hashes: list[int]  # of its blocks
    marks: list[int]  # where a checkpoint is to be kept, rising
    caches: list[Any] = field(default_factory=list)  # empty: not begun
    done: int = 0  # tokens in the caches
    fetch: Fetch | None = None  # of stored blocks from disk

    @property
    def tokens(self) -> list[int]:
        """All of them; the last one is not read here but fed to the batch."""
        return self.rows[0].tokens

    @property
    def unread(self) -> int:
        """How many are left."""
        return len(self.tokens) - 1 - self.done


@dataclass(slots=True)
class ReadPrompts:
    """Prompts that were read to their ends: one with its own caches, or several with batch caches
    (row i from slot `padding[i]` to `end`, where the caches have slots).

    With `logits` (1, vocabulary) the last token was read too, and these choose the first to come.
    """

    prompts: list[Prompt]
    caches: list[Any]
    padding: list[int]
    end: int
    logits: mx.array | None = None


class Reader:
    """The prompts that are not in the batch yet."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        store: PrefixStore | None,
        pace: Pace,
        *,
        group_size: int,
        together: bool,
        eos_token_ids: Iterable[int],
    ) -> None:
        """`together`: prompts of unequal length may share a forward pass."""
        self.prompts: list[Prompt] = []
        self.pace = pace
        self._model = model
        self._store = store
        self._group_size = group_size
        self._together = together
        self._message_ends = frozenset(eos_token_ids)

    def add(self, row: Row) -> None:
        """Queue a row; the same prompt is read once, however many rows ask for it."""
        for prompt in self.prompts:
            first = prompt.rows[0]
            if _terms(first) == _terms(row) and first.tokens == row.tokens:
                prompt.rows.append(row)
                row.cached = first.cached
                return
        self.prompts.append(
            Prompt([row], Precision(row.bits, self._group_size), self._hashes(row), [])
        )

    def drop(self, row: Row) -> bool:
        """Take a row out; False when it is not here."""
        for prompt in self.prompts:
            if row in prompt.rows:
                prompt.rows.remove(row)
                if not prompt.rows:
                    self.prompts.remove(prompt)
                return True
        return False

    def step(self, *, decoding: bool) -> ReadPrompts | None:
        """Read a chunk; what is complete now. `decoding`: others wait for it."""
        if self._store is not None:
            self._store.land()
        ready = self._ready()
        if not ready:
            if self._store is not None and not decoding:
                self._store.wait(DISK_WAIT_S)
            return None
        views = [self._view(prompt) for prompt in ready]
        chunk = self.pace.chunk_tokens(views[0].done, decoding=decoding)
        chosen = [(ready[place], count) for place, count in plan(views, chunk)]
        if len(chosen) > 1:
            return self._measured(chosen, lambda: self._read_all(chosen))
        prompt, count = chosen[0]
        # Who comes alone to an idle model gets the first token from the pass that reads the prompt.
        if not decoding and count == prompt.unread <= LOGITS_TOKENS and not prompt.marks:
            return self._measured(chosen, lambda: self._read_whole(prompt))
        return self._measured(chosen, lambda: self._read_one(prompt, count))

    def _measured(
        self, chosen: list[tuple[Prompt, int]], read: Callable[[], ReadPrompts | None]
    ) -> ReadPrompts | None:
        before = [prompt.done for prompt, _ in chosen]
        began = time.perf_counter()
        found = read()
        took_s = time.perf_counter() - began
        counts = [prompt.done - done for (prompt, _), done in zip(chosen, before, strict=True)]
        tokens = sum(counts)
        if tokens:
            self.pace.measured(tokens, sum(map(pairs, counts, before)), took_s)
        if tokens >= FORGET_TOKENS:
            mx.clear_cache()
        return found

    @property
    def nbytes(self) -> int:
        """Of the caches of half-read prompts."""
        begun = (prompt for prompt in self.prompts if prompt.done)
        return sum(cache.nbytes for prompt in begun for cache in prompt.caches)

    def _view(self, prompt: Prompt) -> Unread:
        alone = not self._together or prompt.precision.quantised or bool(prompt.marks)
        return Unread(prompt.rows[0].arrived_at, prompt.unread, prompt.done, alone)

    def _hashes(self, row: Row) -> list[int]:
        store = self._store
        if store is None or not store.cuttable or not row.stored:
            return []
        return block_hashes(row.tokens[:-1], row.salt, BLOCK_TOKENS)

    def _ready(self) -> list[Prompt]:
        """Those that were begun, and the first of the others, in order. A prompt whose next blocks
        are just being read for another one, or from disk, waits for them."""
        views = [self._view(prompt) for prompt in self.prompts]
        ready: list[Prompt] = []
        for place in order(views, self.pace.cost.token_s)[:LOOK_AHEAD]:
            prompt = self.prompts[place]
            if not prompt.caches and not self._must_wait(prompt, ready):
                self._begin(prompt)
            if prompt.caches:
                ready.append(prompt)
        found = order([self._view(prompt) for prompt in ready], self.pace.cost.token_s)
        return [ready[place] for place in found]

    def _must_wait(self, prompt: Prompt, ready: list[Prompt]) -> bool:
        return self._is_coming(prompt) or self._is_promised(prompt, ready)

    def _is_coming(self, prompt: Prompt) -> bool:
        """Whether stored blocks of it are on their way from disk."""
        if self._store is None or not self._takes_stored(prompt.rows[0]):
            return False
        now = time.monotonic()
        if prompt.fetch is None:
            prompt.fetch = self._store.fetch(prompt.tokens, prompt.rows[0].salt, now)
        return self._store.is_coming(prompt.fetch, now)

    def _is_promised(self, prompt: Prompt, ready: list[Prompt]) -> bool:
        if self._store is None or not prompt.hashes or not self._takes_stored(prompt.rows[0]):
            return False
        return any(
            _common(prompt.hashes, other.hashes) * BLOCK_TOKENS > other.done for other in ready
        )

    def _takes_stored(self, row: Row) -> bool:
        """What was quantised is not what was computed, so an answer that was begun elsewhere would
        not go on as it began."""
        lossy = self._store is not None and self._store.lossy and row.resumed > 0
        return self._store is not None and row.stored and not lossy

    def _begin(self, prompt: Prompt) -> None:
        if self._store is not None and self._takes_stored(prompt.rows[0]):
            with self._store.match(prompt.tokens, prompt.rows[0].salt) as match:
                prompt.caches = quantised(match.caches(), prompt.precision)
                prompt.done = match.tokens
            if not self._store.cuttable:
                prompt.marks = self._message_marks(prompt)
        if not prompt.caches:
            prompt.caches = new_caches(self._model, prompt.precision)
        for row in prompt.rows:
            row.cached = min(prompt.done, len(row.tokens) - row.resumed)

    def _message_marks(self, prompt: Prompt) -> list[int]:
        """Caches that cannot be cut are kept where messages end: after the first, which others
        may share, and after the last, from where the conversation goes on."""
        ends = [
            place + 1
            for place, token in enumerate(prompt.tokens[:-1])
            if token in self._message_ends and place >= prompt.done
        ]
        return sorted({ends[0], ends[-1]}) if ends else []

    def _read_one(self, prompt: Prompt, count: int) -> ReadPrompts | None:
        if prompt.marks:
            count = min(count, prompt.marks[0] - prompt.done)
        if count:
            read_alone(self._model, prompt.tokens[prompt.done : prompt.done + count], prompt.caches)
            self._read(prompt, count, prompt.caches)
        if prompt.unread:
            return None
        self.prompts.remove(prompt)
        return ReadPrompts([prompt], prompt.caches, [0], prompt.done)

    def _read_whole(self, prompt: Prompt) -> ReadPrompts:
        unread = prompt.tokens[prompt.done :]
        logits = read_alone(self._model, unread, prompt.caches)
        self._read(prompt, len(unread), prompt.caches)
        self.prompts.remove(prompt)
        return ReadPrompts([prompt], prompt.caches, [0], prompt.done, logits)

    def _read_all(self, chosen: list[tuple[Prompt, int]]) -> ReadPrompts:
        prompts = [prompt for prompt, _ in chosen]
        widest = max(prompt.done for prompt in prompts) + max(count for _, count in chosen)
        batch = read_together(
            self._model,
            [prompt.tokens[prompt.done : -1] for prompt in prompts],
            [prompt.caches for prompt in prompts],
        )
        for place, (prompt, count) in enumerate(chosen):
            whole = self._is_worth_storing(prompt, count)
            caches = [cache.extract(place) for cache in batch] if whole else []
            self._read(prompt, count, caches)
            self.prompts.remove(prompt)
        return ReadPrompts(prompts, batch, [widest - prompt.done for prompt in prompts], widest)

    def _is_worth_storing(self, prompt: Prompt, count: int) -> bool:
        """Whether these tokens complete a block, or end a message."""
        if self._store is None or not leaves_prefixes(prompt.rows[0], self._store):
            return False
        if self._store.cuttable:
            return (prompt.done + count) // BLOCK_TOKENS > prompt.done // BLOCK_TOKENS
        return prompt.done + count in prompt.marks

    def _read(self, prompt: Prompt, count: int, caches: list[Any]) -> None:
        store = self._store
        keep = self._is_worth_storing(prompt, count)
        prompt.done += count
        prompt.marks = [mark for mark in prompt.marks if mark > prompt.done]
        if keep and store is not None:
            tokens, salt = prompt.tokens[: prompt.done], prompt.rows[0].salt
            store.insert(tokens, salt, unquantised(caches))


def leaves_prefixes(row: Row, store: PrefixStore) -> bool:
    """Whether what is computed for a row may be stored."""
    return row.stored and store.takes(row.bits)


def _terms(row: Row) -> tuple[str, int, bool, bool]:
    """What rows must agree on to share what is read for one of them."""
    return row.salt, row.bits, row.stored, row.resumed > 0


def _common(a: list[int], b: list[int]) -> int:
    """How many blocks two prompts have in common."""
    count = 0
    for ours, theirs in zip(a, b, strict=False):
        if ours != theirs:
            break
        count += 1
    return count
