"""The requests that are not in the batch yet: who is next, and who would wait too long."""

import heapq
from collections import deque
from typing import Protocol, TypeVar

WINDOW_S = 10.0
MIN_ENDS = 5  # fewer in the window say nothing about the pace
PRIORITY_S = 1.0
MAX_PRIORITY_S = 30.0


class Queued(Protocol):
    """What the queue needs of a request; times in monotonic seconds."""

    arrived_at: float

    @property
    def resumed(self) -> bool:
        """Whether it waited its turn already, elsewhere."""

    @property
    def prompt_tokens(self) -> int:
        """How much there is to read."""

    @property
    def priority(self) -> int:
        """Lower goes earlier."""


R = TypeVar("R", bound=Queued)


class Ends:
    """How many requests end in a second, lately."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=1000)

    def add(self, now: float) -> None:
        """One more ended."""
        self._times.append(now)

    def wait_s(self, ahead: int, now: float) -> float:
        """How long so many requests will take to make room; 0 when nothing is known."""
        while self._times and self._times[0] < now - WINDOW_S:
            self._times.popleft()
        if len(self._times) < MIN_ENDS:
            return 0.0
        return ahead * (now - self._times[0]) / len(self._times)


def place_at(arrived_at: float, priority: int) -> float:
    """When a request counts as having come: each step of priority is worth a second, and all of
    them together so little that nobody waits for ever."""
    return arrived_at + max(-MAX_PRIORITY_S, min(priority * PRIORITY_S, MAX_PRIORITY_S))


def foremost(queue: list[R], count: int, reading_s_per_token: float) -> list[R]:
    """The first of the queue. Short prompts go before long ones, up to a point: see
    `actors.engine.reading_plan.PATIENCE`, which `reading_s_per_token` has in it. So do those of
    a lower priority: see `place_at`."""

    def key(request: R) -> tuple[bool, float]:
        weight = request.prompt_tokens * reading_s_per_token
        return not request.resumed, place_at(request.arrived_at, request.priority) + weight

    return heapq.nsmallest(count, queue, key)
