"""The objects of Anthropic's API that we answer with.

Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming, and the types of the
official Python client.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from gateway.answer import Ending
from gateway.ids import random_hex

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"]
_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}
SIGNATURE = "unsigned"  # thoughts are sent back with it; some clients drop those without one
_OBJECT = msgspec.Meta(extra_json_schema={"type": "object"})  # for the documentation
_encode = msgspec.json.Encoder().encode


def _nothing() -> msgspec.Raw:
    return msgspec.Raw(b"{}")


class Usage(Struct, frozen=True):
    """What the request cost; the prompt has the first three together."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    service_tier: Literal["standard"] = "standard"


class TextBlock(Struct, frozen=True, tag="text"):
    """What the model said."""

    text: str = ""


class ThinkingBlock(Struct, frozen=True, tag="thinking"):
    """What it thought."""

    thinking: str = ""
    signature: str = ""


class ToolUseBlock(Struct, frozen=True, tag="tool_use"):
    """A tool that it used."""

    id: str
    name: str
    input: Annotated[msgspec.Raw, _OBJECT] = msgspec.field(default_factory=_nothing)


AnswerBlock = TextBlock | ThinkingBlock | ToolUseBlock


class Message(Struct, frozen=True, kw_only=True, tag="message"):
    """An answer; in a stream it begins empty."""

    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock] = []
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    usage: Usage


class TokenCount(Struct, frozen=True):
    """How long a prompt is."""

    input_tokens: int


class MessageStart(Struct, frozen=True, tag="message_start"):
    """The first event."""

    message: Message


class BlockStart(Struct, frozen=True, tag="content_block_start"):
    """A block begins."""

    index: int
    content_block: AnswerBlock


class TextDelta(Struct, frozen=True, tag="text_delta"):
    """More of what is said."""

    text: str


class ThinkingDelta(Struct, frozen=True, tag="thinking_delta"):
    """More of what is thought."""

    thinking: str


class SignatureDelta(Struct, frozen=True, tag="signature_delta"):
    """What ends thoughts."""

    signature: str = SIGNATURE


class InputDelta(Struct, frozen=True, tag="input_json_delta"):
    """More of a tool's input, which is a JSON text."""

    partial_json: str


class BlockDelta(Struct, frozen=True, tag="content_block_delta"):
    """More of a block."""

    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockStop(Struct, frozen=True, tag="content_block_stop"):
    """A block is complete."""

    index: int


class Stop(Struct, frozen=True):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(Struct, frozen=True, tag="message_delta"):
    """All blocks are complete; the counts are those of the whole answer."""

    delta: Stop
    usage: Usage


class MessageStop(Struct, frozen=True, tag="message_stop"):
    """The last event."""


class Ping(Struct, frozen=True, tag="ping"):
    """Says that there is still somebody."""


Event = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping


def event(shown: Event) -> bytes:
    """An event as it is sent."""
    name = str(shown.__struct_config__.tag).encode()
    return b"event: %b\ndata: %b\n\n" % (name, _encode(shown))


def new_message_id() -> str:
    """An id for an answer."""
    return f"msg_{random_hex(24)}"


def tool_id(call_id: str) -> str:
    """A call's id as Anthropic's look, unless its model has its own kind, which it is to see
    again."""
    return f"toolu_{rest}" if (rest := call_id.removeprefix("call_")) != call_id else call_id


def stopped(end: Ending) -> Stop:
    """Why an answer ended."""
    if end.stop_text is not None:
        return Stop("stop_sequence", end.stop_text)
    return Stop(_REASONS[end.reason], None)


def usage(end: Ending) -> Usage:
    """What an answer cost."""
    fresh = end.prompt_tokens - end.cached_tokens
    return Usage(fresh, end.completion_tokens, end.cached_tokens)
