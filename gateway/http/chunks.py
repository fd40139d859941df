"""The events of a stream of the OpenAI API; what does not change in them is encoded once."""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from gateway.http.logprobs import ChatLogprobs, TextLogprobs
from gateway.http.shapes import (
    CalledFunction,
    CallShape,
    ChatChunk,
    ChunkChoice,
    Delta,
    FinishReason,
    Head,
    TextChoice,
    TextCompletion,
    Usage,
)
from gateway.text.pieces import Piece, ToolCallDelta

DONE = b"data: [DONE]\n\n"
_MARK = "\x00text\x00"  # where the text goes in a prepared event
_encode = msgspec.json.Encoder().encode


L = TypeVar("L", bound=ChatLogprobs | TextLogprobs)


class Chunks(Generic[L]):
    """Makes the events of one stream."""

    def __init__(self, head: Head, *, include_usage: bool) -> None:
        self._head = head
        self._used: msgspec.UnsetType | None = None if include_usage else msgspec.UNSET
        self.include_usage = include_usage

    def text_frame(self, index: int) -> tuple[bytes, bytes]:
        """What stands before and after the JSON text in each event of a choice."""
        before, after = self.piece(index, Piece(_MARK), None).split(_encode(_MARK))
        return before, after

    def first(self, index: int) -> bytes:
        """The event that opens a choice, if there is one."""
        raise NotImplementedError

    def piece(self, index: int, piece: Piece, logprobs: L | None) -> bytes:
        """The event with more of a choice."""
        raise NotImplementedError

    def last(self, index: int, reason: FinishReason) -> bytes:
        """The event that ends a choice."""
        raise NotImplementedError

    def usage(self, used: Usage) -> bytes:
        """The event with the usage, after all choices ended."""
        raise NotImplementedError


class ChatChunks(Chunks[ChatLogprobs]):
    """Of chats."""

    def first(self, index: int) -> bytes:
        """See `Chunks`."""
        return self._event([ChunkChoice(index, Delta("assistant", ""), None, None)])

    def piece(self, index: int, piece: Piece, logprobs: ChatLogprobs | None) -> bytes:
        """See `Chunks`."""
        return self._event([ChunkChoice(index, _delta(piece), logprobs, None)])

    def last(self, index: int, reason: FinishReason) -> bytes:
        """See `Chunks`."""
        return self._event([ChunkChoice(index, Delta(), None, reason)])

    def usage(self, used: Usage) -> bytes:
        """See `Chunks`."""
        return self._event([], used)

    def _event(self, choices: list[ChunkChoice], used: Usage | None = None) -> bytes:
        head = self._head
        chunk = ChatChunk(
            id=head.id,
            object="chat.completion.chunk",
            created=head.created,
            model=head.model,
            system_fingerprint=head.system_fingerprint,
            choices=choices,
            usage=self._used if used is None else used,
            service_tier=head.service_tier,
        )
        return b"data: %b\n\n" % _encode(chunk)


class TextChunks(Chunks[TextLogprobs]):
    """Of continuations; each choice begins with its echo."""

    def __init__(self, head: Head, echoes: Sequence[str], *, include_usage: bool) -> None:
        super().__init__(head, include_usage=include_usage)
        self._echoes = echoes

    def first(self, index: int) -> bytes:
        """See `Chunks`."""
        echo = self._echoes[index]
        return self._event([TextChoice(index, echo, None, None)]) if echo else b""

    def piece(self, index: int, piece: Piece, logprobs: TextLogprobs | None) -> bytes:
        """See `Chunks`."""
        return self._event([TextChoice(index, piece.content, logprobs, None)])

    def last(self, index: int, reason: FinishReason) -> bytes:
        """See `Chunks`."""
        return self._event([TextChoice(index, "", None, reason)])

    def usage(self, used: Usage) -> bytes:
        """See `Chunks`."""
        return self._event([], used)

    def _event(self, choices: list[TextChoice], used: Usage | None = None) -> bytes:
        head = self._head
        chunk = TextCompletion(
            id=head.id,
            object="text_completion",
            created=head.created,
            model=head.model,
            system_fingerprint=head.system_fingerprint,
            choices=choices,
            usage=self._used if used is None else used,
        )
        return b"data: %b\n\n" % _encode(chunk)


def _delta(piece: Piece) -> Delta:
    calls = [_call_piece(call) for call in piece.tool_calls]
    thought = piece.reasoning or None
    # Tokens whose text is held back have an empty text.
    content = piece.content or (None if thought or calls else "")
    return Delta(content=content, reasoning_content=thought, tool_calls=calls or None)


def _call_piece(call: ToolCallDelta) -> CallShape:
    kind: Literal["function"] | None = None if call.id is None else "function"
    return CallShape(CalledFunction(call.name, call.arguments), call.index, call.id, kind)
