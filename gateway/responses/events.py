"""The events of a streamed response.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from config.errors import ServingError
from gateway.http.errors import public_message
from gateway.http.logprobs import TokenLogprob
from gateway.responses.items import Item, OutputText, ReasoningText
from gateway.responses.shapes import ResponseObject

_MARK = "\x00delta\x00"  # where the text goes in a prepared event
_encode = msgspec.json.Encoder().encode


class Event(Struct, kw_only=True, tag_field="type"):
    """One event; its number is given to it when it is sent."""

    sequence_number: int = 0


class Created(Event, kw_only=True, tag="response.created"):
    """The first one."""

    response: ResponseObject


class InProgress(Event, kw_only=True, tag="response.in_progress"):
    """The model works on it."""

    response: ResponseObject


class Completed(Event, kw_only=True, tag="response.completed"):
    """The last one, if all went well."""

    response: ResponseObject


class Incomplete(Event, kw_only=True, tag="response.incomplete"):
    """The last one, if the answer was cut off."""

    response: ResponseObject


class Failed(Event, kw_only=True, tag="response.failed"):
    """The last one, if there is no (further) answer."""

    response: ResponseObject


class Error(Event, kw_only=True, tag="error"):
    """The only one, if there is not even a response."""

    code: str
    message: str
    param: str | None


class ItemAdded(Event, kw_only=True, tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: Item


class ItemDone(Event, kw_only=True, tag="response.output_item.done"):
    """An item is complete."""

    output_index: int
    item: Item


class PartAdded(Event, kw_only=True, tag="response.content_part.added"):
    """A part of an item begins."""

    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText | ReasoningText


class PartDone(Event, kw_only=True, tag="response.content_part.done"):
    """A part of an item is complete."""

    item_id: str
    output_index: int
    content_index: int = 0
    part: OutputText | ReasoningText


class TextDelta(Event, kw_only=True, tag="response.output_text.delta"):
    """More of the answer."""

    item_id: str
    output_index: int
    content_index: int = 0
    logprobs: list[TokenLogprob] = []
    delta: str


class TextDone(Event, kw_only=True, tag="response.output_text.done"):
    """The answer's text is complete."""

    item_id: str
    output_index: int
    content_index: int = 0
    logprobs: list[TokenLogprob] = []
    text: str


class ReasoningDelta(Event, kw_only=True, tag="response.reasoning_text.delta"):
    """More of the thoughts."""

    item_id: str
    output_index: int
    content_index: int = 0
    delta: str


class ReasoningDone(Event, kw_only=True, tag="response.reasoning_text.done"):
    """The thoughts are complete."""

    item_id: str
    output_index: int
    content_index: int = 0
    text: str


class ArgumentsDelta(Event, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(Event, kw_only=True, tag="response.function_call_arguments.done"):
    """A call's arguments are complete."""

    item_id: str
    output_index: int
    arguments: str


Delta = TextDelta | ReasoningDelta | ArgumentsDelta
Put = Callable[[bytes], object]


def opening(response: ResponseObject) -> bytes:
    """The two events that every stream begins with."""
    created = Created(response=response, sequence_number=0)
    return _bytes(created) + _bytes(InProgress(response=response, sequence_number=1))


class Events:
    """Numbers the events after the `opening` and puts them out; without a `put` there are none."""

    def __init__(self, put: Put | None = None) -> None:
        self._put = put
        self._number = 2

    def send(self, event: Event) -> None:
        """The next event."""
        if self._put is not None:
            self._put(self.numbered(event))

    def numbered(self, event: Event) -> bytes:
        """The next event, for somebody else to put out."""
        event.sequence_number = self._number
        self._number += 1
        return _bytes(event)

    def deltas(self, event: Delta) -> Callable[[str], None]:
        """What puts out one such event for each text; all but text and number is encoded once."""
        put = self._put
        if put is None:
            return _nothing
        event.delta, event.sequence_number = _MARK, 0
        head, rest = _bytes(event).split(b'"sequence_number":0,')
        middle, tail = rest.split(_encode(_MARK))

        def send(text: str) -> None:
            number, self._number = self._number, self._number + 1
            put(b'%b"sequence_number":%d,%b%b%b' % (head, number, middle, _encode(text), tail))

        return send


def error_event(error: ServingError) -> bytes:
    """The event that tells why there is no response."""
    return _bytes(Error(code=error.code, message=public_message(error), param=error.param))


def _bytes(event: Event) -> bytes:
    name = event.__struct_config__.tag
    return b"event: %b\ndata: %b\n\n" % (str(name).encode(), _encode(event))


def _nothing(text: str) -> None:
    """For those who hear no events."""
