"""What queries say of stored responses."""

from collections.abc import Mapping, Sequence

from config.errors import InvalidRequest
from gateway.responses.items import Item
from gateway.responses.shapes import ItemList
from transport.parameters import clipped

MAX_PAGE = 100
PAGE = 20


def page(items: Sequence[Item], query: Mapping[str, str]) -> ItemList:
    """The page of a list of items that a query asks for; the latest come first unless it says
    otherwise.

    Raises:
        InvalidRequest: names what is wrong in the query.
    """
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order is asc or desc", param="order")
    limit = whole_number(query, "limit", PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(f"limit is from 1 to {MAX_PAGE}", param="limit")
    ordered = list(items) if order == "asc" else list(reversed(items))
    rest = _after(ordered, query["after"]) if "after" in query else ordered
    data = rest[:limit]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return ItemList(data, first, last, len(rest) > len(data))


def whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    """A number in a query.

    Raises:
        InvalidRequest: it is none.
    """
    given = query.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise InvalidRequest(f"{name} is a whole number, not '{clipped(given)}'", param=name)
    return int(given)


def wants_stream(query: Mapping[str, str]) -> bool:
    """Whether a query asks for events.

    Raises:
        InvalidRequest: it cannot be told.
    """
    given = query.get("stream", "false").lower()
    if given not in {"true", "false"}:
        raise InvalidRequest("stream is true or false", param="stream")
    return given == "true"


def _after(items: list[Item], item_id: str) -> list[Item]:
    for place, item in enumerate(items):
        if item.id == item_id:
            return items[place + 1 :]
    raise InvalidRequest(f"there is no item '{clipped(item_id)}' in this list", param="after")
