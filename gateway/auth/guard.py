"""The door: who may come in, by API key, by signed token, or because only this machine can."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from config.errors import Forbidden, Unauthenticated
from config.settings import AuthSettings, JwtSettings
from gateway.auth.cors import Cors
from gateway.auth.identity import LOCAL, Headers, Identity, KeyLimits, Role
from gateway.auth.key_ring import KeyRing
from gateway.auth.keys import PREFIX
from gateway.auth.pages import PageGuard

if TYPE_CHECKING:
    from gateway.auth.tokens import Tokens

_NO_KEY = "no API key: send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'"


class Guard:
    """The authenticator that the settings ask for; event loop only.

    With neither keys nor tokens configured everybody is `LOCAL`, but for web pages that `cors` does
    not let in.
    """

    def __init__(
        self,
        settings: AuthSettings,
        cors: Cors,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        tenants = {
            tenant.name: KeyLimits(
                tenant.requests_per_minute, tenant.tokens_per_minute, tenant.concurrent_streams
            )
            for tenant in settings.tenants
        }
        self._clock, self._wall_clock = clock, wall_clock
        self._open = PageGuard(cors) if not settings.configured else None
        self._ring = KeyRing(settings.keys_file, tenants) if settings.keys_file else None
        self._tokens = _tokens(settings.jwt, tenants) if settings.jwt else None

    def start(self) -> None:
        """Read the keys, and begin to fetch what comes over the network; needs a running loop."""
        if self._ring is not None:
            self._ring.look(self._clock())
        if self._tokens is not None:
            self._tokens.start()

    async def close(self) -> None:
        """Stop fetching."""
        if self._tokens is not None:
            await self._tokens.close()

    def identify(self, header: Headers) -> Identity:
        """As `Authenticator`.

        Raises:
            Unauthenticated: no or no valid key or token.
            Forbidden: a web page asks that may not.
            KeysAwaited: the keys that tokens are checked with are not there yet.
        """
        if self._open is not None:
            self._open.check(header("host"), header("origin"))
            return LOCAL
        given = credential(header)
        if self._ring is not None and given.startswith(PREFIX):
            return self._ring.identify(given, self._clock(), self._wall_clock())
        if self._tokens is not None and given.count(".") == 2:
            return self._tokens.identify(given, self._clock(), self._wall_clock())
        raise Unauthenticated("this API key is not valid" if given else _NO_KEY)


def _tokens(settings: JwtSettings, tenants: Mapping[str, KeyLimits]) -> "Tokens":
    # With cryptography, which takes memory and time at the start: only where it is needed.
    from gateway.auth.key_sources import sources_of
    from gateway.auth.tokens import Tokens

    return Tokens(settings, tenants, sources_of(settings))


def credential(header: Headers) -> str:
    """The key or token that a request carries; empty where there is none.

    OpenAI's clients send `Authorization: Bearer`, Anthropic's `x-api-key`; the former goes first.
    """
    scheme, _, given = (header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and (given := given.strip()):
        return given
    return (header("x-api-key") or "").strip()


def check_role(identity: Identity, role: Role) -> None:
    """See that somebody may use what is for this role.

    Raises:
        Forbidden: they may not.
    """
    if role == "admin" and identity.role != "admin":
        raise Forbidden("this needs a key with the role admin")
