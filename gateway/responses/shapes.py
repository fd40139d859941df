"""The response object, as it is sent and stored.

Source: https://platform.openai.com/docs/api-reference/responses/object.
"""

from typing import Any, Literal

from msgspec import Struct

from config.errors import InvalidRequest, ServingError
from gateway.answer import Ending
from gateway.http.errors import public_message, status_of
from gateway.responses.items import Item
from gateway.responses.schema import ResponseBody, TextFormat

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]


class FunctionTool(Struct, frozen=True, tag="function", tag_field="type"):
    """A tool that the model could call."""

    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class TextShape(Struct, frozen=True):
    """What the answer had to be like."""

    format: TextFormat = TextFormat("text")
    verbosity: str = "medium"


class ReasoningShape(Struct, frozen=True):
    """How the model was to think."""

    effort: str | None = None
    summary: str | None = None


class ErrorShape(Struct, frozen=True):
    """Why there is no (further) answer."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(Struct, frozen=True):
    """Why the answer is cut off."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class InputDetails(Struct, frozen=True):
    """Which tokens of the input were cheap."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(Struct, frozen=True):
    """What the tokens of the output were for."""

    reasoning_tokens: int = 0


class Usage(Struct, frozen=True):
    """What the response cost, in tokens."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseObject(Struct, frozen=True, kw_only=True):
    """A response, finished or not; times are wall clock in seconds."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus = "in_progress"
    background: bool = False
    completed_at: int | None = None
    error: ErrorShape | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[Item] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: ReasoningShape = ReasoningShape()
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    text: TextShape = TextShape()
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[FunctionTool] = []
    top_logprobs: int = 0
    truncation: str = "disabled"
    usage: Usage | None = None
    user: str | None = None
    metadata: dict[str, str] = {}


class ItemList(Struct, frozen=True):
    """A page of items."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class Deleted(Struct, frozen=True):
    """A response is gone."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


# What a response says of its request as it came, unless it was left out.
_ECHOED = (
    "background",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "tool_choice",
    "top_logprobs",
    "truncation",
    "user",
    "metadata",
)


def begun(body: ResponseBody, response_id: str, model: str, created_at: int) -> ResponseObject:
    """The response to a request that was accepted."""
    echoed = {name: getattr(body, name) for name in _ECHOED if getattr(body, name) is not None}
    if body.text is not None and body.text.format is not None:
        echoed["text"] = TextShape(body.text.format)
    if body.reasoning is not None:
        summary = body.reasoning.summary or body.reasoning.generate_summary
        echoed["reasoning"] = ReasoningShape(body.reasoning.effort, summary)
    if body.tools:
        echoed["tools"] = [
            FunctionTool(tool.name or "", tool.description, tool.parameters, tool.strict)
            for tool in body.tools
        ]
    return ResponseObject(
        id=response_id, created_at=created_at, model=model, store=body.stored, **echoed
    )


def usage(end: Ending) -> Usage:
    """What an answer cost."""
    return Usage(
        end.prompt_tokens,
        InputDetails(end.cached_tokens),
        end.completion_tokens,
        OutputDetails(end.reasoning_tokens or 0),
        end.prompt_tokens + end.completion_tokens,
    )


def error_shape(error: ServingError) -> ErrorShape:
    """An error within a response, where OpenAI has few codes."""
    if isinstance(error, InvalidRequest):
        return ErrorShape("invalid_prompt", public_message(error))
    if status_of(error) == 429:
        return ErrorShape("rate_limit_exceeded", public_message(error))
    return ErrorShape("server_error", public_message(error))
