"""Signed tokens (JWT): who sent one, and until when that is known without checking again."""

import hashlib
import logging
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt
import msgspec
from jwt.exceptions import ExpiredSignatureError, ImmatureSignatureError, PyJWTError
from msgspec import Struct

from config.errors import Unauthenticated
from config.settings import JwtSettings
from gateway.auth.claims import identity_of
from gateway.auth.identity import Identity, KeyLimits, KeysAwaited
from gateway.auth.jwks import CheckingKey, KeySet
from gateway.auth.key_sources import KeySource
from gateway.auth.seldom import Seldom

MAX_TOKEN_BYTES = 8 * 1024
REMEMBERED = 4096
SAY_S = 5.0  # between two lines in the log about keys that are not there
_NEEDED = ["exp", "iss", "aud", "sub"]


class _Header(Struct):
    """What a token says about how it was signed; nothing else in its head is looked at."""

    alg: str
    kid: str | None = None


class _Known(NamedTuple):
    identity: Identity
    until_time: float
    source: KeySource
    keys: KeySet


_header = msgspec.json.Decoder(_Header).decode
log = logging.getLogger(__name__)


class Tokens:
    """Checks tokens; `sources` has where the keys of each algorithm are that is taken at all.

    A good token is remembered until it expires or the keys change.
    """

    def __init__(
        self,
        settings: JwtSettings,
        tenants: Mapping[str, KeyLimits],
        sources: Mapping[str, KeySource],
    ) -> None:
        self._settings = settings
        self._tenants = tenants
        self._sources = sources
        self._known: dict[bytes, _Known] = {}
        self._awaited = Seldom(SAY_S)

    def start(self) -> None:
        """Begin to fetch or read the keys."""
        for source in set(self._sources.values()):
            source.start()

    async def close(self) -> None:
        """Stop fetching."""
        for source in set(self._sources.values()):
            await source.close()

    def identify(self, token: str, now: float, now_time: float) -> Identity:
        """Who sent it; `now` is the monotonic clock, `now_time` Unix seconds.

        Raises:
            Unauthenticated: it is not valid, or not any more.
            KeysAwaited: the keys to check it with are not there yet.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known and now_time < known.until_time and known.source.keys(now) is known.keys:
            return known.identity
        self._known.pop(digest, None)
        known = self._check(token, digest, now)
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = known
        return known.identity

    def _check(self, token: str, digest: bytes, now: float) -> _Known:
        header = _head(token)
        source = self._sources.get(header.alg)
        if source is None:
            raise _invalid()
        keys = source.keys(now)
        key = keys.find(header.alg, header.kid)
        if key is not None:
            claims = self._claims(token, key)
            identity = identity_of(claims, self._settings, self._tenants)
            return _Known(identity, int(claims["exp"]) + self._settings.leeway_s, source, keys)
        if (retry_after_s := source.awaited_s(digest, now)) is not None:
            if times := self._awaited.times(now):
                log.warning("refused %d tokens whose key is not there, or not yet", times)
            text = "the key that this token is signed with is being fetched; try again"
            raise KeysAwaited(text, retry_after_s=retry_after_s)
        raise _invalid()

    def _claims(self, token: str, key: CheckingKey) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=settings.leeway_s,
                options={"require": _NEEDED},
            )
        except ExpiredSignatureError:  # these two come after the signature was found good
            raise Unauthenticated("the token has expired") from None
        except ImmatureSignatureError:
            raise Unauthenticated("the token is not valid yet") from None
        except (PyJWTError, ValueError):
            raise _invalid() from None


def _head(token: str) -> _Header:
    """The first part, of which nothing is believed yet."""
    head = token.partition(".")[0]
    try:
        return _header(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _invalid() from None


def _invalid() -> Unauthenticated:
    return Unauthenticated("this API key or token is not valid")
