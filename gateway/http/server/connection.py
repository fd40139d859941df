"""One connection of a client: bytes in, requests one after the other, bytes out.

A client's slowness costs it the connection: the head of a request has `limits.head_s` from its
first byte, the body `limits.body_s`, and who does not read is cut at `limits.unsent_bytes`. Nothing
here waits: timers are the server's `sweep`, which asks each connection for its deadline.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

import httptools
from msgspec import Struct

from gateway.http.server.answers import Answers
from gateway.http.server.bodies import Bodies, Body
from gateway.http.server.events import Events
from gateway.http.server.exchange import Request, Response
from gateway.http.server.head import check_head, joined, plain_head
from gateway.http.server.limits import Limits as Limits
from gateway.http.server.refused import Refused as Refused
from gateway.http.server.refused import large_head, malformed, too_large
from gateway.http.server.target import absolute, path_of, target
from gateway.http.server.wire import head

EVENTS = "text/event-stream; charset=utf-8"
_EVENT_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # proxies, too, shall pass each event on at once
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_VERSIONS = frozenset({"1.0", "1.1"})
# Parsed at once: the requests in it are all kept until it is their turn, and take many times more
# than the bytes that they are read from.
_PIECE_BYTES = 16 * 1024
log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """Reads with llhttp, which refuses what proxies and servers read differently."""

    def __init__(
        self,
        answers: Answers,
        limits: Limits,
        bodies: Bodies,
        opened: Callable[["Connection"], object],
        lost: Callable[["Connection"], object],
    ) -> None:
        self._answers = answers
        self._limits = limits
        self._body = Body(limits, bodies)
        self._opened, self._lost = opened, lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = True
        self._paused = False  # nothing is read for now
        self._ahead: bytes | memoryview = b""  # came, but was not read
        self._ending = False  # nothing more is read
        # Of the request that is being answered: what it speaks, and whether it is a HEAD.
        self._http_1_1, self._bodiless = True, False
        self._events: Events | None = None  # of its answer
        self._moved_on = False  # what was read last had of a body, or the end of a request
        self._new_request()
        self.deadline_at = time.monotonic() + limits.head_s

    def _new_request(self) -> None:
        self._url, self._version = b"", ""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = self._head_bytes = self._fed_bytes = 0
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
        self._ahead = b""
        if self._events is not None:
            self._events.closed = True
        if self._task is not None:
            self._task.cancel()
        self._new_request()
        self._body.drop_all()
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
        if len(data) > _PIECE_BYTES:
            self._ahead = memoryview(data)
            self._read_ahead()
        else:
            self._read(data)

    def _read_ahead(self) -> None:
        """Go on with what came, until a request in it has to wait."""
        while self._ahead and not self._paused and not self._ending:
            piece, self._ahead = self._ahead[:_PIECE_BYTES], self._ahead[_PIECE_BYTES:]
            self._read(piece)

    def _read(self, data: bytes | memoryview) -> None:
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
        plain = plain_head(request.method, self._url, self._version, request.headers.items())
        self._new_request()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(plain)

    def _check_unfinished(self, data: bytes | memoryview) -> None:
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
        self._head_bytes += len(url)
        if self._head_bytes > self._limits.head_bytes:
            raise large_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools`."""
        limits, headers = self._limits, self._headers
        self._header_count += 1
        if self._header_count > limits.headers:
            raise Refused(431, f"a request may have up to {limits.headers} headers")
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > limits.head_bytes:
            raise large_head()
        name = name.lower()
        headers[name] = joined(name, headers[name], value) if name in headers else value

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        version = self._version = self._parser.get_http_version()
        if version not in _VERSIONS:
            raise Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        method = self._parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise malformed()
        check_head(self._headers, http_1_1=version == "1.1")
        if not self._url.startswith(b"/"):
            self._headers[b"host"], self._url = absolute(self._url)  # RFC 9112, 3.2.2
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
        if expectation.strip().lower() != b"100-continue":
            raise Refused(417, "the only expectation that is met is 100-continue")
        if not self._queue and self._task is None and self._version != "1.0":
            self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._moved_on = True
        if not self._body.add(body):
            self._check_large()

    def _check_large(self) -> None:
        """See who sends it, and that there is room, before more of it is kept."""
        assert self._request is not None
        if not self._body.is_large:
            response = self._answers.turn_away(self._request)
            if response is not None:
                raise Refused(response.status, "", response)
        self._body.grow()

    def on_message_complete(self) -> None:
        """See `httptools`."""
        request = self._request
        assert request is not None
        if self._parser.should_upgrade():
            return  # its body is still to come
        request.body, taken_bytes = self._body.whole()
        self._moved_on = True
        http_1_1 = self._version == "1.1"
        keep = http_1_1 and self._parser.should_keep_alive()
        self._queue.append(_Waiting(request, keep, http_1_1, taken_bytes))
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
            self._read_ahead()
            if not self._paused and not self._ending:
                self.transport.resume_reading()

    async def _serve(self, waiting: "_Waiting") -> None:
        """Answer one request, then go on with the next or end the connection."""
        self._http_1_1, self._events = waiting.http_1_1, None
        self._bodiless = waiting.request.method == "HEAD"
        try:
            response = await self._answers.answer(waiting.request)
            keep = waiting.keep and (not self._ending or bool(self._queue))
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
            if waiting.taken_bytes:
                self._body.give_back(waiting.taken_bytes)
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
        """Answer what is no request, then end; if others are to be answered first, only that.

        What still comes is thrown away for a while: closing at once could destroy the answer.
        """
        self._ending = True
        request = self._request or self._unfinished()
        self._body.drop()
        self._new_request()
        if self._task is None and not self._queue:
            response = refused.response or self._answers.refuse(request, refused)
            bodiless = request.method == "HEAD"
            more = {**request.reply_headers, **response.headers}
            self._write(response, more, close=True, bodiless=bodiless)
            self.deadline_at = time.monotonic() + self._limits.linger_s
            if self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()

    def _unfinished(self) -> Request:
        """What is known of a request whose head is not whole, or not good."""
        method = self._parser.get_method().decode("ascii")
        return Request(method, path_of(self._url), b"", self._headers, self._start_events)

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
    """A whole request; `keep`: the connection goes on after it. `taken_bytes`: see `Bodies`."""

    request: Request
    keep: bool
    http_1_1: bool
    taken_bytes: int


def _cause(error: httptools.HttpParserCallbackError) -> Refused:
    """What a callback of the parser raised; a name for it in the caller's frame, which it has in
    its trace, would keep all of that until cycles are looked for."""
    cause = error.__context__
    return cause if isinstance(cause, Refused) else malformed()
