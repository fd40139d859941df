"""The parameters of a message as the rest of the gateway knows them, and its faults told back."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from config.errors import ContextTooLong, InvalidRequest
from gateway.anthropic.schema import TEMPERATURE, MessagesBody, PromptBody, Tool, ToolChoice
from gateway.efforts import Effort, check_effort, effort_arguments
from gateway.names import Names
from gateway.parameters import Range
from gateway.text.model import TextModel
from transport.messages.client import GenerationParameters
from transport.parameters import clipped

_BUDGET = Range(1024)
_DEFAULT_EFFORT: Effort = "high"
_AS_EFFORT: dict[str, Effort] = {"enabled": _DEFAULT_EFFORT, "disabled": "none"}
_NAMES = Names(
    {"stop": "stop_sequences"},
    (
        ("response_format.json_schema", "output_config.format"),
        ("response_format", "output_config.format"),
        (".function.parameters", ".input_schema"),
        (".function.", "."),
    ),
)


def generation_parameters(body: MessagesBody) -> GenerationParameters:
    """How to generate.

    Raises:
        InvalidRequest: names the parameter that is wrong or not supported.
    """
    TEMPERATURE.check(body.temperature, "temperature")
    budget = body.thinking.budget_tokens if body.thinking else None
    if budget is not None and budget >= body.max_tokens:
        raise InvalidRequest(
            "budget_tokens must be less than max_tokens, which thoughts count towards",
            param="thinking.budget_tokens",
        )
    return GenerationParameters(
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        stop=body.stop_sequences,
        **_asked(body),
    )


def prompt_parameters(body: PromptBody) -> GenerationParameters:
    """What of it changes the prompt.

    Raises:
        InvalidRequest: as `generation_parameters`.
    """
    return GenerationParameters(**_asked(body))


def check_thinking(body: PromptBody, text: TextModel) -> None:
    """See that the model can do what is said of its thoughts.

    Raises:
        InvalidRequest: it never thinks, or always.
    """
    kind = body.thinking.type if body.thinking else ""
    check_effort(_AS_EFFORT.get(kind), text, "thinking.type")
    effort = body.output_config.effort if body.output_config else None
    if effort != _DEFAULT_EFFORT:
        check_effort(effort, text, "output_config.effort")


@contextlib.contextmanager
def told_in_our_names(places: Sequence[str]) -> Iterator[None]:
    """Tell faults that are found inside by the names that parameters have here.

    `places` has the parameter that each message of the conversation comes from.

    Raises:
        InvalidRequest: in place of the one that was raised, and of its kind.
    """
    try:
        with _NAMES.told(places):
            yield
    except ContextTooLong as error:  # clients look for Anthropic's words
        raise ContextTooLong(f"prompt is too long: {error.message}") from error


def _asked(body: PromptBody) -> dict[str, Any]:
    choice = body.tool_choice
    single = choice is not None and choice.disable_parallel_tool_use is True
    form = body.output_config.format if body.output_config else None
    tools = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(body.tools or ())]
    return {
        "tools": tools or None,
        "tool_choice": _choice(choice),
        "parallel_tool_calls": False if single else None,
        "response_format": _format(form.schema) if form else None,
        "chat_template_kwargs": _template_arguments(body),
    }


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"schema": schema, "strict": True}}


def _tool(tool: Tool, where: str) -> dict[str, Any]:
    if tool.type not in {None, "custom"}:
        raise InvalidRequest(
            f"tools of type '{clipped(tool.type or '')}' are not supported; those with an "
            "input_schema are",
            param=f"{where}.type",
        )
    if tool.input_schema is None:
        raise InvalidRequest("a tool needs an input_schema", param=f"{where}.input_schema")
    for name, harmless in _TOOL_INERT.items():
        if (getattr(tool, name) or harmless) != harmless:
            raise InvalidRequest(f"{name} is not supported", param=f"{where}.{name}")
    function: dict[str, Any] = {"name": tool.name or "", "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


_TOOL_INERT: dict[str, Any] = {
    "defer_loading": False,
    "allowed_callers": ["direct"],
    "input_examples": [],
}


def _choice(given: ToolChoice | None) -> str | dict[str, Any] | None:
    match given:
        case None:
            return None
        case ToolChoice(type="auto" | "none" as kind):
            return kind
        case ToolChoice(type="any"):
            return "required"
        case ToolChoice(type="tool", name=str(name)):
            return {"type": "function", "function": {"name": name}}
        case ToolChoice(type="tool"):
            raise InvalidRequest("name the tool", param="tool_choice.name")
    raise InvalidRequest(
        f"tool_choice is of type auto, any, tool or none, not '{clipped(given.type)}'",
        param="tool_choice.type",
    )


def _template_arguments(body: PromptBody) -> dict[str, Any]:
    """Whether to think is not said by the effort here."""
    arguments = effort_arguments(body.output_config.effort if body.output_config else None)
    return arguments | {"enable_thinking": _thinks(body)}


def _thinks(body: PromptBody) -> bool:
    """Whether the model is to think; where nothing is said it is not, as with Anthropic's own."""
    if body.thinking is None:
        return False
    match body.thinking.type:
        case "enabled":
            budget = body.thinking.budget_tokens
            if budget is None:
                raise InvalidRequest("say budget_tokens", param="thinking.budget_tokens")
            _BUDGET.check(budget, "thinking.budget_tokens")
            return True
        case "adaptive":
            return True
        case "disabled":
            return False
    raise InvalidRequest(
        f"thinking of type '{clipped(body.thinking.type)}' is not supported; enabled, adaptive "
        "and disabled are",
        param="thinking.type",
    )
