"""Models that failed, and when each of them may be tried again; pure.

Each failure that follows soon after a try doubles the pause before the next one.
"""

import math

from msgspec import Struct
from msgspec.structs import replace

RETRY_S = 30.0  # the first pause, at most
RETRY_CAP_S = 600.0
SOUND_S = 300.0  # a model that failed so long after its last try begins anew


class _Failure(Struct, frozen=True, kw_only=True):
    reason: str
    pause_s: float
    retry_at: float
    rest_s: int  # as it was told last; 0: it may be tried
    tried_at: float | None = None


class Failures:
    """Remembers the last failure of each model; times are monotonic seconds."""

    def __init__(self, retry_s: float) -> None:
        self._retry_s = retry_s
        self._last: dict[str, _Failure] = {}

    def failed(self, model: str, reason: str, now: float) -> None:
        """It could not be loaded, or its engines are given up."""
        last = self._last.get(model)
        pause_s = self._retry_s
        if last is not None:
            if last.tried_at is None and now < last.retry_at:
                return  # the same failure, told again
            if last.tried_at is None or now - last.tried_at < SOUND_S:
                pause_s = min(2 * last.pause_s, RETRY_CAP_S)
        self._last[model] = _Failure(
            reason=reason, pause_s=pause_s, retry_at=now + pause_s, rest_s=math.ceil(pause_s)
        )

    def tried(self, model: str, now: float) -> None:
        """Its engines are started again, whoever asked for it."""
        last = self._last.get(model)
        if last is not None and last.tried_at is None:
            self._last[model] = replace(last, tried_at=now, rest_s=0)

    def pass_time(self, now: float) -> list[str]:
        """The models for which `rest` says something else than before."""
        changed = []
        for model, last in self._last.items():
            rest_s = max(0, math.ceil(last.retry_at - now))
            if last.tried_at is None and rest_s != last.rest_s:
                self._last[model] = replace(last, rest_s=rest_s)
                changed.append(model)
        return changed

    def rest(self, model: str) -> tuple[str, float] | None:
        """Why it failed, and the seconds until it may be tried; None: it may be."""
        last = self._last.get(model)
        return (last.reason, float(last.rest_s)) if last is not None and last.rest_s else None

    def due(self) -> list[str]:
        """Those that have rested and were not tried since."""
        return [m for m, last in self._last.items() if not last.rest_s and last.tried_at is None]
