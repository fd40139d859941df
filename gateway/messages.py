"""Conversations as clients send them, checked and turned into what chat templates take."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from config.errors import InvalidRequest
from transport.messages.client import ChatMessage, ContentPart, ToolCall
from transport.parameters import clipped

MAX_MESSAGES = 4096
MAX_CALLS = 128  # in one message
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_NOT_YET = ("audio", "images", "function_call")
_ONLY = {
    "refusal": "assistant",
    "tool_calls": "assistant",
    "reasoning_content": "assistant",
    "reasoning": "assistant",
    "tool_call_id": "tool",
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def template_messages(messages: list[ChatMessage]) -> list[dict[str, Any]]:
    """Messages as chat templates take them.

    Raises:
        InvalidRequest: names the place of what cannot be used.
    """
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise InvalidRequest(
            f"messages must hold 1 to {MAX_MESSAGES} messages, not {len(messages)}",
            param="messages",
        )
    calls: set[str] = set()
    turns = []
    for place, message in enumerate(messages):
        turns.append(_template_message(message, f"messages[{place}]", calls))
        calls.update(call.id for call in message.tool_calls or ())
    return turns


def is_name(text: str) -> bool:
    """Whether a function may be called so."""
    return _NAME.fullmatch(text) is not None


def _template_message(message: ChatMessage, where: str, calls: set[str]) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(
            f"role '{clipped(message.role)}' is not one of {', '.join(_ROLES)}",
            param=f"{where}.role",
        )
    _check_fields(message, role, where)
    content = message.refusal if message.content is None else message.content
    if content is None and not (message.tool_calls or _thoughts(message)):
        raise InvalidRequest("a message needs content", param=f"{where}.content")
    turn = {"role": role, "content": _text(content or "", f"{where}.content")}
    if message.name is not None:
        turn["name"] = message.name
    return _TURNS[role](turn, message, where, calls)


def _check_fields(message: ChatMessage, role: str, where: str) -> None:
    for name in _NOT_YET:
        if getattr(message, name):
            raise InvalidRequest(f"{name} in messages is not supported", param=f"{where}.{name}")
    for name, owner in _ONLY.items():
        if role != owner and getattr(message, name):
            raise InvalidRequest(
                f"{name} is only for messages of the role '{owner}'", param=f"{where}.{name}"
            )


Turn = dict[str, Any]


def _plain_turn(turn: Turn, message: ChatMessage, where: str, calls: set[str]) -> Turn:
    return turn


def _assistant_turn(turn: Turn, message: ChatMessage, where: str, calls: set[str]) -> Turn:
    if thoughts := _thoughts(message):
        turn["reasoning_content"] = thoughts
    made = message.tool_calls or []
    if len(made) > MAX_CALLS:
        raise InvalidRequest(
            f"a message may hold up to {MAX_CALLS} tool calls", param=f"{where}.tool_calls"
        )
    if made:
        turn["tool_calls"] = [
            _template_call(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(made)
        ]
    return turn


def _thoughts(message: ChatMessage) -> str | None:
    return message.reasoning_content or message.reasoning


def _tool_turn(turn: Turn, message: ChatMessage, where: str, calls: set[str]) -> Turn:
    answered = message.tool_call_id
    if not answered or answered not in calls:
        said = f", not '{clipped(answered)}'" if answered else ""
        raise InvalidRequest(
            f"tool_call_id must be the id of a tool call in a message before{said}",
            param=f"{where}.tool_call_id",
        )
    return turn | {"tool_call_id": answered}


_TURNS: dict[str, Callable[[Turn, ChatMessage, str, set[str]], Turn]] = {
    "system": _plain_turn,
    "user": _plain_turn,
    "assistant": _assistant_turn,
    "tool": _tool_turn,
}


def _template_call(call: ToolCall, where: str) -> dict[str, Any]:
    if call.type != "function":
        raise InvalidRequest(
            f"type '{clipped(call.type)}' is not 'function'", param=f"{where}.type"
        )
    if not call.id:
        raise InvalidRequest("a tool call needs an id", param=f"{where}.id")
    if not is_name(call.function.name):
        raise InvalidRequest(
            f"'{clipped(call.function.name)}' is no function name", param=f"{where}.function.name"
        )
    function = {"name": call.function.name, "arguments": _arguments(call.function.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _arguments(text: str) -> dict[str, Any] | str:
    """As an object, which templates write their own way; a call that was cut off stays text."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    return arguments if isinstance(arguments, dict) else text


def _text(content: str | list[ContentPart], where: str) -> str:
    if isinstance(content, str):
        return content
    return "".join([_part(part, where, place) for place, part in enumerate(content)])


def _part(part: ContentPart, where: str, place: int) -> str:
    if part.type not in ("text", "refusal"):
        raise InvalidRequest(
            f"content of type '{clipped(part.type)}' is not supported; this model reads text",
            param=f"{where}[{place}].type",
        )
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequest(
            f"a {part.type} part needs {part.type}", param=f"{where}[{place}].{part.type}"
        )
    return text
