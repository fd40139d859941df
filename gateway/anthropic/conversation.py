"""From blocks to the messages that chat templates know."""

from collections.abc import Sequence

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.anthropic.schema import Block, InputMessage
from gateway.messages import is_name
from transport.messages.client import ChatMessage, FunctionCall, ToolCall
from transport.parameters import clipped

_ROLES = ("user", "assistant", "system")
_WHOSE = {"tool_result": "user", "tool_use": "assistant", "thinking": "assistant"}
_BETWEEN = "\n\n"  # texts that are blocks, or messages, of their own


class Conversation(Struct, frozen=True):
    """Messages, and the parameter that each one comes from, for errors."""

    messages: list[ChatMessage]
    places: list[str]


def conversation(
    system: str | list[Block] | None, messages: Sequence[InputMessage]
) -> Conversation:
    """What is said to the model.

    Messages of one role in a row are one turn, as with Anthropic. Results of tools are messages of
    their own, and one that is an error says so in its text, since templates know no other way.

    Raises:
        InvalidRequest: names the place of what cannot be used.
    """
    turns = _Turns()
    if system:
        for block, where in _blocks(system, "system"):
            turns.text("system", _text(block, "system", where), "system")
    for place, message in enumerate(messages):
        _add(turns, message, f"messages[{place}]")
    if messages and messages[-1].role == "assistant":
        raise InvalidRequest(
            "an answer that is begun (prefill) cannot be continued here: "
            "the last message must be the user's",
            param=f"messages[{len(messages) - 1}].role",
        )
    return turns.finish()


def _add(turns: "_Turns", message: InputMessage, where: str) -> None:
    role = message.role
    if role not in _ROLES:
        raise InvalidRequest(
            f"role '{clipped(role)}' is not one of {', '.join(_ROLES)}", param=f"{where}.role"
        )
    if not message.content and not isinstance(message.content, str):
        raise InvalidRequest("a message needs content", param=f"{where}.content")
    for block, place in _blocks(message.content, f"{where}.content"):
        match block.type:
            case "tool_result" if role == "user":
                turns.result(block, place, where)
            case "tool_use" if role == "assistant":
                turns.call(block, place, where)
            case "thinking" if role == "assistant":
                turns.thought(block.thinking or "", where)
            case _:
                turns.text(role, _text(block, role, place), where)


def _blocks(content: str | list[Block], where: str) -> list[tuple[Block, str]]:
    if isinstance(content, str):
        return [(Block("text", content), where)]
    return [(block, f"{where}[{place}]") for place, block in enumerate(content)]


def _text(block: Block, role: str, where: str) -> str:
    if _WHOSE.get(block.type, role) != role:
        raise InvalidRequest(
            f"content of type '{block.type}' is not for messages of the role '{role}'",
            param=f"{where}.type",
        )
    if block.type != "text":
        raise InvalidRequest(
            f"content of type '{clipped(block.type)}' is not supported; this model reads text",
            param=f"{where}.type",
        )
    if block.text is None:
        raise InvalidRequest("a text block needs text", param=f"{where}.text")
    return block.text


def _call(block: Block, where: str) -> ToolCall:
    if not block.id:
        raise InvalidRequest("a tool_use block needs an id", param=f"{where}.id")
    if not is_name(block.name or ""):
        raise InvalidRequest(
            f"'{clipped(block.name or '')}' is no tool's name", param=f"{where}.name"
        )
    if not bytes(block.input).startswith(b"{"):
        raise InvalidRequest("a tool_use block needs an input object", param=f"{where}.input")
    return ToolCall(block.id, FunctionCall(block.name or "", bytes(block.input).decode()))


def _result(block: Block, where: str) -> str:
    given = block.content or ""
    if isinstance(given, dict):
        raise InvalidRequest("content is a text or a list of blocks", param=f"{where}.content")
    texts = [_text(part, "user", place) for part, place in _blocks(given, f"{where}.content")]
    return ("Error: " if block.is_error else "") + _BETWEEN.join(texts)


class _Turns:
    """Puts messages together; `where` is the message that something comes from."""

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []
        self._places: list[str] = []
        self._calls_before: set[str] = set()
        self._begin("", "")

    def _begin(self, role: str, where: str) -> None:
        self._role, self._where = role, where
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []

    def text(self, role: str, text: str, where: str) -> None:
        """Words of somebody."""
        self._enter(role, where)
        self._texts.append(text)

    def thought(self, text: str, where: str) -> None:
        """What the model thought."""
        self._enter("assistant", where)
        self._thoughts.append(text)

    def call(self, block: Block, place: str, where: str) -> None:
        """A tool that the model used."""
        self._enter("assistant", where)
        call = _call(block, place)
        self._calls.append(call)
        self._calls_before.add(call.id)

    def result(self, block: Block, place: str, where: str) -> None:
        """What came of that."""
        used = block.tool_use_id or ""
        if used not in self._calls_before:
            raise InvalidRequest(
                f"tool_use_id must be the id of a tool_use block before it, not '{clipped(used)}'",
                param=f"{place}.tool_use_id",
            )
        self._enter("", where)
        self._put(ChatMessage("tool", content=_result(block, place), tool_call_id=used))

    def finish(self) -> Conversation:
        """All of it."""
        self._enter("", "")
        return Conversation(self._messages, self._places)

    def _enter(self, role: str, where: str) -> None:
        """Go on with this role's turn, or end the one before."""
        if role and role == self._role:
            return
        if self._role:
            content = _BETWEEN.join(self._texts) if self._texts or not self._calls else None
            message = ChatMessage(
                self._role,
                content=content,
                reasoning_content=_BETWEEN.join(self._thoughts) or None,
                tool_calls=self._calls or None,
            )
            self._put(message)
        self._begin(role, where)

    def _put(self, message: ChatMessage) -> None:
        self._messages.append(message)
        self._places.append(self._where)
