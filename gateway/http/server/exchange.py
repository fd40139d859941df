"""What a handler is given and what it gives back."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Protocol
from urllib.parse import parse_qsl

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.auth.identity import LOCAL, Identity

MAX_QUERY_FIELDS = 64


class EventSink(Protocol):
    """A stream of server-sent events whose head is sent already."""

    closed: bool

    def write(self, data: bytes) -> None:
        """Send whole events, at once and without waiting; nothing after the end.

        A client that does not read is cut: the handler's task is cancelled.
        """

    def end(self) -> None:
        """Say that there is no more; the handler returns None."""


class Response(Struct, frozen=True):
    """An answer that is whole."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"
    close: bool = False  # end the connection after it


class Request:
    """One HTTP request; its body is whole and no larger than allowed."""

    __slots__ = (
        "_start_events",
        "arrived_at",
        "body",
        "events",
        "headers",
        "id",
        "identity",
        "method",
        "params",
        "path",
        "raw_query",
        "reply_headers",
    )

    def __init__(
        self,
        method: str,
        path: str,
        raw_query: bytes,
        headers: dict[bytes, bytes],
        start_events: Callable[[Mapping[str, str]], EventSink],
    ) -> None:
        """`path` is decoded; the names of `headers` are in lower case."""
        self.method = method
        self.path = path
        self.raw_query = raw_query
        self.headers = headers
        self.params: Mapping[str, str] = {}  # of the route's pattern
        self.body = b""
        self.id = ""
        self.arrived_at = time.monotonic()
        self.identity: Identity = LOCAL
        self.reply_headers: dict[str, str] = {}  # what every kind of answer to it carries
        self.events: EventSink | None = None  # its answer, as far as it was begun
        self._start_events = start_events

    def header(self, name: str) -> str | None:
        """The value of a header, in whatever case its name is."""
        value = self.headers.get(_key(name))
        return None if value is None else value.decode("latin-1").strip(" \t")

    @property
    def query(self) -> dict[str, str]:
        """What stands after the question mark; of what comes twice the last counts.

        Raises:
            InvalidRequest: too much of it.
        """
        if not self.raw_query:
            return {}
        try:
            fields = parse_qsl(self.raw_query.decode("latin-1"), max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            text = f"a query has up to {MAX_QUERY_FIELDS} fields"
            raise InvalidRequest(text) from None
        return dict(fields)

    def start_events(self, headers: Mapping[str, str] | None = None) -> EventSink:
        """Send the head of a stream of events, with status 200, and then no `Response`; the stream,
        if that was done before."""
        if self.events is None:
            self.events = self._start_events({**self.reply_headers, **(headers or {})})
        return self.events


@cache
def _key(name: str) -> bytes:
    """Names come from our own code, so there are few."""
    return name.lower().encode("latin-1")


# None: the answer was streamed.
Handler = Callable[[Request], Awaitable[Response | None]]
