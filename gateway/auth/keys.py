"""API keys: what the file of keys says of each, and how a key is made.

A key is `sk-mlx-ID-SECRET`. The file has the SHA-256 of the whole of it; a slow hash would gain
nothing, as the secret has 256 random bits.
"""

import hashlib
import secrets
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from config.errors import ConfigError
from gateway.auth.identity import KeyLimits, Role

PREFIX = "sk-mlx-"
_ID_BYTES, _SECRET_BYTES = 8, 32
ID_END = len(PREFIX) + 2 * _ID_BYTES

Label = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
Model = Annotated[str, Meta(min_length=1, max_length=512)]


class KeyRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key; times are Unix seconds, and `sha256` is in hexadecimal."""

    id: Annotated[str, Meta(pattern=rf"^[0-9a-f]{{{2 * _ID_BYTES}}}\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    name: Name
    created_time: int
    tenant: Label = ""
    role: Role = "user"
    expires_time: int | None = None
    models: tuple[Model, ...] | None = None  # None: all
    limits: KeyLimits | None = None


class KeysFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1] = 1
    keys: tuple[KeyRecord, ...] = ()


_decode = msgspec.json.Decoder(KeysFile).decode


def new_key() -> tuple[str, str]:
    """The id of a new key and the key itself, which is kept nowhere."""
    key_id = secrets.token_hex(_ID_BYTES)
    return key_id, f"{PREFIX}{key_id}-{secrets.token_urlsafe(_SECRET_BYTES)}"


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def decode(data: bytes, file: str) -> KeysFile:
    """The keys in the file called `file`; an empty one has none.

    Raises:
        ConfigError: it is no file of keys; the message names what is wrong where.
    """
    try:
        found = _decode(data) if data.strip() else KeysFile()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: no file of API keys ({error})") from None
    ids = [record.id for record in found.keys]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"{file}: two keys have one id")
    return found


def encode(content: KeysFile) -> bytes:
    """The file's bytes, laid out for people to read."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
