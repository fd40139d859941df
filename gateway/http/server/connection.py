"""One connection of a client: bytes in, requests one after the other, bytes out.

A client's slowness costs it the connection: the head of a request has `limits.head_s` from its
first byte, the body `limits.body_s`, and who does not read is cut at `limits.unsent_bytes`. Nothing
here waits: timers are the server's `sweep`, which asks each connection for its deadline.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

import httptools
from msgspec import Struct

from gateway.http.server.events import Events
from gateway.http.server.exchange import Request, Response
from gateway.http.server.refused import Refused as Refused
from gateway.http.server.refused import large_head, malformed, too_large
from gateway.http.server.target import target
from gateway.http.server.wire import head

EVENTS = "text/event-stream; charset=utf-8"
_EVENT_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # proxies, too, shall pass each event on at once
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS = frozenset({"1.0", "1.1"})
_READ_ONCE = frozenset({b"upgrade", b"expect"})
log = logging.getLogger(__name__)


class Limits(Struct, frozen=True, kw_only=True):
    """What one connection may take; all that comes from outside is bounded by one of them."""

    body_bytes: int
    free_body_bytes: int = 64 * 1024  # more is kept only of those who may ask
    head_bytes: int = 16 * 1024
    headers: int = 128
    unsent_bytes: int = 1024 * 1024
    head_s: float = 75.0  # also how long a connection may idle
    body_s: float = 60.0
    linger_s: float = 10.0  # for a refused body to stop coming


class Answers(Protocol):
    """What the server does with requests; raises nothing but cancellation."""

    def answer(self, request: Request) -> Awaitable[Response | None]:
        """The answer to a whole request; None: it was streamed."""

    def turn_away(self, request: Request) -> Response | None:
        """The answer to a request with a large body, of which not all is there, if nobody would
        read it."""

    def refuse(self, path: str, refused: Refused) -> Response:
        """The answer to what is not one."""


class Connection(asyncio.Protocol):
    """Reads with llhttp, which refuses what proxies and servers read differently."""

    def __init__(
        self,
        answers: Answers,
        limits: Limits,
        opened: Callable[["Connection"], object],
        lost: Callable[["Connection"], object],
    ) -> None:
        self._answers = answers
        self._limits = limits
        self._free_bytes = min(limits.free_body_bytes, limits.body_bytes)
        self._opened, self._lost = opened, lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = True
        self._paused = False  # nothing is read for now
        self._ending = False  # nothing more is read
        # Of the request that is being answered: what it speaks, and whether it is a HEAD.
        self._http_1_1, self._bodiless = True, False
        self._events: Events | None = None  # of its answer
        self._moved_on = False  # what was read last had of a body, or the end of a request
        self._new_request()
        self.deadline_at = time.monotonic() + limits.head_s

    def _new_request(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = self._head_bytes = self._fed_bytes = 0
        self._allowed_bytes = self._free_bytes
        self._body: bytes | bytearray = b""
        self._request: Request | None = None  # its head is whole

    # From the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)  # of uvloop, which is none by type
        self._opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone, and with it all that is done for it."""
        self._ending = True
        self._queue.clear()
        if self._events is not None:
            self._events.closed = True
        if self._task is not None:
            self._task.cancel()
        self._new_request()
        del self._parser  # they have each other, and what is only a cycle is freed late
        self._lost(self)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = False
        if self._events is not None:
            self._events.stalled = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = True
        if self._events is not None:
            self._events.stalled = False
        self._next()

    def eof_received(self) -> bool:
        """A client that says no more may still read, but most are gone: as servers commonly do."""
        return False

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._ending:
            return
        try:
            self._feed(data)
            self._check_unfinished(data)
        except httptools.HttpParserCallbackError as error:
            self._refuse(_cause(error))
        except httptools.HttpParserError:
            self._refuse(malformed())
        except Refused as refused:
            self._refuse(refused)

    def _feed(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = memoryview(data)[upgrade.args[0] :]
                self._read_again()

    def _read_again(self) -> None:
        """Give the parser the head once more, without the wish for another protocol.

        A server may answer as if there was none (RFC 9110, 7.8), and Java's client, which has that
        wish with every request, counts on it; but the parser takes the body for the other protocol.
        """
        request = self._request
        assert request is not None
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (request.method.encode(), self._url, version)]
        lines += [b"%b: %b" % it for it in request.headers.items() if it[0] not in _READ_ONCE]
        self._new_request()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _check_unfinished(self, data: bytes) -> None:
        """The parser keeps to itself what it has of a header or a trailer that has not ended."""
        if self._moved_on:
            self._moved_on, self._fed_bytes = False, 0
        elif self._url:
            self._fed_bytes += len(data)
            if self._fed_bytes > 2 * self._limits.head_bytes:
                raise large_head()

    # From the parser.

    def on_message_begin(self) -> None:
        """See `httptools`."""
        self.deadline_at = time.monotonic() + self._limits.head_s

    def on_url(self, url: bytes) -> None:
        """See `httptools`; may come in parts."""
        self._url += url
        self._count(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools`. Of headers that come twice the last counts."""
        self._header_count += 1
        if self._header_count > self._limits.headers:
            raise Refused(431, f"a request may have up to {self._limits.headers} headers")
        self._count(name + value)
        self._headers[name.lower()] = value

    def _count(self, part: bytes) -> None:
        self._head_bytes += len(part)
        if self._head_bytes > self._limits.head_bytes:
            raise large_head()

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        if self._parser.get_http_version() not in _VERSIONS:
            raise Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        method = self._parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise malformed()
        path, query = target(self._url)
        self._request = Request(
            method,
            path,
            query,
            self._headers,
            self._start_events,
        )
        self._expect()
        self._headers = {}  # what comes after the body is no part of the head (RFC 9110, 6.5.1)
        self.deadline_at = time.monotonic() + self._limits.body_s

    def _expect(self) -> None:
        if int(self._headers.get(b"content-length", b"0")) > self._limits.body_bytes:
            raise too_large()
        expectation = self._headers.get(b"expect")
        if expectation is None:
            return
        if expectation.lower() != b"100-continue":
            raise Refused(417, "the only expectation that is met is 100-continue")
        if not self._queue and self._task is None and self._parser.get_http_version() != "1.0":
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._moved_on = True
        if not self._body:
            self._body = body  # most are whole
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body + body)
        if len(self._body) > self._allowed_bytes:
            self._check_body()

    def _check_body(self) -> None:
        """See who sends a large one before more of it is kept."""
        assert self._request is not None
        if len(self._body) > self._limits.body_bytes:
            raise too_large()
        self._allowed_bytes = self._limits.body_bytes
        response = self._answers.turn_away(self._request)
        if response is not None:
            raise Refused(response.status, "", response)

    def on_message_complete(self) -> None:
        """See `httptools`."""
        request = self._request
        assert request is not None
        if self._parser.should_upgrade():
            return  # its body is still to come
        request.body = bytes(self._body)
        self._moved_on = True
        http_1_1 = self._parser.get_http_version() == "1.1"
        keep = http_1_1 and self._parser.should_keep_alive()
        self._queue.append(_Waiting(request, keep, http_1_1))
        self._new_request()
        self._next()
        if self._queue and not self._paused:  # a client that sends ahead waits for its answers
            self._paused = True
            self.transport.pause_reading()

    # Answering.

    def _next(self) -> None:
        """Begin with the next request, if there is one and the client reads its answers."""
        if self._task is not None or not self._writable:
            return
        if self._queue:
            waiting = self._queue.popleft()
            self._task = self._loop.create_task(self._serve(waiting))
        elif self._paused and not self._ending:
            self._paused = False
            self.transport.resume_reading()

    async def _serve(self, waiting: "_Waiting") -> None:
        """Answer one request, then go on with the next or end the connection."""
        self._http_1_1, self._events = waiting.http_1_1, None
        self._bodiless = waiting.request.method == "HEAD"
        try:
            response = await self._answers.answer(waiting.request)
            keep = waiting.keep and not self._ending
            if response is not None and self._events is not None:
                keep = False  # it failed in the middle: what is out cannot be taken back
            elif response is not None:
                keep = keep and not response.close
                more = {**waiting.request.reply_headers, **response.headers}
                self._write(response, more, close=not keep, bodiless=self._bodiless)
            elif self._events is not None:
                self._events.end()
        except Exception:
            log.exception("%s: no answer could be written", waiting.request.id)
            self.transport.abort()
            return
        finally:
            self._task = None
        self.deadline_at = time.monotonic() + self._limits.head_s
        if keep:
            self._next()
        else:
            self._ending = True
            self.transport.close()

    def _start_events(self, headers: Mapping[str, str]) -> Events:
        chunked = self._http_1_1
        more = {**_EVENT_HEADERS, **headers}
        self.transport.write(head(200, EVENTS, None, more, chunked=chunked, close=not chunked))
        self._events = Events(
            self.transport, chunked=chunked, max_unsent_bytes=self._limits.unsent_bytes
        )
        self._events.closed = self._bodiless
        return self._events

    def _write(
        self,
        response: Response,
        headers: Mapping[str, str],
        *,
        close: bool,
        bodiless: bool = False,
    ) -> None:
        body = response.body
        kind = response.content_type if body else ""
        length = None if response.status == 204 else len(body)  # RFC 9110, 8.6
        start = head(response.status, kind, length, headers, close=close)
        self.transport.write(start if bodiless else start + body)

    def _refuse(self, refused: Refused) -> None:
        """Answer what is no request, unless others are to be answered first; then end.

        What still comes is thrown away for a while: closing at once could destroy the answer.
        """
        self._ending = True
        if self._task is None and not self._queue:
            path = self._request.path if self._request is not None else ""
            response = refused.response or self._answers.refuse(path, refused)
            self._write(response, response.headers, close=True)
            self.deadline_at = time.monotonic() + self._limits.linger_s
            if self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()

    # From the server.

    def expire(self) -> None:
        """The deadline has passed; where a request is being answered it does not count."""
        if self._task is not None:
            return
        if self._request is not None and not self._ending and not self.transport.is_closing():
            self._refuse(Refused(408, "the request body did not arrive in time"))
        else:
            self.transport.abort()

    def end(self) -> None:
        """Close now if idle, else after what is being answered."""
        self._ending = True
        self._queue.clear()
        if self._task is None:
            self.transport.close()

    def abort(self) -> None:
        """Close whatever is going on."""
        self.transport.abort()


class _Waiting(Struct, frozen=True):
    """A whole request; `keep`: the connection goes on after it."""

    request: Request
    keep: bool
    http_1_1: bool


def _cause(error: httptools.HttpParserCallbackError) -> Refused:
    """What a callback of the parser raised; a name for it in the caller's frame, which it has in
    its trace, would keep all of that until cycles are looked for."""
    cause = error.__context__
    return cause if isinstance(cause, Refused) else malformed()
