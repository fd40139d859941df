"""Which prompts are read next, and how much of each; pure.

While others decode, a step may read only so many tokens that nobody waits too long for the next
token. Short prompts go before long ones; what a prompt gains by being short is less than what it
loses by having come late, so nobody waits for ever.
"""

from collections.abc import Sequence

from msgspec import Struct

from actors.engine.reading_cost import Cost, CostFit

MIN_CHUNK_TOKENS = 16
FIRST_CHUNK_TOKENS = 512  # while nothing is known
# No chunk should take longer, not even when nobody decodes: cancels and newcomers wait for its end,
# and who makes no progress for long is taken for hung.
MAX_CHUNK_S = 2.0
LEAST_IDLE_TOKENS = 128  # one slow measurement must not make many small steps
SIMILAR_TOKENS = 64  # prompts whose unread parts differ by no more are read together
# Of the wait that is allowed, what chunks are made for: one in a hundred takes half as long again.
_AIM = 0.8
# A prompt's place in the queue is the time of its arrival and this many times its reading time.
PATIENCE = 4.0


class Pace:
    """How much to read at once, by how long it took before. Chunks grow to what running streams can
    wait for, but not so small that the fixed part is most of the work: where even the smallest step
    takes longer than they should wait, a prompt would never end."""

    def __init__(self, max_chunk_tokens: int, max_stall_s: float) -> None:
        self.cost = Cost()
        self._max_chunk_tokens = max_chunk_tokens
        self._stall_s = _AIM * max_stall_s
        self._allowed = 2 * MIN_CHUNK_TOKENS  # when others waited last
        self._fit = CostFit()

    def chunk_tokens(self, depth: int, *, decoding: bool) -> int:
        """How many tokens the next step may read after `depth` others; `decoding`: somebody waits
        for it."""
        known = self.cost.known
        if not decoding:
            in_time = self.cost.tokens_in(MAX_CHUNK_S, depth) if known else FIRST_CHUNK_TOKENS
            return min(max(in_time, LEAST_IDLE_TOKENS), self._max_chunk_tokens)
        # No guesses far beyond what was tried, and a careful beginning.
        affordable = 2 * self._allowed
        if known:
            fixed_s = self.cost.fixed_s
            spare_s = max(self._stall_s - fixed_s, fixed_s)
            affordable = min(self.cost.tokens_in(spare_s, depth), affordable)
        affordable = max(MIN_CHUNK_TOKENS, min(affordable, self._max_chunk_tokens))
        self._allowed = affordable
        return affordable

    def measured(self, tokens: int, pairs: float, took_s: float) -> None:
        """A step read so many tokens in this time; see `reading_cost.pairs`."""
        self.cost = self._fit.measured(tokens, pairs, took_s, self.cost)


class Unread(Struct, frozen=True):
    """A prompt in the queue."""

    arrived_at: float
    unread: int  # tokens still to be read, the last one not among them
    done: int  # tokens that its caches hold
    alone: bool  # cannot share a forward pass


def order(prompts: Sequence[Unread], token_s: float) -> list[int]:
    """The places of the prompts, the next one first."""

    def key(place: int) -> tuple[float, int]:
        prompt = prompts[place]
        return prompt.arrived_at + PATIENCE * prompt.unread * token_s, place

    return sorted(range(len(prompts)), key=key)


def plan(queue: Sequence[Unread], chunk_tokens: int) -> list[tuple[int, int]]:
    """The next forward pass: places in the queue, which is in order, and how much to read of each.

    Several prompts are read together only to their ends and only when little is lost to padding.
    """
    if not queue:
        return []
    first = queue[0]
    if first.alone or first.unread > chunk_tokens:
        return [(0, min(first.unread, chunk_tokens))]
    chosen, widest = [0], first.unread
    for place, prompt in enumerate(queue[1:], 1):
        if not _alike(prompt, first):
            continue
        wider = max(widest, prompt.unread)
        if (len(chosen) + 1) * wider > chunk_tokens:
            break
        chosen.append(place)
        widest = wider
    return [(place, queue[place].unread) for place in chosen]


def _alike(a: Unread, b: Unread) -> bool:
    """Padding costs at most half, or very little."""
    if a.alone:
        return False
    return _near(a.unread, b.unread) and _near(a.done, b.done)


def _near(a: int, b: int) -> bool:
    return abs(a - b) <= SIMILAR_TOKENS or max(a, b) <= 2 * min(a, b)
