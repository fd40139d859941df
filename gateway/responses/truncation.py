"""What of a conversation is left out where all of it does not fit, with `truncation: auto`."""

from collections.abc import Awaitable, Callable, Sequence

from transport.messages.client import ChatMessage

ANSWER_SHARE = 4  # of the context: what is kept free for an answer whose length nobody said


def leaves_room(prompt_tokens: int, context_tokens: int, wanted: int | None) -> bool:
    """Whether an answer of `wanted` tokens fits as well, or one that is long enough."""
    most = context_tokens // ANSWER_SHARE
    return context_tokens - prompt_tokens >= min(wanted or most, most)


async def shortened(
    messages: Sequence[ChatMessage], fits: Callable[[list[ChatMessage]], Awaitable[bool]]
) -> list[ChatMessage]:
    """The conversation without as much of its beginning as is needed to fit.

    It begins with something that was said to the model; what is said last stays, whether that fits
    or not. System messages stay.
    """
    if await fits(list(messages)):
        return list(messages)
    places = [at for at, message in enumerate(messages) if message.role == "user"] or [0]
    low, high = 0, len(places) - 1
    while low < high:
        middle = (low + high) // 2
        if await fits(_from(messages, places[middle])):
            high = middle
        else:
            low = middle + 1
    return _from(messages, places[low])


def _from(messages: Sequence[ChatMessage], place: int) -> list[ChatMessage]:
    before = [it for it in messages[:place] if it.role in {"system", "developer"}]
    return [*before, *messages[place:]]
