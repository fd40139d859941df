"""What a request asks for: the target in its first line."""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gateway.http.server.head import is_host
from gateway.http.server.refused import Refused, malformed

_ODD = re.compile(r"[\x00-\x1f\x7f\\]|(?:^|/)\.{1,2}(?:/|$)")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)")


@lru_cache(maxsize=128)
def target(url: bytes) -> tuple[str, bytes]:
    """Path, decoded, and query of a request's target.

    Raises:
        Refused: not a path, or one that could mean another one to somebody.
    """
    raw, query = url, b""
    if not url.startswith(b"/") or b"#" in url:
        raise malformed()
    if b"?" in url:
        raw, _, query = url.partition(b"?")
    try:
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
    except UnicodeDecodeError:
        raise malformed() from None
    if "%" in path or _ODD.search(path):
        raise Refused(400, "the path has characters or segments that are not allowed")
    return path, query


def absolute(url: bytes) -> tuple[bytes, bytes]:
    """Host, and path with query, of a target that is a whole address, as proxies are sent.

    Raises:
        Refused: it is none of HTTP.
    """
    parts = _ABSOLUTE.fullmatch(url)
    if parts is None:
        raise malformed()
    host, rest = parts.groups()
    if not host or host.startswith(b":") or not is_host(host):
        raise malformed()
    return host, rest if rest.startswith(b"/") else b"/" + rest


def path_of(url: bytes) -> str:
    """The path of a target, whatever its form; empty where it has none."""
    try:
        return target(url if url.startswith(b"/") else absolute(url)[1])[0]
    except Refused:
        return ""
