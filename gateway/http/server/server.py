"""The HTTP server on a socket that somebody else owns."""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
import sys
import time

from gateway.http.server.answers import Answers
from gateway.http.server.bodies import Bodies
from gateway.http.server.connection import Connection
from gateway.http.server.limits import Limits

BACKLOG = 2048
SWEEP_S = 1.0
HANDSHAKE_S = 10.0  # of TLS
SPARE_FILES = 64  # for all that is no connection of a client
CLOSE_S = 1.0  # for connections that are still busy when the server closes
log = logging.getLogger(__name__)


class HttpServer:
    """All connections of one listening socket; event loop only."""

    def __init__(self, answers: Answers, limits: Limits) -> None:
        self._answers = answers
        self._limits = limits
        self._bodies = Bodies(limits.held_body_bytes)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._max_file = _max_file()
        self._turned_away = 0

    async def start(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connection,
            sock=sock,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else HANDSHAKE_S,
        )
        self._sweeper = loop.create_task(self._sweep())

    def _connection(self) -> Connection:
        return Connection(self._answers, self._limits, self._bodies, self._opened, self._lost)

    def _opened(self, connection: Connection) -> None:
        """Without this a flood of connections would take the files that engines are reached by."""
        self._connections.add(connection)
        if connection.transport.get_extra_info("socket").fileno() > self._max_file:
            self._turned_away += 1
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(SWEEP_S, self._limits.head_s, self._limits.body_s))
            now = time.monotonic()
            for connection in [it for it in self._connections if it.deadline_at <= now]:
                connection.expire()
            if self._turned_away:
                log.warning("turned away %d: too many open connections", self._turned_away)
                self._turned_away = 0
            if self._bodies.refused:
                text = "turned away %d: server.max_held_body_bytes of large bodies are held already"
                log.warning(text, self._bodies.refused)
                self._bodies.refused = 0

    async def close(self) -> None:
        """Take no more connections, end those that idle, and soon the others."""
        if self._server is None or self._sweeper is None:
            return
        self._server.close()
        self._sweeper.cancel()
        self._empty = asyncio.Event()
        if not self._connections:
            self._empty.set()
        for connection in list(self._connections):
            connection.end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), CLOSE_S)
        for connection in list(self._connections):
            connection.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sweeper


def _max_file() -> int:
    """Up to which file a connection is taken; the system gives each the lowest number free."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(SPARE_FILES, limit // 2)
