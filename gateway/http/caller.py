"""Who asks, as HTTP tells it."""

import hashlib
import re

from config.errors import InvalidRequest
from gateway.http.answers import GOOD_ID
from gateway.http.server.exchange import Request
from gateway.http.sse import Patience
from gateway.service import Caller

MAX_SESSION = 128  # characters of an affinity key, which goes from process to process
SESSION, TIMEOUT = "X-Session-ID", "X-Request-Timeout"
SECONDS = r"[0-9]{1,9}(\.[0-9]{1,9})?"


def caller_of(
    request: Request, endpoint: str, *sessions: str | None, stream: bool | None = False
) -> Caller:
    """Who asks; `sessions` are what names the affinity key where its header does not, best first.
    With `stream` they hear of it when their model takes long to load.

    Raises:
        InvalidRequest: a header is not what it may be.
    """
    session = _session(request)
    if session is None:
        for name in sessions:
            if name:
                session = _short(name)
                break
    identity, arrived_at = request.identity, request.arrived_at
    on_wait = Patience(request).show if stream else None
    return Caller(endpoint, session, _timeout_s(request), arrived_at, identity, on_wait)


def _short(key: str) -> str:
    """The key, or what stands for a long one."""
    return key if len(key) <= MAX_SESSION else hashlib.blake2b(key.encode()).hexdigest()


def _session(request: Request) -> str | None:
    """The affinity key that the client chose; headers may hold any bytes, a key may not."""
    given = request.header(SESSION)
    if given and not GOOD_ID.fullmatch(given):
        raise InvalidRequest(
            f"{SESSION} must be 1 to 128 printable ASCII characters", param=SESSION
        )
    return given or None


def _timeout_s(request: Request) -> float | None:
    """How long the client waits."""
    given = request.header(TIMEOUT)
    if given is None:
        return None
    if not re.fullmatch(SECONDS, given) or float(given) == 0:
        raise InvalidRequest(
            f"{TIMEOUT} must be a number of seconds over 0, such as 30 or 2.5", param=TIMEOUT
        )
    return float(given)
