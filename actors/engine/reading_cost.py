"""What reading prompts costs, learnt from the passes so far; pure."""

import math

from msgspec import Struct

_MEMORY = 0.9  # what earlier passes weigh after one more
# Sizes of a pass (the pass itself, its tokens, its pairs) are told in these units. What the passes
# do not tell apart goes to the largest number: to the tokens, when the first prompts are short.
_UNITS = (10.0, 1e2, 1e5)
_TRUST = 1e-3  # in the last estimate, where the passes do not tell
_DRIFT = 0.95  # of the fixed part in that estimate: chunks grow less, and tell
_LEAST_SHARE = 0.1  # noise may say that more tokens take no longer; some of the time is theirs


class Cost(Struct, frozen=True):
    """Of a forward pass: by itself, for each token, and for each token and each one before it
    (attention looks at all of them)."""

    fixed_s: float = 0.0
    token_s: float = 0.0
    pair_s: float = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self.token_s > 0.0 or self.pair_s > 0.0

    def tokens_in(self, seconds: float, depth: int) -> int:
        """How many are read after `depth` others in this time, to which the fixed part is added."""
        each, half = self.token_s + self.pair_s * depth, self.pair_s / 2
        # The positive root of `half * n**2 + each * n = seconds`, in a form that allows half = 0.
        return int(2 * seconds / (each + math.sqrt(each * each + 4 * half * seconds)))


def pairs(tokens: int, depth: int) -> float:
    """How often a token looked at another one, of so many read after `depth` others."""
    return tokens * (depth + tokens / 2)


class CostFit:
    """Least squares over the passes, the latest weighing most; no cost is below 0."""

    def __init__(self) -> None:
        self._products = [[0.0] * 3 for _ in range(3)]
        self._times = [0.0] * 3

    def measured(self, tokens: int, pairs: float, took_s: float, last: Cost) -> Cost:
        """A pass over so many tokens took this time; the new estimate."""
        sizes = [size / unit for size, unit in zip((1, tokens, pairs), _UNITS, strict=True)]
        for i in range(3):
            self._times[i] = _MEMORY * self._times[i] + took_s * sizes[i]
            for j in range(3):
                self._products[i][j] = _MEMORY * self._products[i][j] + sizes[i] * sizes[j]
        fixed, token, pair = self._solved(last)
        if token * sizes[1] + pair * sizes[2] < _LEAST_SHARE * took_s:
            token = _LEAST_SHARE * took_s / sizes[1]
        return Cost(fixed / _UNITS[0], token / _UNITS[1], pair / _UNITS[2])

    def _solved(self, last: Cost) -> list[float]:
        known = (_DRIFT * last.fixed_s, last.token_s, last.pair_s)
        targets = [
            time + _TRUST * cost * unit
            for time, cost, unit in zip(self._times, known, _UNITS, strict=True)
        ]
        free = [0, 1, 2]
        while True:
            found = [0.0, 0.0, 0.0]
            for place, value in zip(free, self._solve(free, targets), strict=True):
                found[place] = value
            lowest = min(free, key=found.__getitem__)
            if found[lowest] >= 0.0:
                return found
            free.remove(lowest)

    def _solve(self, free: list[int], targets: list[float]) -> list[float]:
        """Gauss on some of the unknowns; the matrix is positive definite, so no pivot is 0."""
        rows = [
            [self._products[i][j] + (_TRUST if i == j else 0.0) for j in free] + [targets[i]]
            for i in free
        ]
        for i, row in enumerate(rows):
            for other in rows[i + 1 :]:
                share = other[i] / row[i]
                other[i:] = [b - share * a for a, b in zip(row[i:], other[i:], strict=True)]
        found: list[float] = []
        for i, row in reversed(list(enumerate(rows))):
            rest = sum(a * b for a, b in zip(row[i + 1 : -1], found, strict=True))
            found.insert(0, (row[-1] - rest) / row[i])
        return found
