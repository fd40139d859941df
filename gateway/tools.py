"""Which tools a conversation may use, as clients say it."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.messages import is_name
from gateway.text.grammar import oversized
from transport.messages.client import GenerationParameters
from transport.parameters import clipped, typed

MAX_TOOLS = 128
MAX_KWARGS = 64
MAX_KWARGS_BYTES = 32 * 1024
_RESERVED = {"messages", "tools", "documents", "add_generation_prompt", "chat_template"}
Choice = Literal["auto", "required"]


class _Function(Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(Struct, frozen=True):
    type: str
    function: _Function | None = None


class _Named(Struct, frozen=True):
    name: str


class _Chosen(Struct, frozen=True):
    """`tool_choice` when it names one tool."""

    type: Literal["function"]
    function: _Named


class _Allowed(Struct, frozen=True):
    mode: Choice
    tools: list[_Chosen]


class _Allowing(Struct, frozen=True):
    """`tool_choice` when it leaves some of the tools."""

    allowed_tools: _Allowed


class ToolUse(Struct, frozen=True):
    """The tools that are shown to the model, and what it may or must do with them."""

    tools: list[dict[str, Any]]
    choice: Choice
    named: str | None = None  # the one function that must be called; `choice` is "required"
    parallel: bool = True


def tool_use(asked: GenerationParameters, max_schema_bytes: int) -> ToolUse | None:
    """What is asked for; None where no tool may be called: then the model sees none.

    Each function's schema may have `max_schema_bytes`.

    Raises:
        InvalidRequest: names the parameter, and the tool, that is wrong.
    """
    choice, named, allowed = _choice(asked.tool_choice)
    if choice == "none":
        return None
    tools = asked.tools or []
    names = _names(tools, max_schema_bytes)
    if allowed is not None:
        tools = allowed_tools(tools, allowed, "tool_choice.allowed_tools.tools")
    if not tools:
        if choice == "required":
            raise InvalidRequest("tool_choice asks for a call, without tools", param="tool_choice")
        return None
    if named is not None and named not in names:
        raise InvalidRequest(f"there is no tool called '{clipped(named)}'", param="tool_choice")
    return ToolUse(tools, choice, named, asked.parallel_tool_calls is not False)


def allowed_tools(
    tools: list[dict[str, Any]], names: Sequence[str], where: str
) -> list[dict[str, Any]]:
    """Those of these names; the tools are checked already.

    Raises:
        InvalidRequest: there is none of a name, which stands at `where`.
    """
    known = {tool["function"]["name"] for tool in tools}
    for place, name in enumerate(names):
        if name not in known:
            raise InvalidRequest(
                f"there is no tool called '{clipped(name)}'", param=f"{where}[{place}]"
            )
    return [tool for tool in tools if tool["function"]["name"] in names]


def template_arguments(asked: GenerationParameters) -> dict[str, Any]:
    """What the client has the chat template know besides.

    Raises:
        InvalidRequest: too much of it, or what the server itself says there.
    """
    given = asked.chat_template_kwargs
    if not given:
        return {}
    param = "chat_template_kwargs"
    if len(given) > MAX_KWARGS or len(msgspec.json.encode(given)) > MAX_KWARGS_BYTES:
        raise InvalidRequest(
            f"{param} may hold up to {MAX_KWARGS} values and {MAX_KWARGS_BYTES} bytes", param=param
        )
    for name in given:
        if name in _RESERVED or not name.isidentifier() or name.startswith("_"):
            shown = clipped(name)
            raise InvalidRequest(f"{param} may not set '{shown}'", param=f"{param}.{shown}")
    return given


def _choice(
    given: str | dict[str, Any] | None,
) -> tuple[Choice | Literal["none"], str | None, list[str] | None]:
    """What may or must be done, with which function, and those that are left to choose from."""
    match given:
        case None:
            return "auto", None, None
        case "auto" | "none" | "required":
            return given, None, None
        case {"type": "allowed_tools"}:
            allowed = typed(given, _Allowing, "tool_choice").allowed_tools
            return allowed.mode, None, [tool.function.name for tool in allowed.tools]
        case dict():
            return "required", typed(given, _Chosen, "tool_choice").function.name, None
    raise InvalidRequest(
        f"tool_choice is auto, none, required or a function, not '{clipped(given)}'",
        param="tool_choice",
    )


def _names(tools: list[dict[str, Any]], max_schema_bytes: int) -> list[str]:
    if len(tools) > MAX_TOOLS:
        raise InvalidRequest(f"tools may hold up to {MAX_TOOLS} tools", param="tools")
    names = [_name(tool, f"tools[{place}]", max_schema_bytes) for place, tool in enumerate(tools)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"there are several tools called '{twice}'", param="tools")
    return names


def _name(given: dict[str, Any], where: str, max_schema_bytes: int) -> str:
    tool = typed(given, _Tool, where)
    if tool.type != "function":
        raise InvalidRequest(
            f"tools of type '{clipped(tool.type)}' are not supported; functions are",
            param=f"{where}.type",
        )
    if tool.function is None:
        raise InvalidRequest("a tool needs its function", param=f"{where}.function")
    if not is_name(tool.function.name):
        raise InvalidRequest(
            "a function's name has 1 to 128 letters, digits, '_', '-' or '.'",
            param=f"{where}.function.name",
        )
    _check_size(tool.function.parameters, f"{where}.function.parameters", max_schema_bytes)
    return tool.function.name


def _check_size(schema: dict[str, Any] | None, where: str, max_bytes: int) -> None:
    try:
        size = len(msgspec.json.encode(schema))
    except RecursionError as error:
        raise InvalidRequest(f"{where} is nested too deeply", param=where) from error
    if size > max_bytes:
        raise oversized(size, max_bytes, where)
