"""What a request asks for: the target in its first line."""

import re
from urllib.parse import unquote_to_bytes

from gateway.http.server.refused import Refused, malformed

_ODD = re.compile(r"[\x00-\x1f\x7f\\]|(?:^|/)\.{1,2}(?:/|$)")


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
