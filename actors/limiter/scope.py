"""One key or one tenant: what it may use, what it uses, and what it lacks for more; pure."""

from typing import Literal

from msgspec import Struct

from actors.limiter.bucket import Bucket
from config.errors import OverLimit, RateLimited
from config.limits import KeyLimits, Left

_NOTHING = (None, None, None)
STREAM_RETRY_S = 1.0  # nobody knows when a stream will end

Kind = Literal["key", "tenant"]
Limit = Literal["requests", "tokens", "streams"]


class Cost(Struct, frozen=True):
    """What a request takes of each limit; tokens are those it may come to at most."""

    requests: int
    tokens: int
    streams: int


class Lack(Struct, frozen=True):
    """Which limit of whom does not let a request through."""

    kind: Kind
    limit: Limit
    error: RateLimited


class Scope:
    """The buckets and the running streams of a key or of a tenant."""

    __slots__ = ("kind", "limits", "requests", "streams", "tokens")

    def __init__(self, kind: Kind, limits: KeyLimits, now: float) -> None:
        self.kind = kind
        self.limits = KeyLimits()
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.streams = 0
        self.change(limits, now)

    def change(self, limits: KeyLimits, now: float) -> None:
        """The limits are these from now on."""
        self.limits = limits
        self.requests = _changed(self.requests, limits.requests_per_minute, now)
        self.tokens = _changed(self.tokens, limits.tokens_per_minute, now)

    def take(self, cost: Cost, now: float) -> None:
        """Take it, whether it is there or not."""
        self.streams += cost.streams
        if self.requests is not None:
            self.requests.take(cost.requests, now)
        if self.tokens is not None:
            self.tokens.take(cost.tokens, now)

    def settle(self, cost: Cost, used_tokens: int, now: float) -> None:
        """What was taken has ended and came to so many tokens; without any all is given back."""
        self.streams -= cost.streams
        if self.requests is not None and not used_tokens:
            self.requests.give_back(cost.requests, now)
        if self.tokens is not None:
            self.tokens.give_back(cost.tokens - used_tokens, now)

    def idle(self, now: float) -> bool:
        """Whether a new one would be just the same."""
        buckets = (self.requests, self.tokens)
        return not self.streams and all(b is None or b.has(b.size, now) for b in buckets)

    def lack(self, cost: Cost, now: float) -> Lack | None:
        """What has to be waited for longest; None: nothing."""
        found = (self._requests(cost, now), self._tokens(cost, now), self._streams(cost))
        return None if found == _NOTHING else worst([it for it in found if it is not None])

    def _requests(self, cost: Cost, now: float) -> Lack | None:
        bucket = self.requests
        if bucket is None or bucket.has(cost.requests, now):
            return None
        wait_s = bucket.wait_s(cost.requests, now)
        text = f"this {self.kind} may make {bucket.size} requests a minute; {_again(wait_s)}"
        return Lack(self.kind, "requests", RateLimited(text, retry_after_s=wait_s))

    def _tokens(self, cost: Cost, now: float) -> Lack | None:
        bucket = self.tokens
        if bucket is None or not cost.tokens or bucket.has(cost.tokens, now):
            return None
        most = f"this {self.kind} may use {bucket.size} tokens a minute"
        text = f"{most}; this request may take {cost.tokens}, its prompt and its max_tokens"
        if cost.tokens > bucket.size:
            text = f"{text}, so it can never be let through; ask for fewer or shorten the prompt"
            return Lack(self.kind, "tokens", OverLimit(text, param="max_tokens"))
        wait_s = bucket.wait_s(cost.tokens, now)
        text = f"{text}, and {bucket.left(now).remaining} are left; {_again(wait_s)}"
        return Lack(self.kind, "tokens", RateLimited(text, retry_after_s=wait_s))

    def _streams(self, cost: Cost) -> Lack | None:
        most = self.limits.concurrent_streams
        if most is None or not cost.streams or self.streams + cost.streams <= most:
            return None
        text = f"this {self.kind} may have {most} answers written at a time"
        if cost.streams > most:
            text = f"{text}, this request asks for {cost.streams}; ask for fewer at once"
            return Lack(self.kind, "streams", OverLimit(text, param="n"))
        text = f"{text}, and {self.streams} are; {_again(STREAM_RETRY_S)}"
        return Lack(self.kind, "streams", RateLimited(text, retry_after_s=STREAM_RETRY_S))


def worst(lacks: list[Lack]) -> Lack | None:
    """The one that lasts longest; one that never ends before all others."""

    def lasts(lack: Lack) -> tuple[bool, float]:
        return isinstance(lack.error, OverLimit), lack.error.retry_after_s or 0.0

    return max(lacks, key=lasts, default=None)


def tightest(left: list[Left]) -> Left | None:
    """The one of which least remains."""
    if len(left) < 2:  # almost always
        return left[0] if left else None
    return min(left, key=lambda it: it.remaining)


def _changed(bucket: Bucket | None, size: int | None, now: float) -> Bucket | None:
    if size is None:
        return None
    if bucket is None:
        return Bucket(size, now)
    if bucket.size != size:
        bucket.resize(size, now)
    return bucket


def _again(wait_s: float) -> str:
    return f"try again in {max(wait_s, 0.001):.3g} s"
