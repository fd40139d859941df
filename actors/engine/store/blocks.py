"""Prefixes as blocks of tokens in a tree: for models whose caches can be cut at any token."""

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from actors.engine.store.disk import KEEP_FRACTION
from actors.engine.store.layout import Block, Layout
from actors.engine.store.ledger import Ledger
from actors.engine.store.news import News
from actors.engine.store.spill import Place, Spill
from actors.engine.store.tree import Node, Tree
from transport.prefix import TOKEN_BYTES, next_digest, short_hash


class BlockShelf:
    """Stores whole blocks; uses them whole, or the beginning of the last one.

    With a `spill`, blocks that go are written to disk; `actors.engine.store.arrivals` brings them
    back.
    """

    def __init__(
        self, layout: Layout, bits: Callable[[int], int], news: News, spill: Spill | None
    ) -> None:
        self._tree: Tree[Block] = Tree(layout.block_tokens)
        self._layout = layout
        self._bits = bits
        self._news = news
        self._spill = spill
        self._size = layout.block_tokens * TOKEN_BYTES

    @property
    def ledger(self) -> Ledger[Node[Block]]:
        """What is held."""
        return self._tree.ledger

    def find(self, data: bytes, salt: str) -> tuple[list[Node[Block]], int]:
        """The blocks for the longest stored beginning of `data`, and its tokens."""
        path = self._tree.walk(data, salt)
        tokens = len(path) * self._layout.block_tokens
        node, more = self._tree.partial(path, data, salt)
        if node is not None:
            path.append(node)
        return path, tokens + more

    def caches(self, path: list[Node[Block]], tokens: int) -> list[Any]:
        """Fresh caches of one row."""
        return self._layout.unpack([node.payload for node in path], tokens)

    def add(self, data: bytes, salt: str, caches: list[Any]) -> int:
        """Store the whole blocks that are not there yet."""
        tokens = len(data) // TOKEN_BYTES
        if any(cache.offset < tokens for cache in caches):
            raise ValueError(f"caches of {caches[0].offset} tokens cannot be stored as {tokens}")
        path = self._tree.walk(data, salt)
        starts = range(len(path) * self._size, len(data) - self._size + 1, self._size)
        payloads = self._packed(caches, [at // TOKEN_BYTES for at in starts])
        self._extend(path, salt, [data[at : at + self._size] for at in starts], payloads)
        return len(payloads)

    def _extend(
        self, path: list[Node[Block]], salt: str, keys: list[bytes], new: list[Block]
    ) -> None:
        known = len(path)
        blocks = [(key, block, block.nbytes) for key, block in zip(keys, new, strict=True)]
        self._tree.extend(path, salt, blocks)
        for node in path[known:]:
            self._news.stored(short_hash(node.digest))

    def lacking(self, data: bytes, salt: str) -> tuple[int, Iterator[tuple[Place, int]]]:
        """How many blocks of a prompt are here, and the places and bits of those that are not."""
        path = self._tree.walk(data, salt)
        return len(path), self._wanted(path, data[len(path) * self._size :], salt)

    def put(self, data: bytes, salt: str, first: int, bodies: list[memoryview]) -> bool:
        """Take in blocks of a prompt, from the one with number `first` on, as they were on disk;
        False: one before them is not here any more."""
        path = self._tree.walk(data, salt)
        if self._spill is None or len(path) < first:
            return False
        places = range(len(path), first + len(bodies))  # others may have stored some meanwhile
        keys = [data[i * self._size : (i + 1) * self._size] for i in places]
        depths = [i * self._layout.block_tokens for i in places]
        new = [
            self._spill.block(bodies[i - first], self._bits(depth))
            for i, depth in zip(places, depths, strict=True)
        ]
        self._extend(path, salt, keys, new)
        return True

    def _wanted(
        self, path: list[Node[Block]], rest: bytes, salt: str
    ) -> Iterator[tuple[Place, int]]:
        digest, depth = self._tree.digest_after(path, salt), len(path) * self._layout.block_tokens
        for at in range(0, len(rest) - self._size + 1, self._size):
            key = rest[at : at + self._size]
            digest = next_digest(digest, key)
            yield Place(digest, key, salt), self._bits(depth + at // TOKEN_BYTES)

    def _packed(self, caches: list[Any], starts: list[int]) -> list[Block]:
        found: list[Block] = []
        for bits, group in groupby(starts, self._bits):
            span = list(group)
            stop = span[-1] + self._layout.block_tokens
            found += self._layout.pack(caches, span[0], stop, bits)
        return found

    def stored(self, data: bytes, salt: str) -> list[Node[Block]]:
        """The whole blocks that are there."""
        return self._tree.walk(data, salt)

    def evict_to(self, size: int) -> int:
        """Give up the least recently used blocks until the rest fits; how many."""
        gone: list[Node[Block]] = []
        while self.ledger.bytes > size and (node := self._tree.evict()):
            gone.append(node)
        for node in gone:
            self._news.dropped(short_hash(node.digest))
        if self._spill is not None:
            self._spill.keep((_place(node), node.payload) for node in reversed(gone))
        return len(gone)

    def spill(self, until: float) -> None:
        """Have the most recently used written to disk, while there is time and room."""
        if self._spill is None:
            return
        room = self._spill.tier.max_bytes * KEEP_FRACTION
        fitting: list[tuple[Place, Block]] = []
        for node in self.ledger.recent():
            room -= node.size
            if room < 0:
                break
            fitting.append((_place(node), node.payload))
        self._spill.keep(fitting, until)


def _place(node: Node[Block]) -> Place:
    return Place(node.digest, node.key, node.salt)
