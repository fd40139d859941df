"""The prefix store: what was computed for prompts, kept for those that begin alike.

Models whose caches can be cut keep blocks of tokens in a tree, shared by all prompts; the others
keep whole checkpoints. Engine thread only.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import Struct

from actors.engine.store.arrivals import FETCH_S, Arrivals, Fetch
from actors.engine.store.blocks import BlockShelf
from actors.engine.store.checkpoint_shelf import CheckpointShelf
from actors.engine.store.disk import DiskStats, DiskTier
from actors.engine.store.layout import read_layout
from actors.engine.store.ledger import Entry, Ledger
from actors.engine.store.news import News
from actors.engine.store.spill import Spill
from transport.prefix import BLOCK_TOKENS, token_bytes

LONG_TOKENS = 8192
FULL_BITS = 16
_AUTO_BITS = (8, 4)


def stored_bits(setting: str) -> Callable[[int], int]:
    """From `kv_cache.stored_bits` ("auto", "16", "8", "4") to bits by a block's first token."""
    if setting == "auto":
        return lambda depth: _AUTO_BITS[depth >= LONG_TOKENS]
    bits = int(setting)
    return lambda depth: bits


class StoreStats(Struct, frozen=True):
    """Counts since the start, but for what is held now: `entries`, `bytes`, `pinned_bytes`.

    An entry is a block or, for models that cannot be cut, a checkpoint.
    """

    lookups: int
    asked_tokens: int
    hit_tokens: int
    stored_entries: int
    evicted_entries: int
    entries: int
    bytes: int
    pinned_bytes: int
    disk: DiskStats | None


class Shelf(Protocol):
    """One of the two ways to keep prefixes; prompts come as `token_bytes`."""

    @property
    def ledger(self) -> Ledger[Any]:
        """What is held."""
        ...

    def find(self, data: bytes, salt: str) -> tuple[list[Any], int]:
        """The entries for the longest usable beginning of `data`, and its tokens."""
        ...

    def caches(self, path: list[Any], tokens: int) -> list[Any]:
        """Fresh caches of one row with what `find` found."""
        ...

    def add(self, data: bytes, salt: str, caches: list[Any]) -> int:
        """Store what is not there yet; how many entries that were."""
        ...

    def stored(self, data: bytes, salt: str) -> list[Any]:
        """The entries that `data` consists of."""
        ...

    def evict_to(self, size: int) -> int:
        """Give up the least recently used entries until the rest fits; how many."""
        ...

    def spill(self, until: float) -> None:
        """Write to disk what should outlive the process."""
        ...


class Match:
    """What is stored of a prompt; nothing of it is evicted until `release`."""

    def __init__(self, shelf: Shelf, path: list[Entry], tokens: int) -> None:
        self.tokens = tokens  # 0: nothing is stored
        self._shelf, self._path = shelf, path
        shelf.ledger.hold(path)

    def caches(self) -> list[Any]:
        """A fresh cache of one row for each layer, with exactly `tokens` tokens; [] for none.

        Lazy: nothing is computed yet. The caller owns the caches; they stay right after
        `release`, but their memory is counted here only until then.
        """
        return self._shelf.caches(self._path, self.tokens) if self.tokens else []

    def release(self) -> None:
        """Let go of what was found; again does nothing."""
        self._shelf.ledger.release(self._path)
        self._path = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class PrefixStore:
    """Stored prefixes of one model. Holds what it is given until `evict_to` says otherwise.

    Blocks that go are written to `disk`, where there is one, and come back from there with `fetch`,
    in this or any later process; checkpoints do not.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401
        *,
        bits: Callable[[int], int],
        block_tokens: int = BLOCK_TOKENS,
        disk: DiskTier | None = None,
    ) -> None:
        layout = read_layout(model, block_tokens)
        self._block_tokens = block_tokens
        self.cuttable = layout is not None  # False: whole checkpoints only
        self.lossy = self.cuttable and bits(0) < FULL_BITS  # checkpoints stay as they are
        self._least_bits = bits(0) if self.cuttable else FULL_BITS
        self._news = News()
        self._disk = disk
        self._arrivals: Arrivals | None = None
        self._shelf: Shelf
        if layout is None:
            self._shelf = CheckpointShelf(block_tokens, self._news)
        else:
            spill = None if disk is None else Spill(disk, layout)
            self._shelf = blocks = BlockShelf(layout, bits, self._news, spill)
            self._arrivals = None if spill is None else Arrivals(blocks, spill)
        self._pinned: dict[tuple[str, bytes], list[Any]] = {}
        self._lookups = self._asked = self._hit = self._stored = self._evicted = 0

    @property
    def bytes(self) -> int:
        """What all stored arrays take, exactly."""
        return self._shelf.ledger.bytes

    @property
    def pinned_bytes(self) -> int:
        """What of it is pinned."""
        return self._shelf.ledger.pinned_bytes

    def takes(self, bits: int) -> bool:
        """Whether what live caches of so many bits hold is as good as what is kept here."""
        return bits >= self._least_bits

    def fetch(self, tokens: Sequence[int], salt: str, now: float) -> Fetch | None:
        """A wait for what is on disk of `tokens[:-1]` and not in memory; None: there is no disk.

        `now` is `time.monotonic()`. The wait is over when `is_coming` says so, and the prompt can
        be matched then.
        """
        if self._arrivals is None:
            return None
        return Fetch(token_bytes(tokens[:-1]), salt, now + FETCH_S)

    def is_coming(self, fetch: Fetch | None, now: float) -> bool:
        """Whether it is worth waiting; has the files read, and waits for nothing."""
        if fetch is None or self._arrivals is None:
            return False
        return self._arrivals.are_due(fetch, now)

    def land(self) -> None:
        """Take in some of what was read from disk; to be called in every step."""
        if self._arrivals is not None:
            self._arrivals.land()

    def wait(self, within_s: float) -> None:
        """For who has nothing else to do: until something was read, if anything is to come."""
        if self._arrivals is not None:
            self._arrivals.wait(within_s)

    def match(self, tokens: Sequence[int], salt: str) -> Match:
        """The longest beginning of `tokens[:-1]` in memory: one token is always left to compute."""
        data = token_bytes(tokens[:-1])
        path, found = self._shelf.find(data, salt)
        if salt and self._pinned:
            shared, common = _pinned(self._shelf, data, self._block_tokens if self.cuttable else 0)
            if common > found:
                path, found = shared, common
        self._lookups += 1
        self._asked += len(tokens)
        self._hit += found
        return Match(self._shelf, path, found)

    def insert(self, tokens: Sequence[int], salt: str, caches: list[Any]) -> None:
        """Store what is not there yet of these tokens; `caches` (one row) stay the caller's.

        Whole blocks only, or one checkpoint of exactly these tokens. Starts the computation and
        waits for nothing; when it is done, no memory of `caches` is kept.

        Raises:
            ValueError: the caches hold fewer tokens than that.
        """
        self._stored += self._shelf.add(token_bytes(tokens), salt, caches)

    def evict_to(self, bytes_: int) -> None:
        """Drop the least recently used until this fits; never what is matched or pinned."""
        self._evicted += self._shelf.evict_to(bytes_)

    def pin(self, tokens: Sequence[int], salt: str) -> int:
        """Keep what is stored of these tokens until `unpin`; the bytes of it. 0: nothing is."""
        data = token_bytes(tokens)
        path = self._shelf.stored(data, salt)
        self._shelf.ledger.pin(path)
        self.unpin(tokens, salt)
        self._pinned[salt, data] = path
        return sum(entry.size for entry in path)

    def holds(self, tokens: Sequence[int], salt: str) -> bool:
        """Whether every whole block of these tokens is stored, or a checkpoint of exactly them."""
        path = self._shelf.stored(token_bytes(tokens), salt)
        return len(path) == (len(tokens) // self._block_tokens if self.cuttable else 1)

    def unpin(self, tokens: Sequence[int], salt: str) -> None:
        """End the pin of these tokens; unknown ones are no error."""
        self._shelf.ledger.unpin(self._pinned.pop((salt, token_bytes(tokens)), []))

    def news(self) -> tuple[list[int], list[int]]:
        """63-bit block hashes stored and dropped since the last call.

        A prompt's longest stored beginning ends at its last block whose hash is stored: for
        checkpoints only the last block has a name here, not those in front of it.
        """
        return self._news.take()

    def stats(self) -> StoreStats:
        """Counters for metrics."""
        ledger = self._shelf.ledger
        return StoreStats(
            lookups=self._lookups,
            asked_tokens=self._asked,
            hit_tokens=self._hit,
            stored_entries=self._stored,
            evicted_entries=self._evicted,
            entries=len(ledger),
            bytes=ledger.bytes,
            pinned_bytes=self.pinned_bytes,
            disk=self._disk.stats() if self._disk else None,
        )

    def close(self, within_s: float) -> None:
        """Write what is hot to disk, where there is a disk tier, and end its threads."""
        if self._disk is None:
            return
        if self._arrivals is not None:
            self._arrivals.close()
        for path in self._pinned.values():
            self._shelf.ledger.unpin(path)
        self._pinned.clear()
        until = time.monotonic() + within_s
        self._shelf.spill(until)
        self._disk.close(max(0.0, until - time.monotonic()))


def _pinned(shelf: Shelf, data: bytes, block_tokens: int) -> tuple[list[Any], int]:
    """What is pinned without a salt is for everybody: whoever runs the server chose it.

    `block_tokens` 0: checkpoints, which cannot be used in part.
    """
    path, found = shelf.find(data, "")
    pinned = list(itertools.takewhile(lambda entry: entry.pins, path))
    return pinned, found if len(pinned) == len(path) else len(pinned) * block_tokens
