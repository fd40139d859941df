"""Coarse timers, one an item at most, for very many items."""

from collections.abc import Hashable
from typing import Generic, TypeVar

TICK_S = 0.05

T = TypeVar("T", bound=Hashable)


class TimerWheel(Generic[T]):
    """Items by the tick in which they are due; setting and taking out cost the same for any number.

    Nothing is due early, and nothing later than one tick plus the time between two calls of `due`.
    """

    def __init__(self) -> None:
        self._slots: dict[int, set[T]] = {}
        self._slot_of: dict[T, int] = {}
        self._done = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, item: T, at: float) -> None:
        """The item is due at `at` and at no other time."""
        slot = int(at / TICK_S) + 1
        if slot <= self._done:
            slot = self._done + 1
        before = self._slot_of.get(item)
        if before == slot:
            return
        if before is not None:
            self._take(item, before)
        self._slot_of[item] = slot
        items = self._slots.get(slot)
        if items is None:
            self._slots[slot] = {item}
        else:
            items.add(item)

    def discard(self, item: T) -> None:
        """The item is never due."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            self._take(item, slot)

    def due(self, now: float) -> list[T]:
        """Takes out and returns what is due."""
        current = int(now / TICK_S)
        # After a long rest there are fewer slots than ticks to look at.
        passed = range(self._done + 1, current + 1)
        slots = passed if len(passed) < len(self._slots) else sorted(self._slots)
        found: list[T] = []
        for slot in slots:
            if slot <= current:
                found += self._slots.pop(slot, ())
        self._done = max(self._done, current)
        for item in found:
            del self._slot_of[item]
        return found

    def _take(self, item: T, slot: int) -> None:
        items = self._slots[slot]
        items.discard(item)
        if not items:
            del self._slots[slot]
