"""The bytes of a response's head."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import cache
from http import HTTPStatus

SERVER = b"mlx-serving"  # no versions


class Clock:
    """The Date header, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """`Date` and `Server`, which all heads have."""
        now = int(time.time())
        if now != self._second:
            date = formatdate(now, usegmt=True).encode()
            self._second, self._line = now, b"Date: %b\r\nServer: %b\r\n" % (date, SERVER)
        return self._line


_clock = Clock()


def head(
    status: int,
    content_type: str,
    length: int | None,
    headers: Mapping[str, str],
    *,
    chunked: bool = False,
    close: bool = False,
) -> bytes:
    """A head to its empty line; `length` None and not `chunked`: the body ends with the connection.

    Raises:
        ValueError: a header's value has a line break in it, or is no latin-1.
    """
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if more.count("\n") != len(headers) or more.count("\r") != len(headers):
        raise ValueError("a header's value is one line")
    if length is not None:
        size = b"Content-Length: %d\r\n" % length
    else:
        size = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    return b"%b%b%b%b%b" % (
        _start(status, content_type),
        _clock.line(),
        more.encode("latin-1"),
        size,
        end,
    )


@cache
def _start(status: int, content_type: str) -> bytes:
    """The status line and the kind of the body; of both there are few."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    line = f"HTTP/1.1 {status} {phrase}\r\n"
    return (line + (f"Content-Type: {content_type}\r\n" if content_type else "")).encode()
