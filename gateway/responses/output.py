"""From an answer's pieces to the items of a response, and the events that tell of them."""

import asyncio

from config.errors import ServingError
from gateway.answer import Ending
from gateway.http.logprobs import ChatSpelling, TokenLogprob
from gateway.responses.events import (
    ArgumentsDelta,
    ArgumentsDone,
    Events,
    ItemAdded,
    ItemDone,
    PartAdded,
    PartDone,
    ReasoningDelta,
    ReasoningDone,
    TextDelta,
    TextDone,
)
from gateway.responses.ids import ItemIds
from gateway.responses.items import (
    FunctionCall,
    Item,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Status,
)
from gateway.text.pieces import Piece, ToolCallDelta
from transport.messages.data import TokenLogprobs


class OpenMessage:
    """A message that the model is writing."""

    def __init__(self, events: Events, item_id: str, index: int) -> None:
        self._events = events
        self._id = item_id
        self._index = index
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        events.send(
            ItemAdded(
                output_index=index, item=Message(item_id, "assistant", [], status="in_progress")
            )
        )
        events.send(PartAdded(item_id=item_id, output_index=index, part=OutputText("")))
        self._delta = events.deltas(TextDelta(item_id=item_id, output_index=index, delta=""))

    def add(self, text: str, logprobs: list[TokenLogprob]) -> None:
        """More of it."""
        self._texts.append(text)
        if not logprobs:
            self._delta(text)
            return
        self._logprobs += logprobs
        self._events.send(
            TextDelta(item_id=self._id, output_index=self._index, delta=text, logprobs=logprobs)
        )

    def close(self, status: Status) -> Item:
        """All of it."""
        text = "".join(self._texts)
        part = OutputText(text, logprobs=self._logprobs)
        item_id, index = self._id, self._index
        self._events.send(
            TextDone(item_id=item_id, output_index=index, text=text, logprobs=self._logprobs)
        )
        self._events.send(PartDone(item_id=item_id, output_index=index, part=part))
        return Message(item_id, "assistant", [part], status)


class OpenReasoning:
    """Thoughts that go on."""

    def __init__(self, events: Events, item_id: str, index: int) -> None:
        self._events = events
        self._id = item_id
        self._index = index
        self._texts: list[str] = []
        item = Reasoning(item_id, status="in_progress")
        events.send(ItemAdded(output_index=index, item=item))
        events.send(PartAdded(item_id=item_id, output_index=index, part=ReasoningText("")))
        self._delta = events.deltas(ReasoningDelta(item_id=item_id, output_index=index, delta=""))

    def add(self, text: str) -> None:
        """More of them."""
        self._texts.append(text)
        self._delta(text)

    def close(self, status: Status) -> Item:
        """All of them."""
        part = ReasoningText("".join(self._texts))
        item_id, index = self._id, self._index
        self._events.send(ReasoningDone(item_id=item_id, output_index=index, text=part.text))
        self._events.send(PartDone(item_id=item_id, output_index=index, part=part))
        return Reasoning(item_id, content=[part], status=status)


class OpenCall:
    """A call that the model is writing; `number` counts the answer's calls."""

    def __init__(self, events: Events, item_id: str, index: int, first: ToolCallDelta) -> None:
        self.number = first.index
        self._events = events
        self._id = item_id
        self._index = index
        self._call_id = first.id or item_id
        self._name = first.name or ""
        self._arguments: list[str] = []
        item = FunctionCall(item_id, self._call_id, self._name, "", "in_progress")
        events.send(ItemAdded(output_index=index, item=item))
        self._delta = events.deltas(ArgumentsDelta(item_id=item_id, output_index=index, delta=""))

    def add(self, arguments: str) -> None:
        """More of its arguments."""
        if arguments:
            self._arguments.append(arguments)
            self._delta(arguments)

    def close(self, status: Status) -> Item:
        """All of it."""
        arguments = "".join(self._arguments)
        self._events.send(
            ArgumentsDone(item_id=self._id, output_index=self._index, arguments=arguments)
        )
        return FunctionCall(self._id, self._call_id, self._name, arguments, status)


class ItemWriter:
    """Makes the items of one answer; an `Output`.

    `ended` is set with its end, and never holds an exception. A failure within the answer leaves
    the items that came before it.
    """

    def __init__(self, ids: ItemIds, events: Events, spelling: ChatSpelling | None) -> None:
        self._ids = ids
        self._events = events
        self._spelling = spelling
        self._open: OpenMessage | OpenReasoning | OpenCall | None = None
        self._unplaced: list[TokenLogprob] = []
        self.items: list[Item] = []
        self.ended: asyncio.Future[Ending | ServingError] = (
            asyncio.get_running_loop().create_future()
        )

    def on_text(self, text: str, tokens: list[int]) -> None:
        """See `Output`."""
        if text:
            self._message().add(text, [])

    def on_piece(self, piece: Piece, tokens: list[int], logprobs: list[TokenLogprobs]) -> None:
        """See `Output`."""
        if self._spelling is not None and logprobs:
            self._unplaced += self._spelling.spell(tokens, logprobs).content
        if piece.reasoning:
            self._reasoning().add(piece.reasoning)
            self._place()
        if piece.content:
            self._message().add(piece.content, self._unplaced)
            self._place()
        for delta in piece.tool_calls:
            self._call(delta).add(delta.arguments)
            self._place()

    def on_end(self, end: Ending | ServingError) -> None:
        """See `Output`."""
        whole = isinstance(end, Ending) and end.reason != "length"
        if whole and self._open is None and not self.items:
            self._message()  # an answer without a word is one, too
        self.close("completed" if whole else "incomplete")
        if not self.ended.done():
            self.ended.set_result(end)

    def close(self, status: Status) -> None:
        """Complete the item that is being written, if any."""
        if self._open is not None:
            item = self._open.close(status)
            self._open = None
            self._events.send(ItemDone(output_index=len(self.items), item=item))
            self.items.append(item)

    def _place(self) -> None:
        """The tokens so far have found what they are of; some come before their text."""
        self._unplaced = []

    def _message(self) -> OpenMessage:
        if not isinstance(self._open, OpenMessage):
            self.close("completed")
            self._open = OpenMessage(self._events, self._ids.new("msg"), len(self.items))
        return self._open

    def _reasoning(self) -> OpenReasoning:
        if not isinstance(self._open, OpenReasoning):
            self.close("completed")
            self._open = OpenReasoning(self._events, self._ids.new("rs"), len(self.items))
        return self._open

    def _call(self, delta: ToolCallDelta) -> OpenCall:
        if not isinstance(self._open, OpenCall) or self._open.number != delta.index:
            self.close("completed")
            self._open = OpenCall(self._events, self._ids.new("fc"), len(self.items), delta)
        return self._open
