"""A token bucket; pure: time comes with every call."""

from config.limits import Left

MINUTE_S = 60.0
_ROUNDING = 1e-6  # of sums of parts of a token


class Bucket:
    """Holds as much as comes back in a minute, steadily, and is full at first.

    So in any time no more is taken, less what is given back, than comes back in it and `size`.
    """

    __slots__ = ("_at", "_level", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self._level = float(size)
        self._at = now

    def has(self, amount: float, now: float) -> bool:
        """Whether so much is there."""
        return self._refill(now) + _ROUNDING >= amount

    def take(self, amount: float, now: float) -> None:
        """Take it out, there or not: what is missing comes back before anything can be taken."""
        self._level = self._refill(now) - amount

    def give_back(self, amount: float, now: float) -> None:
        """Not so much was needed; nothing is kept above the size."""
        self._level = min(self._refill(now) + amount, float(self.size))

    def wait_s(self, amount: float, now: float) -> float:
        """Until so much is there; `amount` is no more than the size."""
        return self._back_s(amount - self._refill(now))

    def left(self, now: float) -> Left:
        """What is there, in whole tokens, and when all will be."""
        level = self._refill(now)
        remaining = int(max(level + _ROUNDING, 0.0))
        return Left(self.size, remaining, self._back_s(self.size - level))

    def resize(self, size: int, now: float) -> None:
        """From now on it is larger or smaller; what was taken stays taken."""
        self._level = self._refill(now) + size - self.size
        self.size = size

    def _back_s(self, missing: float) -> float:
        return max(0.0, missing) * MINUTE_S / self.size

    def _refill(self, now: float) -> float:
        if now > self._at:
            gained = (now - self._at) * self.size / MINUTE_S
            self._level = min(self._level + gained, float(self.size))
            self._at = now
        return self._level
