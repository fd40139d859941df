"""What clients may send, and how it becomes `Parameters`.

Source: https://platform.openai.com/docs/api-reference/chat/create and .../completions/create,
with the extensions that vLLM made common (`top_k`, `min_p`, `stop_token_ids`, `ignore_eos`,
`repetition_penalty`, `structured_outputs`, `guided_*`, `chat_template_kwargs`).
"""

from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.efforts import Effort, effort_arguments
from gateway.http.body import BodyReader
from gateway.parameters import MAX_TOP_LOGPROBS, RANGES, Range
from transport.messages.client import ChatMessage, GenerationParameters

# Those of OpenAI's clients; here all are one.
Tier = Literal["auto", "default", "fast", "flex", "priority", "scale", "ultrafast"]


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream carries besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Body(GenerationParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both kinds of request have in common.

    `prompt_cache_key` or `user` name the session, where no header does. Below them come parameters
    that change nothing here (nor does `service_tier`), then those that are known and not done: they
    may be sent with the values that ask for nothing.
    """

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: Tier | None = None
    prompt_cache_key: str | None = None
    user: str | None = None

    metadata: dict[str, Any] | None = None
    store: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None

    min_tokens: Any = None


class ChatBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage]
    reasoning_effort: Effort | None = None
    prediction: Any = None

    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    verbosity: Any = None
    web_search_options: Any = None
    moderation: Any = None
    chat_template: Any = None

    def with_effort(self) -> "ChatBody":
        """The same with the effort among the variables of the template; what the client itself
        says there counts."""
        if self.reasoning_effort is None:
            return self
        arguments = effort_arguments(self.reasoning_effort) | (self.chat_template_kwargs or {})
        return msgspec.structs.replace(self, chat_template_kwargs=arguments)


class CompletionBody(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/completions`; `prompt` is one text, one list of token ids, or a list of either."""

    prompt: str | list[int | str | list[int]]
    best_of: int | None = None
    echo: bool | None = None

    suffix: Any = None

    def prompts(self) -> list[str | list[int]]:
        """The prompts, each to be answered by a choice of its own.

        Raises:
            InvalidRequest: there is none, or the list mixes kinds.
        """
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [cast("list[int]", self.prompt)]  # what is no id is found with the ids
        elif 0 < len(self.prompt) <= MAX_PROMPTS:
            prompts = [item for item in self.prompt if not isinstance(item, int)]
            if len(prompts) == len(self.prompt):
                return prompts
        raise InvalidRequest(
            f"prompt is a text, a list of token ids, or a list of 1 to {MAX_PROMPTS} of them",
            param="prompt",
        )


MAX_PROMPTS = 128
# Parameters that are known and not done, with the values that ask for nothing.
_INERT: dict[str, tuple[Any, ...]] = {
    "min_tokens": (0,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "verbosity": ("medium",),
    "web_search_options": (),
    "moderation": (),
    "chat_template": (),
    "suffix": ("",),
}
_ONLY_CHAT: dict[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": (),
    "parallel_tool_calls": (False,),
    "chat_template_kwargs": ({},),
    "top_logprobs": (0,),
}
_IGNORED = (
    "stream_options.include_obfuscation",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_retention",
    "prompt_cache_options",
    "prediction",
)
_INSTEAD = {
    "functions": "; use tools",
    "function_call": "; use tool_choice",
}
B = TypeVar("B", bound=Body)
_READERS: dict[type[Body], BodyReader[Any]] = {
    ChatBody: BodyReader(
        ChatBody, _INERT, _INSTEAD, _IGNORED, RANGES, types={"logprobs": bool | None}
    ),
    CompletionBody: BodyReader(
        CompletionBody,
        _INERT | _ONLY_CHAT,
        _INSTEAD | dict.fromkeys(_ONLY_CHAT, "; it is for chats"),
        _IGNORED,
        RANGES | {"logprobs": Range(0, MAX_TOP_LOGPROBS)},
        types={"logprobs": int | None},
        notes={"best_of": "the same as n"},
    ),
}


def read_body(kind: type[B], raw: bytes) -> B:
    """The request in a body.

    Raises:
        InvalidRequest: not JSON, or names the parameter that is unknown, wrong or not supported.
    """
    body: B = _READERS[kind].read(raw)
    _check_stream_options(body)
    if isinstance(body, CompletionBody):
        _check_completion(body)
    return body


def _check_stream_options(body: Body) -> None:
    if body.stream_options is not None and not body.stream:
        raise InvalidRequest(
            "stream_options is only for requests with stream: true", param="stream_options"
        )


def _check_completion(body: CompletionBody) -> None:
    if body.echo and body.logprobs is not None and body.logprobs is not False:
        raise InvalidRequest(
            "echo with logprobs is not supported: prompts have no log-probabilities here",
            param="echo",
        )
    if body.best_of not in {None, body.n or 1}:
        raise InvalidRequest(
            "best_of is only supported where it equals n: all answers are given", param="best_of"
        )
