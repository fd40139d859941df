"""Where the keys that check tokens come from."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

import aiohttp

from config.errors import ConfigError
from config.settings import JwtSettings
from gateway.auth.jwks import MAX_BYTES, KeySet, parse_jwks, parse_secret
from gateway.auth.watched import LOOK_S, WatchedFile

FETCH_S, CONNECT_S, CLOSE_S = 5.0, 3.0, 1.0
PAUSE_S = 5.0  # between two fetches, whoever wants one
USUAL_FETCH_S = 1.0  # what most take no longer than
MAX_WAITING = 1024  # tokens whose keys are not known
log = logging.getLogger(__name__)


class KeySource(Protocol):
    """Has the keys of the moment; event loop only, never blocks."""

    def keys(self, now: float) -> KeySet:
        """The same object until they change; `now` is the monotonic clock."""
        ...

    def awaited_s(self, digest: bytes, now: float) -> float | None:
        """In how many seconds the key of a token may be there, which is not among them now; None:
        it is known not to be there. `digest` is the token's; calling it asks for the key."""
        ...

    def start(self) -> None:
        """Begin to look for them."""
        ...

    async def close(self) -> None:
        """Stop that."""
        ...


class KeyFile:
    """Keys in a file, read again when it changed; a bad or missing one leaves the last good."""

    def __init__(self, path: str, parse: Callable[[bytes, str], KeySet]) -> None:
        self._file = WatchedFile(path, MAX_BYTES)
        self._parse = parse
        self._keys = KeySet()

    def keys(self, now: float) -> KeySet:
        """As `KeySource`."""
        if self._file.changed(now):
            try:
                self._keys = self._parse(self._file.read(), str(self._file.path))
            except (ConfigError, OSError) as error:
                log.error("the keys for tokens stay as they were: %s", error)
        return self._keys

    def awaited_s(self, digest: bytes, now: float) -> float | None:
        """As `KeySource`: only where there never were any."""
        return None if self._keys.keys else LOOK_S

    def start(self) -> None:
        """Read it, so that the log tells at the start what is wrong with it."""
        self.keys(time.monotonic())

    async def close(self) -> None:
        """As `KeySource`; there is nothing to stop."""


class KeyUrl:
    """Keys behind a URL, fetched aside; while it cannot be reached the last ones stay.

    They are fetched every `refresh_s`, and for a token of an unknown key as soon as `pause_s` have
    gone by since the last time, however many such tokens come.

    Whether such a key is new or made up cannot be told before a fetch that began after its token
    was first seen. So strangers, who may send as many as they like, cannot have somebody else's new
    key taken for a wrong one. It is the token that is remembered, as a key's name may be guessed
    before it is used; one that is forgotten was never seen, and so waits again.
    """

    def __init__(self, url: str, refresh_s: float, pause_s: float = PAUSE_S) -> None:
        self._url = url
        self._refresh_s = refresh_s
        self._pause_s = pause_s
        self._keys = KeySet()
        self._seen = b""
        self._failing = False
        self._begun = 0  # fetches
        self._succeeded = 0  # the last that did, by the count of those begun
        self._waiting: dict[bytes, int] = {}  # by digest: fetches begun when it was first seen
        self._fetching = True  # from the start, as `start` fetches
        self._may_fetch_at = 0.0
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def keys(self, now: float) -> KeySet:
        """As `KeySource`."""
        return self._keys

    def awaited_s(self, digest: bytes, now: float) -> float | None:
        """As `KeySource`."""
        self._wanted.set()
        begun = self._waiting.get(digest)
        if begun is None:
            if len(self._waiting) >= MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[digest] = begun = self._begun
        if self._succeeded > begun:
            return None
        pause_s = 0.0 if self._fetching else max(self._may_fetch_at - now, 0.0)
        return pause_s + USUAL_FETCH_S

    def start(self) -> None:
        """Begin to fetch; event loop only."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop fetching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_S)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=FETCH_S, connect=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                self._fetching = True
                self._wanted.clear()
                self._begun += 1
                await self._refresh(session)
                self._may_fetch_at = time.monotonic() + self._pause_s
                self._fetching = False
                await asyncio.sleep(self._pause_s)
                if not self._failing:
                    with contextlib.suppress(TimeoutError):
                        rest_s = self._refresh_s - self._pause_s
                        await asyncio.wait_for(self._wanted.wait(), rest_s)

    async def _refresh(self, session: aiohttp.ClientSession) -> None:
        try:
            data = await _fetch(session, self._url)
            if data != self._seen:
                # Aside, as making sense of hundreds of RSA keys takes a while.
                self._keys = await asyncio.to_thread(parse_jwks, data, self._url)
                self._seen = data
        except Exception as error:  # whatever it is, the next fetch may succeed
            if not self._failing:
                reason = str(error) or type(error).__name__
                log.warning("%s: the keys for tokens stay as they were: %s", self._url, reason)
            self._failing = True
        else:
            if self._failing:
                log.info("%s: has keys for tokens again", self._url)
            self._failing = False
            self._succeeded = self._begun


def sources_of(settings: JwtSettings) -> dict[str, KeySource]:
    """Where the keys of each algorithm are. Those of HS256 are apart from all others, so that no
    public key can ever pass for a secret."""
    sources: dict[str, KeySource] = {}
    public: KeySource | None = None
    if settings.jwks_url:
        public = KeyUrl(settings.jwks_url, settings.refresh_s)
    elif settings.jwks_file:
        public = KeyFile(settings.jwks_file, parse_jwks)
    if public is not None:
        sources |= dict.fromkeys(("RS256", "ES256", "EdDSA"), public)
    if settings.hs256_secret_file:
        sources["HS256"] = KeyFile(settings.hs256_secret_file, parse_secret)
    return sources


async def _fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    # A redirect could lead anywhere, to plain HTTP as well.
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise ConfigError(f"it answered {response.status}")
        data = bytearray()
        async for chunk in response.content.iter_chunked(16 * 1024):
            data += chunk
            if len(data) > MAX_BYTES:
                raise ConfigError(f"it answered with more than {MAX_BYTES} bytes")
        return bytes(data)
