"""The keys that are good now."""

import logging
import math
from collections.abc import Mapping
from hmac import compare_digest
from typing import NamedTuple

from config.errors import ConfigError, Unauthenticated
from gateway.auth.identity import Identity, KeyLimits
from gateway.auth.key_store import MAX_BYTES
from gateway.auth.keys import ID_END, PREFIX, KeyRecord, decode, digest
from gateway.auth.watched import WatchedFile

log = logging.getLogger(__name__)


class _Entry(NamedTuple):
    digest: bytes
    expires_time: float
    identity: Identity


class KeyRing:
    """Knows the file's keys, and reads it again when it changed.

    A file that is gone has no keys. One that cannot be read or understood leaves the keys as they
    were, so that a slip of the hand does not lock everybody out.
    """

    def __init__(self, path: str, tenants: Mapping[str, KeyLimits]) -> None:
        self._file = WatchedFile(path, MAX_BYTES)
        self._tenants = tenants
        self._entries: dict[str, _Entry] = {}

    def look(self, now: float) -> None:
        """Read the file if it changed, and log what is wrong with it."""
        if self._file.changed(now):
            self._load()

    def identify(self, key: str, now: float, now_time: float) -> Identity:
        """Whose key this is; `now` is the monotonic clock, `now_time` Unix seconds.

        Raises:
            Unauthenticated: nobody's, or it has expired.
        """
        self.look(now)
        entry = self._entries.get(key[len(PREFIX) : ID_END])
        if entry is None or not compare_digest(entry.digest, digest(key)):
            raise Unauthenticated("this API key is not valid")
        if now_time >= entry.expires_time:
            raise Unauthenticated("this API key has expired")
        return entry.identity

    def _load(self) -> None:
        path = self._file.path
        try:
            keys = decode(self._file.read(), str(path)).keys
        except FileNotFoundError:
            log.warning("%s is not there: no API key is valid", path)
            keys = ()
        except (ConfigError, OSError) as error:
            log.error("the API keys stay as they were: %s", error)
            return
        self._entries = {record.id: self._entry(record) for record in keys}

    def _entry(self, record: KeyRecord) -> _Entry:
        identity = Identity(
            name=record.name,
            tenant=record.tenant,
            role=record.role,
            key_id=record.id,
            models=None if record.models is None else frozenset(record.models),
            limits=record.limits,
            tenant_limits=self._tenants.get(record.tenant),
        )
        expires_time = math.inf if record.expires_time is None else record.expires_time
        return _Entry(bytes.fromhex(record.sha256), expires_time, identity)
