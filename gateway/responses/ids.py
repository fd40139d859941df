"""Ids of responses and of the items in them.

A response's id begins with the second it was made in, so that whoever has only the id (or the
file's name) knows when it ends. An item's id has its response's in it, so that an item is found by
its id alone.
"""

import re
import secrets

_TIME_DIGITS = 8
_RANDOM_BYTES = 20
_RESPONSE = re.compile(r"resp_([0-9a-f]{48})")
_ITEM = re.compile(r"[a-z]{2,4}_([0-9a-f]{48})[0-9a-f]{4}")


def new_response_id(now: float) -> str:
    """An id that cannot be guessed; `now` is wall clock."""
    return f"resp_{int(now):0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def is_response_id(text: str) -> bool:
    """Whether it looks like one, and so is safe as a file's name."""
    return _RESPONSE.fullmatch(text) is not None


def made_at(response_id: str) -> int:
    """When a response was made, in seconds of wall clock."""
    return int(response_id.removeprefix("resp_")[:_TIME_DIGITS], 16)


def response_of(item_id: str) -> str | None:
    """The id of the response that an item came with; None: it is not one of our ids."""
    found = _ITEM.fullmatch(item_id)
    return None if found is None else f"resp_{found.group(1)}"


class ItemIds:
    """Counts the items of one response, those of its input first."""

    def __init__(self, response_id: str) -> None:
        self._base = response_id.removeprefix("resp_")
        self._made = 0

    def new(self, prefix: str) -> str:
        """The next one; `prefix` says of what kind, as in OpenAI's ids."""
        self._made += 1
        return f"{prefix}_{self._base}{self._made:04x}"
