"""The parameters of a response as the rest of the gateway knows them."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.efforts import effort_arguments
from gateway.names import Names
from gateway.responses.schema import LOGPROBS, ResponseBody, TextFormat, Tool
from gateway.tools import allowed_tools
from transport.messages.client import GenerationParameters
from transport.parameters import clipped, typed

_SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "priority",
    "stop",
    "parallel_tool_calls",
)
NAMES = Names(
    {"messages": "input"},
    (
        ("response_format.json_schema", "text.format"),
        ("response_format", "text.format"),
        ("max_completion_tokens", "max_output_tokens"),
        (".function.", "."),
    ),
)


class _Chosen(Struct, frozen=True):
    """`tool_choice` when it is an object."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[Tool] | None = None


def generation_parameters(body: ResponseBody) -> GenerationParameters:
    """How to generate.

    Raises:
        InvalidRequest: names the parameter that is wrong or not supported.
    """
    choice, allowed = _choice(body.tool_choice)
    tools = _tools(body.tools or [])
    if allowed is not None:
        tools = allowed_tools(tools, allowed, "tool_choice.tools")
    logprobs = LOGPROBS in (body.include or ()) or bool(body.top_logprobs)
    same = {name: getattr(body, name) for name in _SAME}
    return GenerationParameters(
        **same,
        max_completion_tokens=body.max_output_tokens,
        logprobs=logprobs,
        top_logprobs=body.top_logprobs if logprobs else None,
        response_format=_format(body.text.format if body.text else None),
        tools=tools or None,
        tool_choice=choice,
        chat_template_kwargs=_template_arguments(body),
    )


def _format(given: TextFormat | None) -> dict[str, Any] | None:
    if given is None or given.type == "text":
        return None
    if given.type == "json_object":
        return {"type": given.type}
    if given.schema is None or not given.name:
        missing = "schema" if given.schema is None else "name"
        raise InvalidRequest(f"json_schema needs a {missing}", param=f"text.format.{missing}")
    schema = {"name": given.name, "schema": given.schema, "strict": given.strict}
    return {"type": given.type, "json_schema": schema}


def _tools(given: Sequence[Tool]) -> list[dict[str, Any]]:
    return [_tool(tool, f"tools[{place}]") for place, tool in enumerate(given)]


def _tool(tool: Tool, where: str) -> dict[str, Any]:
    if tool.type != "function":
        raise InvalidRequest(
            f"tools of type '{clipped(tool.type)}' are not supported; functions are",
            param=f"{where}.type",
        )
    for name, asked in (
        ("defer_loading", tool.defer_loading),
        ("async", tool.in_parallel),
        ("allowed_callers", tool.allowed_callers and "direct" not in tool.allowed_callers),
    ):
        if asked:
            raise InvalidRequest(
                f"{name} is not supported: the model sees all tools and calls them itself",
                param=f"{where}.{name}",
            )
    function: dict[str, Any] = {"name": tool.name or ""}
    for name in ("description", "parameters", "strict"):
        if (value := getattr(tool, name)) is not None:
            function[name] = value
    return {"type": "function", "function": function}


def _choice(
    given: str | dict[str, Any] | None,
) -> tuple[str | dict[str, Any] | None, list[str] | None]:
    """The choice as chats have it, and the names of the tools that are left to choose from."""
    if not isinstance(given, dict):
        return given, None
    chosen = typed(given, _Chosen, "tool_choice")
    match chosen.type:
        case "function" if chosen.name is not None:
            return {"type": "function", "function": {"name": chosen.name}}, None
        case "function":
            raise InvalidRequest("name the function", param="tool_choice.name")
        case "allowed_tools":
            return chosen.mode, [tool.name or "" for tool in chosen.tools or ()]
    raise InvalidRequest(
        f"tool_choice of type '{clipped(chosen.type)}' is not supported", param="tool_choice.type"
    )


def _template_arguments(body: ResponseBody) -> dict[str, Any] | None:
    effort = body.reasoning.effort if body.reasoning else None
    return effort_arguments(effort) | (body.chat_template_kwargs or {}) or None
