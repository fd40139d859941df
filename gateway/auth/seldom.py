"""What may happen very often and is to be told now and then."""

import math


class Seldom:
    """Says when to tell of something, at most once in `pause_s`. Pure."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._tell_at = -math.inf
        self._times = 0

    def times(self, now: float) -> int:
        """It happened once more: how often since it was told of last; 0: do not tell of it now."""
        self._times += 1
        if now < self._tell_at:
            return 0
        times, self._times = self._times, 0
        self._tell_at = now + self._pause_s
        return times
