"""What of a conversation is left out where all of it does not fit, with `truncation: auto`."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from config.errors import ContextTooLong
from gateway.service import Prepared
from transport.messages.client import ChatMessage

ANSWER_SHARE = 4  # of the context: what is kept free for an answer whose length nobody said


def beginnings(messages: Sequence[ChatMessage]) -> list[int]:
    """Where a shortened conversation may begin: with what somebody said to the model."""
    places = [place for place, message in enumerate(messages) if message.role == "user"]
    return places or [0]


def from_beginning(messages: Sequence[ChatMessage], place: int) -> list[ChatMessage]:
    """The conversation from there on, and the system messages before it."""
    before = [it for it in messages[:place] if it.role in {"system", "developer"}]
    return [*before, *messages[place:]]


def fits(prepared: Prepared, context_tokens: int, wanted: int | None) -> bool:
    """Whether there is room for the answer, too."""
    (request, *_) = prepared.requests
    most = context_tokens // ANSWER_SHARE
    return context_tokens - len(request.tokens) >= min(wanted or most, most)


async def shortened(
    messages: Sequence[ChatMessage],
    prepare: Callable[[list[ChatMessage]], Awaitable[Prepared]],
    good: Callable[[Prepared], bool],
) -> Prepared:
    """The conversation without as much of its beginning as is needed to be good.

    The last thing said stays, whether that is good or not.

    Raises:
        ServingError: as `prepare`, of what is left.
    """
    with contextlib.suppress(ContextTooLong):
        prepared = await prepare(list(messages))
        if good(prepared):
            return prepared
    places = beginnings(messages)
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high) // 2
        try:
            prepared = await prepare(from_beginning(messages, places[middle]))
        except ContextTooLong:
            low = middle + 1
            continue
        if good(prepared):
            high = middle
        else:
            low = middle + 1
    return await prepare(from_beginning(messages, places[low]))
