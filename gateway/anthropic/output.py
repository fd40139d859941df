"""From an answer's pieces to blocks, whole or as events."""

import asyncio
from typing import Literal

import msgspec

from config.errors import ServingError
from gateway.answer import Ending
from gateway.anthropic.shapes import (
    SIGNATURE,
    AnswerBlock,
    BlockDelta,
    BlockStart,
    BlockStop,
    InputDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
    event,
    stopped,
    tool_id,
    usage,
)
from gateway.http.errors import error_event
from gateway.http.sse import HeldEvents
from gateway.text.pieces import Piece
from gateway.text.tools.arguments import json_object
from transport.messages.data import TokenLogprobs

_MARK = "\x00text\x00"  # where the text goes in a prepared event
_DELTAS: dict[type[AnswerBlock], TextDelta | ThinkingDelta | InputDelta] = {
    TextBlock: TextDelta(_MARK),
    ThinkingBlock: ThinkingDelta(_MARK),
    ToolUseBlock: InputDelta(_MARK),
}
_encode = msgspec.json.Encoder().encode


class Blocks:
    """An `Output` that puts what comes into blocks, one after the other.

    Without `tell_thoughts` their blocks stay empty, as with Anthropic.
    """

    def __init__(self, *, tell_thoughts: bool) -> None:
        self._tell_thoughts = tell_thoughts
        self._kind: Literal["text", "thinking", "call"] | None = None  # of the open block

    def on_text(self, text: str, tokens: list[int]) -> None:
        """See `Output`."""
        if not text:
            return
        if self._kind != "text":
            self._turn_to("text", TextBlock())
        self.more(text)

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """See `Output`."""
        if piece.reasoning:
            if self._kind != "thinking":
                self._turn_to("thinking", ThinkingBlock())
            if self._tell_thoughts:
                self.more(piece.reasoning)
        self.on_text(piece.content, tokens)
        for call in piece.tool_calls:
            if call.id is not None:
                self._turn_to("call", ToolUseBlock(tool_id(call.id), call.name or ""))
            if call.arguments:
                self.more(call.arguments)

    def complete(self) -> None:
        """The open block, if any, is the last one."""
        if self._kind is not None:
            self.stop()
            self._kind = None

    def _turn_to(self, kind: Literal["text", "thinking", "call"], block: AnswerBlock) -> None:
        self.complete()
        self._kind = kind
        self.start(block)

    def start(self, block: AnswerBlock) -> None:
        """A block begins, still empty."""
        raise NotImplementedError

    def more(self, text: str) -> None:
        """More of it."""
        raise NotImplementedError

    def stop(self) -> None:
        """It is complete."""
        raise NotImplementedError


class BufferedBlocks(Blocks):
    """Collects an answer that is sent whole."""

    def __init__(self, *, tell_thoughts: bool) -> None:
        super().__init__(tell_thoughts=tell_thoughts)
        self._block: AnswerBlock = TextBlock()
        self._texts: list[str] = []
        self.blocks: list[AnswerBlock] = []
        # How it ended; the request's own deadline bounds waiting for it.
        self.end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def start(self, block: AnswerBlock) -> None:
        """See `Blocks`."""
        self._block, self._texts = block, []

    def more(self, text: str) -> None:
        """See `Blocks`."""
        self._texts.append(text)

    def stop(self) -> None:
        """See `Blocks`."""
        self.blocks.append(_filled(self._block, "".join(self._texts)))

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        if self.end.done():  # its waiter was cancelled
            return
        if isinstance(end, ServingError):
            self.end.set_exception(end)
            return
        self.complete()
        self.end.set_result(end)


class StreamedBlocks(Blocks):
    """Writes an answer as events; `begun` is the message, still empty."""

    def __init__(self, begun: Message, *, tell_thoughts: bool) -> None:
        super().__init__(tell_thoughts=tell_thoughts)
        ping = event(Ping())
        self.events = HeldEvents(event(MessageStart(begun)) + ping, idle=ping)
        self._write = self.events.write
        self._index = -1  # of the open block
        self._before = self._after = b""  # what stands around the text of each of its events

    def start(self, block: AnswerBlock) -> None:
        """See `Blocks`."""
        self._index += 1
        delta = event(BlockDelta(self._index, _DELTAS[type(block)]))
        self._before, self._after = delta.split(_encode(_MARK))
        self._write(event(BlockStart(self._index, block)))

    def more(self, text: str) -> None:
        """See `Blocks`."""
        self._write(b"%b%b%b" % (self._before, _encode(text), self._after))

    def stop(self) -> None:
        """See `Blocks`."""
        if self._kind == "thinking":
            self._write(event(BlockDelta(self._index, SignatureDelta())))
        self._write(event(BlockStop(self._index)))

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        if isinstance(end, ServingError):
            self.events.fail(end, error_event(end, "anthropic"))
            return
        self.complete()
        self._write(event(MessageDelta(stopped(end), usage(end))) + event(MessageStop()))
        self.events.finish()


def _filled(block: AnswerBlock, text: str) -> AnswerBlock:
    if isinstance(block, ThinkingBlock):
        return ThinkingBlock(text, SIGNATURE)
    if isinstance(block, ToolUseBlock):
        whole = json_object(text) is not None  # else it was cut off
        return ToolUseBlock(block.id, block.name, msgspec.Raw(text.encode() if whole else b"{}"))
    return TextBlock(text)
