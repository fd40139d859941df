"""What limits are told of in the headers of an answer, as OpenAI's API does.

Source: https://platform.openai.com/docs/guides/rate-limits (headers), and the official clients,
which do not try again where `x-should-retry` says so.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

from config.errors import OverLimit, RateLimited, RequestTimeout, ServingError
from config.limits import Allowance, Left

_NAMES = {
    what: tuple(f"x-ratelimit-{of}-{what}" for of in ("limit", "remaining", "reset"))
    for what in ("requests", "tokens")
}
_NONE: Mapping[str, str] = MappingProxyType({})
# Clients would ask again, for their HTTP status, only to be refused or to wait as long once more.
_NOT_AGAIN = OverLimit, RequestTimeout


def limit_headers(of: Allowance | ServingError | None) -> Mapping[str, str]:
    """The headers for an answer (`Answers.allowance`, once it has begun) or for an error.

    For an error that is `Retry-After`, in whole seconds, if asking again may help, and what is
    left if it is about limits. Empty where there are none.
    """
    if of is None:
        return _NONE
    if isinstance(of, Allowance):
        return _left("requests", of.requests) | _left("tokens", of.tokens)
    headers = _retry(of)
    if isinstance(of, RateLimited) and of.allowance is not None:
        headers |= limit_headers(of.allowance)
    return headers


def duration(seconds: float) -> str:
    """As OpenAI writes it: `2ms`, `1.5s`, `1m0s`."""
    if 0 < seconds <= 0.999:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, tenths = divmod(math.ceil(seconds * 10), 600)
    rest = f"{tenths / 10:g}s"
    return f"{minutes}m{rest}" if minutes else rest


def _retry(error: ServingError) -> dict[str, str]:
    if isinstance(error, _NOT_AGAIN):
        return {"x-should-retry": "false"}
    if error.retryable or error.retry_after_s is not None:
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s or 1)))}
    return {}


def _left(what: str, left: Left | None) -> dict[str, str]:
    if left is None:
        return {}
    limit, remaining, reset = _NAMES[what]
    return {limit: str(left.limit), remaining: str(left.remaining), reset: duration(left.reset_s)}
