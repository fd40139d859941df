"""From items to the messages that chat templates know."""

from collections.abc import Sequence

from msgspec import Struct, structs

from config.errors import InvalidRequest
from gateway.responses.items import (
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Reasoning,
    Refusal,
)
from transport.messages.client import ChatMessage, ToolCall
from transport.messages.client import FunctionCall as CalledFunction


class Conversation(Struct, frozen=True):
    """Messages, and the parameter that each one comes from, for errors."""

    messages: list[ChatMessage]
    places: list[str]


def conversation(
    instructions: str | None, history: Sequence[Item], given: Sequence[Item]
) -> Conversation:
    """What is said to the model: `history` is of earlier responses, `given` the input.

    What the model thought, said and called in a row is one turn of it. System messages at the
    beginning become one, since many templates take only one, and that at the beginning.

    Raises:
        InvalidRequest: a result is of no call.
    """
    turns = _Turns()
    if instructions is not None:
        turns.say("system", instructions, "instructions")
    for item in history:
        turns.add(item, "previous_response_id")
    for place, item in enumerate(given):
        turns.add(item, f"input[{place}]")
    return turns.finish()


class _Turns:
    """Puts messages together."""

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []
        self._places: list[str] = []
        self._calls: set[str] = set()
        self._turn: ChatMessage | None = None  # the model's, still open
        self._turn_place = ""

    def add(self, item: Item, place: str) -> None:
        """The next item."""
        match item:
            case Message(role="assistant"):
                self._merge(ChatMessage("assistant", content=_text(item)), place)
            case Message():
                self.say(item.role, _text(item), place)
            case Reasoning():
                thought = "".join(part.text for part in item.content)
                self._merge(ChatMessage("assistant", reasoning_content=thought), place)
            case FunctionCall():
                self._calls.add(item.call_id)
                called = CalledFunction(item.name, item.arguments)
                call = ToolCall(item.call_id, called)
                self._merge(ChatMessage("assistant", tool_calls=[call]), place)
            case FunctionCallOutput():
                self._result(item, place)

    def say(self, role: str, text: str, place: str) -> None:
        """A message that is not the model's."""
        self._close()
        leading = role != "user" and all(it.role == "system" for it in self._messages)
        if not leading:
            self._put(ChatMessage(role, content=text), place)
        elif not self._messages:
            self._put(ChatMessage("system", content=text), place)
        else:
            self._messages[0] = structs.replace(
                self._messages[0], content=f"{self._messages[0].content}\n\n{text}"
            )

    def finish(self) -> Conversation:
        """All of it."""
        self._close()
        return Conversation(self._messages, self._places)

    def _result(self, item: FunctionCallOutput, place: str) -> None:
        if item.call_id not in self._calls:
            raise InvalidRequest(
                "call_id must be that of a function_call before it", param=f"{place}.call_id"
            )
        self._close()
        self._put(ChatMessage("tool", content=item.output, tool_call_id=item.call_id), place)

    def _merge(self, part: ChatMessage, place: str) -> None:
        """More of the model's turn; what has come already begins another one."""
        turn = self._turn
        if turn is not None and _follows(turn, part):
            self._turn = structs.replace(
                turn,
                content=part.content if turn.content is None else turn.content,
                reasoning_content=turn.reasoning_content or part.reasoning_content,
                tool_calls=(turn.tool_calls or []) + (part.tool_calls or []) or None,
            )
            return
        self._close()
        self._turn, self._turn_place = part, place

    def _close(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if turn.content is None and not turn.tool_calls:
            turn = structs.replace(turn, content="")
        self._put(turn, self._turn_place)

    def _put(self, message: ChatMessage, place: str) -> None:
        self._messages.append(message)
        self._places.append(place)


def _follows(turn: ChatMessage, part: ChatMessage) -> bool:
    """Whether a part may belong to a turn: thoughts come first, and there is one text."""
    if part.reasoning_content is not None:
        return turn.content is None and not turn.tool_calls and not turn.reasoning_content
    return part.content is None or turn.content is None


def _text(message: Message) -> str:
    return "".join(
        part.refusal if isinstance(part, Refusal) else part.text for part in message.content
    )
