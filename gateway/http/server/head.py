"""What is wrong with the head of a request, beyond what the parser sees (RFC 9110 and 9112)."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from gateway.http.server.refused import Refused

# Of these the last would count here and the first at a proxy, or the other way round.
_ONCE = frozenset({b"host", b"authorization", b"x-api-key"})
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
# What the parser is given anew has these no more.
_READ_ONCE = frozenset({b"upgrade", b"expect"})


def joined(name: bytes, before: bytes, value: bytes) -> bytes:
    """The value of a header that comes once more; `name` is in lower case.

    Raises:
        Refused: it may not.
    """
    if name in _ONCE:
        raise Refused(400, f"the header {name.decode()} came twice; send it once")
    return b"%b, %b" % (before, value)


def check_head(headers: Mapping[bytes, bytes], *, http_1_1: bool) -> None:
    """See that whoever is in between reads this request as we do, and that its body is plain.

    Raises:
        Refused: not so.
    """
    host = headers.get(b"host")
    if host is None:
        if http_1_1:
            raise Refused(400, "the header Host is missing; every request of HTTP/1.1 has one")
    elif not is_host(host):
        raise Refused(400, "the header Host is no host, or no host with a port")
    if b"transfer-encoding" in headers:
        _check_transfer(headers[b"transfer-encoding"], http_1_1=http_1_1)
    if b"content-encoding" in headers:
        _check_content(headers[b"content-encoding"])


@lru_cache(maxsize=64)
def is_host(host: bytes) -> bool:
    """Whether this is a host, with or without a port; an empty one is one."""
    return _HOST.fullmatch(host.strip()) is not None


def _check_transfer(value: bytes, *, http_1_1: bool) -> None:
    *others, last = _codings(value)
    if last != b"chunked" or b"" in others or not http_1_1:
        text = "Transfer-Encoding: chunked comes last, and with HTTP/1.1 only"
        raise Refused(400, f"{text}; without it send a Content-Length")
    if others:
        raise Refused(501, "Transfer-Encoding: chunked is the only one that is known here")


def _check_content(value: bytes) -> None:
    if any(coding not in (b"", b"identity") for coding in _codings(value)):
        text = "Content-Encoding: bodies are not decoded here; send it plain and without the header"
        raise Refused(415, text, headers={"Accept-Encoding": "identity"})


def _codings(value: bytes) -> list[bytes]:
    return [coding.strip().lower() for coding in value.split(b",")]


def plain_head(
    method: str, url: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """The bytes of a head without the wish for another protocol, and without expectations."""
    lines = [b"%b %b HTTP/%b" % (method.encode(), url, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] not in _READ_ONCE]
    return b"\r\n".join([*lines, b"", b""])
