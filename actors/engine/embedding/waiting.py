"""The texts that wait, and which of them are computed together next; pure.

A batch is padded to its longest text, so only texts of like length go together. Which lengths are
next is said by the text whose turn it is: texts stand in the order of the moment at which they
would be begun if every request had the engine for itself. So the first text of a small request goes
before what a large one, come earlier, has left, and the large one still gets its share.
"""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

R = TypeVar("R")

FIRST_WIDTH = 16
GROWTH = 1.25  # from one class of lengths to the next: padding is at most a fifth of a batch


class Text(Generic[R]):
    """One text of a request, its owner. `wanted` until it is taken or its request ended."""

    __slots__ = ("owner", "place", "tokens", "wanted")

    def __init__(self, owner: R, place: int, tokens: np.ndarray[Any, Any]) -> None:
        self.owner = owner
        self.place = place  # among the texts of its request
        self.tokens = tokens
        self.wanted = True


class Waiting(Generic[R]):
    """All texts that are not computed yet, by class of length."""

    def __init__(self) -> None:
        self.tokens = 0  # of all of them
        self._order = itertools.count()
        self._shelves: dict[int, list[tuple[float, int, int, Text[R]]]] = {}

    def add(self, texts: Sequence[Text[R]], due_at: float, token_s: float) -> None:
        """The texts of a request; `due_at` is when the first would begin, `token_s` what a token
        takes."""
        for text in sorted(texts, key=lambda it: len(it.tokens)):
            size = len(text.tokens)
            shelf = self._shelves.setdefault(width_class(size), [])
            heapq.heappush(shelf, (due_at, size, next(self._order), text))
            self.tokens += size
            due_at += size * token_s

    def drop(self, texts: Sequence[Text[R]]) -> None:
        """Nobody wants these any more; those taken already are left alone."""
        for text in texts:
            if text.wanted:
                text.wanted = False
                self.tokens -= len(text.tokens)

    def take(self, budget_tokens: int) -> list[Text[R]]:
        """The next batch: at most `budget_tokens` with padding, or one text; empty: none waits."""
        for width in list(self._shelves):
            self._clear_top(width)
        if not self._shelves:
            return []
        width = min(self._shelves, key=lambda it: self._shelves[it][0][:3])
        taken: list[Text[R]] = []
        longest = 0
        while width in self._shelves:
            size = self._shelves[width][0][1]
            if taken and max(longest, size) * (len(taken) + 1) > budget_tokens:
                break
            longest = max(longest, size)
            taken.append(heapq.heappop(self._shelves[width])[3])
            self._clear_top(width)
        self.drop(taken)
        return taken

    def _clear_top(self, width: int) -> None:
        """See that the first of a shelf is wanted; a shelf without any goes."""
        shelf = self._shelves[width]
        while shelf and not shelf[0][3].wanted:
            heapq.heappop(shelf)
        if not shelf:
            del self._shelves[width]


def width_class(tokens: int) -> int:
    """The class of a length: the most that a text of it has."""
    width = FIRST_WIDTH
    while width < tokens:
        width = int(width * GROWTH)
    return width
