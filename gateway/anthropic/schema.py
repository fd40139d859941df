"""What clients may send to `POST /v1/messages` and `POST /v1/messages/count_tokens`.

Source: https://docs.anthropic.com/en/api/messages, and the types of the official Python client.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from gateway.http.body import BodyReader
from gateway.parameters import RANGES, Range

Effort = Literal["low", "medium", "high", "xhigh", "max"]
_OBJECT = msgspec.Meta(extra_json_schema={"type": "object"})  # for the documentation


class Block(Struct, frozen=True):
    """A part of a message, of any kind.

    Fields that are not here are those of kinds that are refused, what says nothing here
    (`cache_control`, `signature`), and what clients' own types add.
    """

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Annotated[msgspec.Raw, _OBJECT] = msgspec.field(default_factory=msgspec.Raw)
    tool_use_id: str | None = None
    content: "str | list[Block] | dict[str, Any] | None" = None
    is_error: bool | None = None


class InputMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a conversation, or a part of one."""

    role: str
    content: str | list[Block]


class Tool(Struct, frozen=True):
    """A tool; Anthropic's own have other fields, not looked at.

    `cache_control` and `eager_input_streaming` say nothing here: inputs are always streamed as they
    are written.
    """

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[Any] | None = None


class ToolChoice(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model may or must do with the tools."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to think first, and whether to tell."""

    type: str
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer must look like."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer must be like."""

    effort: Effort | None = None
    format: OutputFormat | None = None


class Metadata(Struct, frozen=True):
    """Who asks."""

    user_id: str | None = None


class PromptBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is said to the model.

    `cache_control` changes nothing here: prefixes are stored and found without being marked. What
    comes after it is known and not done, and may be sent with the values that ask for nothing.
    """

    messages: list[InputMessage]
    model: str | None = None
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = None

    speed: Any = None
    mcp_servers: Any = None
    context_management: Any = None
    output_format: Any = None
    container: Any = None
    inference_geo: Any = None
    diagnostics: Any = None
    compaction: Any = None
    fallbacks: Any = None
    fallback_credit_token: Any = None
    billing_policy: Any = None
    thread: Any = None


class CountBody(PromptBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/messages/count_tokens`; clients send what they would have answered, and the rest of
    that changes nothing here."""

    max_tokens: Any = None
    stream: Any = None
    stop_sequences: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    metadata: Any = None
    service_tier: Any = None


class MessagesBody(PromptBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/messages`; `service_tier`, too, changes nothing here."""

    max_tokens: int
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: Metadata | None = None
    service_tier: str | None = None


_INERT: dict[str, tuple[Any, ...]] = {
    "speed": ("standard",),
    "mcp_servers": ([],),
    "context_management": (
        {},
        {"edits": []},
        {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    ),
    "output_format": (),
    "container": (),
    "inference_geo": ("global",),
    "diagnostics": (),
    "compaction": (),
    "fallbacks": ([],),
    "fallback_credit_token": (),
    "billing_policy": (),
    "thread": (),
}
TEMPERATURE = Range(0, 1)
_IGNORED = ("cache_control", "service_tier", "thinking.budget_tokens")
_BUDGET = "1024 or more"  # checked, as a client that says less means something else
_IGNORED_IN_COUNTS = set(CountBody.__struct_fields__) - set(PromptBody.__struct_fields__)
_INSTEAD = {
    "mcp_servers": "; run them yourself and send their tools",
    "output_format": "; use output_config.format",
}
read_messages = BodyReader(
    MessagesBody,
    _INERT,
    _INSTEAD,
    _IGNORED,
    RANGES | {"temperature": TEMPERATURE},
    notes={"thinking.budget_tokens": f"{_BUDGET}, and less than max_tokens"},
).read
read_count = BodyReader(
    CountBody,
    _INERT,
    _INSTEAD,
    {*_IGNORED, *_IGNORED_IN_COUNTS},
    notes={"thinking.budget_tokens": _BUDGET},
).read
