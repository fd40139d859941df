"""Which web pages may ask from a browser, and the headers that tell the browser so."""

import re
from collections.abc import Collection

_EXPOSED = (
    "Retry-After, X-Request-ID, request-id, x-should-retry, "
    "X-RateLimit-Limit-Requests, X-RateLimit-Limit-Tokens, "
    "X-RateLimit-Remaining-Requests, X-RateLimit-Remaining-Tokens, "
    "X-RateLimit-Reset-Requests, X-RateLimit-Reset-Tokens"
)
_METHODS = "GET, POST, DELETE, OPTIONS"
_MAX_AGE_S = 600
# Names of headers, as browsers list them; the clients of the APIs send many of their own.
_HEADER_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*,\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_MAX_NAMES = 2048


class Cors:
    """The rules of one server; `origins` may have `*`, which is every page. Pure.

    Cookies play no part: keys are sent in headers, which a page can only do if it knows them.
    """

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.lower() for origin in origins)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may ask and read the answers."""
        return self._any or origin.lower() in self._origins

    def headers(self, origin: str | None) -> dict[str, str]:
        """What every answer carries, refusals too; `origin` is the request's header."""
        if not self._origins:
            return {}
        if self._any:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": _EXPOSED}
        if origin is None or not self.allows(origin):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _EXPOSED,
            "Vary": "Origin",
        }

    def preflight(
        self, origin: str | None, method: str | None, asked_headers: str | None
    ) -> dict[str, str] | None:
        """The headers of the 204 to an `OPTIONS` request, which needs no key; None: not allowed,
        or no preflight.

        `method` and `asked_headers` are its `Access-Control-Request-Method` and `-Headers`.
        """
        if origin is None or method is None or not self.allows(origin):
            return None
        answer = {
            **self.headers(origin),
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Max-Age": str(_MAX_AGE_S),
        }
        answer.pop("Access-Control-Expose-Headers")
        if asked_headers and len(asked_headers) <= _MAX_NAMES:
            names = asked_headers.strip()
            if _HEADER_NAMES.fullmatch(names):
                answer["Access-Control-Allow-Headers"] = names
        return answer
