"""How deeply a body may be nested, and how much may be in it.

What is decoded is walked in many places, some of them in foreign code (templates, grammars), and
each of them would have its own depth at which it fails.
"""

from itertools import accumulate

from config.errors import InvalidRequest

MAX_DEPTH = 64
MAX_PARTS = 200_000  # strings, and arrays and objects; so that looking at them takes no time either
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = [0] * 256
for _bracket in b"[{":
    _STEP[_bracket], _STEP[_bracket + 2] = 1, -1


def check_depth(raw: bytes) -> None:
    """Refuse JSON that is nested too deeply; whether it is JSON is found out elsewhere.

    Raises:
        InvalidRequest: it is, or has too many parts.
    """
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:  # almost always
        return
    # Without escapes every quote begins or ends a string.
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    _check_parts(plain.count(b'"') // 2)
    brackets = b"".join(plain.split(b'"')[::2]).translate(None, _OTHERS)
    _check_parts(len(brackets) // 2)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise InvalidRequest(f"the body is nested more than {MAX_DEPTH} levels deep")


def _check_parts(count: int) -> None:
    if count > MAX_PARTS:
        raise InvalidRequest(f"the body has more than {MAX_PARTS} strings, arrays and objects")
