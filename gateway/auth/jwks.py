"""Keys that check tokens: JSON Web Key sets (RFC 7517) and shared secrets.

The algorithm belongs to the key, never to the token that is checked with it.
"""

from typing import Any, Literal

import msgspec
from jwt import PyJWK
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWTError
from msgspec import Struct

from config.errors import ConfigError

Algorithm = Literal["RS256", "ES256", "EdDSA", "HS256"]
MAX_BYTES = 256 * 1024
MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: no shorter than the hash
_MIN_RSA_BITS = 2048  # RFC 7518, 3.3
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")


class CheckingKey(Struct, frozen=True):
    """One key; `kid` None fits tokens of every `kid`."""

    kid: str | None
    algorithm: Algorithm
    key: Any  # PyJWK, or the secret's bytes


class KeySet:
    """Keys that are good at one time; a later set is another object."""

    def __init__(self, keys: tuple[CheckingKey, ...] = ()) -> None:
        self.keys = keys

    def find(self, algorithm: str, kid: str | None) -> CheckingKey | None:
        """The key for a token that says this of itself; one that does not name its key needs one
        to which there is no other choice."""
        found = [key for key in self.keys if key.algorithm == algorithm]
        if kid is not None:
            named = [key for key in found if key.kid == kid]
            found = named or [key for key in found if key.kid is None]
        return found[0] if len(found) == 1 else None


class _Listed(Struct):
    keys: list[dict[str, Any]]


_listed = msgspec.json.Decoder(_Listed).decode


def parse_jwks(data: bytes, source: str) -> KeySet:
    """The keys of the set that are for signatures we know; others are left out, as RFC 7517 asks.

    Raises:
        ConfigError: it is no key set, or has no key that we can use.
    """
    try:
        listed = _listed(data).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{source}: no JSON Web Key set") from None
    keys: dict[tuple[str, str | None], CheckingKey] = {}
    for jwk in listed:
        if (key := _key(jwk)) is not None:
            keys.setdefault((key.algorithm, key.kid), key)
    if not keys:
        raise ConfigError(f"{source}: has no RS256, ES256 or EdDSA key for signatures")
    return KeySet(tuple(keys.values()))


def _key(jwk: dict[str, Any]) -> CheckingKey | None:
    algorithm = _algorithm(jwk)
    kid = jwk.get("kid")
    if algorithm is None or jwk.get("use", "sig") != "sig" or not isinstance(kid, str | None):
        return None
    # Only the public half, should somebody have published both.
    public = {name: jwk[name] for name in _PUBLIC if name in jwk}
    try:
        key = PyJWK(public, algorithm)
    except PyJWTError:
        return None
    if algorithm == "RS256" and key.key.key_size < _MIN_RSA_BITS:
        return None
    return CheckingKey(kid, algorithm, key)


def _algorithm(jwk: dict[str, Any]) -> Algorithm | None:
    """What the kind of the key is for; None where the set says that it is for something else."""
    fits: Algorithm
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", _:
            fits = "RS256"
        case "EC", "P-256":
            fits = "ES256"
        case "OKP", "Ed25519":
            fits = "EdDSA"
        case _:
            return None
    return fits if jwk.get("alg", fits) == fits else None


def parse_secret(data: bytes, source: str) -> KeySet:
    """The shared secret in a file, without white space around it.

    Raises:
        ConfigError: it is too short, or a public key, which is no secret.
    """
    secret = data.strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"{source}: a secret for HS256 has at least {MIN_SECRET_BYTES} bytes")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except PyJWTError:
        raise ConfigError(f"{source}: this is a public key or a certificate, no secret") from None
    return KeySet((CheckingKey(None, "HS256", secret),))
