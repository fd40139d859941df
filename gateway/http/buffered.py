"""Answers that are sent whole."""

import asyncio
from typing import Generic

import msgspec

from config.errors import ServingError
from gateway.answer import Ending
from gateway.http.chunks import L
from gateway.http.logprobs import ChatLogprobs, Spelling, TextLogprobs
from gateway.http.shapes import (
    CalledFunction,
    CallShape,
    ChatChoice,
    ChatCompletion,
    Head,
    Message,
    TextChoice,
    TextCompletion,
    usage,
)
from gateway.text.pieces import Piece, ToolCallDelta
from transport.messages.data import TokenLogprobs

_encode = msgspec.json.Encoder().encode


class BufferedChoice(Generic[L]):
    """Collects one choice; an `Output`."""

    def __init__(self, spelling: Spelling[L] | None = None, echo: str = "") -> None:
        """`echo` stands before the answer."""
        self._spelling = spelling
        self._pieces = [echo]
        self._thoughts: list[str] = []
        self._calls: list[Call] = []
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprobs] = []
        # How it ended; the request's own deadline bounds waiting for it.
        self.end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def on_text(self, text: str, tokens: list[int]) -> None:
        """See `Output`."""
        if text:
            self._pieces.append(text)

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """See `Output`."""
        self.on_text(piece.content, tokens)
        if piece.reasoning:
            self._thoughts.append(piece.reasoning)
        for call in piece.tool_calls:
            self._call(call)
        if logprobs:
            self._tokens += tokens
            self._logprobs += logprobs

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        if self.end.done():  # its waiter was cancelled
            return
        if isinstance(end, Ending):
            self.end.set_result(end)
        else:
            self.end.set_exception(end)

    @property
    def text(self) -> str:
        """The answer's own words so far, after the echo."""
        return "".join(self._pieces)

    @property
    def message(self) -> Message:
        """The assistant's turn so far."""
        text = self.text
        calls = [call.shape() for call in self._calls]
        return Message(
            content=None if calls and not text else text,
            reasoning_content="".join(self._thoughts) if self._thoughts else msgspec.UNSET,
            tool_calls=calls or msgspec.UNSET,
        )

    def logprobs(self) -> L | None:
        """Those of all tokens so far, where they were asked for."""
        return self._spelling.spell(self._tokens, self._logprobs) if self._spelling else None

    def _call(self, call: ToolCallDelta) -> None:
        while len(self._calls) <= call.index:
            self._calls.append(Call())
        self._calls[call.index].add(call)


class Call:
    """A tool call, put together from its pieces."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._name: str | None = None
        self._arguments: list[str] = []

    def add(self, piece: ToolCallDelta) -> None:
        """The next piece."""
        self._id = self._id or piece.id
        self._name = self._name or piece.name
        self._arguments.append(piece.arguments)

    def shape(self) -> CallShape:
        """The call so far."""
        function = CalledFunction(self._name, "".join(self._arguments))
        return CallShape(function, id=self._id, type="function")


async def chat_body(head: Head, outputs: list[BufferedChoice[ChatLogprobs]], n: int) -> bytes:
    """The body of a chat's answer, once every choice ended; `n` in a row are of one prompt.

    Raises:
        ServingError: one of them failed.
    """
    ends = await _ends(outputs)
    choices = [
        ChatChoice(index, output.message, output.logprobs(), end.reason)
        for index, (output, end) in enumerate(zip(outputs, ends, strict=True))
    ]
    completion = ChatCompletion(
        id=head.id,
        object="chat.completion",
        created=head.created,
        model=head.model,
        system_fingerprint=head.system_fingerprint,
        choices=choices,
        usage=usage(ends, n),
        service_tier=head.service_tier,
    )
    return _encode(completion)


async def text_body(head: Head, outputs: list[BufferedChoice[TextLogprobs]], n: int) -> bytes:
    """The same of continuations."""
    ends = await _ends(outputs)
    choices = [
        TextChoice(index, output.text, output.logprobs(), end.reason)
        for index, (output, end) in enumerate(zip(outputs, ends, strict=True))
    ]
    completion = TextCompletion(
        id=head.id,
        object="text_completion",
        created=head.created,
        model=head.model,
        system_fingerprint=head.system_fingerprint,
        choices=choices,
        usage=usage(ends, n),
    )
    return _encode(completion)


async def _ends(outputs: list[BufferedChoice[L]]) -> list[Ending]:
    if len(outputs) == 1:  # almost always, and much cheaper than gather
        return [await outputs[0].end]
    return list(await asyncio.gather(*[output.end for output in outputs]))
