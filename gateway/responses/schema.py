"""What clients may send to `POST /v1/responses`.

Source: https://platform.openai.com/docs/api-reference/responses/create, with extensions that vLLM
made common (`top_k`, `min_p`, `repetition_penalty`, `seed`, `stop`, `chat_template_kwargs`).
"""

from typing import Any, Literal

from msgspec import Struct, field

from config.errors import InvalidRequest
from gateway.efforts import Effort
from gateway.http.body import BodyReader
from gateway.parameters import RANGES, Range
from gateway.responses.input import InputItem
from transport.parameters import clipped

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
LOGPROBS = "message.output_text.logprobs"
SummaryKind = Literal["auto", "concise", "detailed"]


class ReasoningOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How to think. Thoughts are given whole, so there are no summaries to choose from."""

    effort: Effort | None = None
    summary: SummaryKind | None = None
    generate_summary: SummaryKind | None = None
    context: Literal["auto"] | None = None
    mode: Literal["standard"] | None = None


class TextFormat(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer must be like."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = None


class Tool(Struct, frozen=True):
    """A tool; those that are no functions have other fields, not looked at."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    in_parallel: bool | None = field(default=None, name="async")


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How to stream; nothing is obfuscated, whatever is said."""

    include_obfuscation: bool | None = None


class ResponseBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/responses`.

    Below `user` come parameters that change nothing here, then those that are known and not done:
    they may be sent with the values that ask for nothing.
    """

    input: str | list[InputItem]
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    priority: int | None = None
    stop: str | list[str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    prompt_cache_key: str | None = None
    user: str | None = None

    max_tool_calls: int | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None

    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
    access_programs: Any = None
    background_options: Any = None
    image: Any = None

    @property
    def stored(self) -> bool:
        """Whether the response is kept; without a word it is."""
        return self.store is not False


_INERT: dict[str, tuple[Any, ...]] = {
    "conversation": (),
    "prompt": (),
    "context_management": ([],),
    "moderation": (),
    "access_programs": ({},),
    "background_options": ({}, {"completion_window": "soonest"}),
    "image": ({}, {"context_compression": "auto"}, {"context_compression": "disabled"}),
}
_IGNORED = (
    "max_tool_calls",
    "safety_identifier",
    "service_tier",
    "prompt_cache_retention",
    "prompt_cache_options",
    "stream_options.include_obfuscation",
    "reasoning.summary",
    "reasoning.generate_summary",
)
_INSTEAD = {
    "conversation": "; use previous_response_id",
    "prompt": "; send instructions and input",
    "context_management": "; truncation: auto drops what does not fit",
}
# What there may be more of in answers. There is none of the others: their tools are refused, and
# thoughts are not encrypted.
_INCLUDABLE = {
    LOGPROBS,
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
}
_OWN_RANGES: dict[str, Range] = {"max_output_tokens": Range(1)}
_READER = BodyReader(ResponseBody, _INERT, _INSTEAD, _IGNORED, RANGES | _OWN_RANGES)


def read_response_body(raw: bytes) -> ResponseBody:
    """The request in a body.

    Raises:
        InvalidRequest: not JSON, or names the parameter that is unknown, wrong or not supported.
    """
    body = _READER.read(raw)
    for name, allowed in _OWN_RANGES.items():
        allowed.check(getattr(body, name), name)
    for place, name in enumerate(body.include or ()):
        if name not in _INCLUDABLE:
            raise InvalidRequest(
                f"'{clipped(name)}' is nothing that could be included", param=f"include[{place}]"
            )
    _check_metadata(body.metadata or {})
    _check_background(body)
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(
            "stream_options is only for requests with stream: true", param="stream_options"
        )
    return body


def _check_metadata(given: dict[str, str]) -> None:
    if len(given) > MAX_METADATA:
        raise InvalidRequest(f"metadata may hold up to {MAX_METADATA} pairs", param="metadata")
    for key, value in given.items():
        if len(key) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise InvalidRequest(
                f"a key in metadata has up to {MAX_METADATA_KEY} characters, a value up to "
                f"{MAX_METADATA_VALUE}",
                param=f"metadata.{clipped(key)}",
            )


def _check_background(body: ResponseBody) -> None:
    if body.background and not body.stored:
        raise InvalidRequest(
            "a background response must be stored, or nobody could ask for it", param="background"
        )
