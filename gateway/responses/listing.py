"""What queries say of stored responses."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from config.errors import InvalidRequest
from gateway.responses.items import Item
from gateway.responses.shapes import ItemList
from transport.parameters import clipped

MAX_PAGE = 100
PAGE = 20
_NOTHING = "Accepted, and changes nothing."
Include = Annotated[
    Any,
    Meta(
        description=_NOTHING,
        extra_json_schema={"type": "array", "items": {"type": "string"}},
    ),
]


class RetrieveQuery(Struct, frozen=True):
    """`GET /v1/responses/{id}`."""

    stream: Annotated[
        bool,
        Meta(description="Get the events; of what was made with `background` and `stream`."),
    ] = False
    starting_after: Annotated[
        int,
        Meta(ge=-1, description="Only the events after the one of this number."),
    ] = -1
    include: Include = None
    include_obfuscation: Annotated[bool, Meta(description=_NOTHING)] = False


class PageQuery(Struct, frozen=True):
    """`GET /v1/responses/{id}/input_items`."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="How many at most.")] = PAGE
    order: Annotated[
        Literal["asc", "desc"], Meta(description="`desc`: what was said last comes first.")
    ] = "desc"
    after: Annotated[str, Meta(description="Only what comes after the item of this id.")] = ""
    include: Include = None


def page(items: Sequence[Item], asked: PageQuery) -> ItemList:
    """The page of a list of items that is asked for.

    Raises:
        InvalidRequest: there is no such item to begin after.
    """
    ordered = list(items) if asked.order == "asc" else list(reversed(items))
    rest = _after(ordered, asked.after) if asked.after else ordered
    data = rest[: asked.limit]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return ItemList(data, first, last, len(rest) > len(data))


def _after(items: list[Item], item_id: str) -> list[Item]:
    for place, item in enumerate(items):
        if item.id == item_id:
            return items[place + 1 :]
    raise InvalidRequest(f"there is no item '{clipped(item_id)}' in this list", param="after")
