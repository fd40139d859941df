"""The objects of the OpenAI API that we answer with."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.answer import Ending
from gateway.http.logprobs import ChatLogprobs, TextLogprobs

FinishReason = Literal["stop", "length", "tool_calls"]
ServiceTier = Literal["default"]


class PromptDetails(Struct, frozen=True):
    """Which prompt tokens were cheap."""

    cached_tokens: int = 0


class CompletionDetails(Struct, frozen=True):
    """What the tokens of the answers were for."""

    reasoning_tokens: int


class Usage(Struct, frozen=True):
    """What the request cost, in tokens; `completion_tokens_details` are of models that think."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails | msgspec.UnsetType = msgspec.UNSET


class CalledFunction(Struct, frozen=True, omit_defaults=True):
    """Which function with what, or a piece of that."""

    name: str | None = None
    arguments: str | None = None


class CallShape(Struct, frozen=True, omit_defaults=True):
    """A tool call, or a piece of one; `index` is in pieces only."""

    function: CalledFunction
    index: int | None = None
    id: str | None = None
    type: Literal["function"] | None = None


class Message(Struct, frozen=True):
    """The assistant's answer."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[CallShape] | msgspec.UnsetType = msgspec.UNSET


class ChatChoice(Struct, frozen=True):
    """One answer of a chat."""

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class TextChoice(Struct, frozen=True):
    """One continuation of a prompt, whole or a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class Delta(Struct, frozen=True, omit_defaults=True):
    """A piece of the assistant's answer."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallShape] | None = None


class ChunkChoice(Struct, frozen=True):
    """A piece of one answer of a chat."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class Head(Struct, frozen=True):
    """What is the same in all objects of one request."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: ServiceTier | msgspec.UnsetType = msgspec.UNSET  # said when it was asked for


class ChatCompletion(Struct, frozen=True):
    """A whole answer of a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: ServiceTier | msgspec.UnsetType = msgspec.UNSET


class ChatChunk(Struct, frozen=True):
    """A chunk of an answer of a chat; `usage` is left out unless asked for."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    service_tier: ServiceTier | msgspec.UnsetType = msgspec.UNSET


class TextCompletion(Struct, frozen=True):
    """Continuations of prompts, whole or a chunk of them, from which `usage` is left out unless
    asked for."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET


def usage(ends: Sequence[Ending], n: int) -> Usage:
    """The usage of a request with these answers, always `n` in a row to the same prompt.

    A prompt is read and counted once; what of it was cached, the answer that came first knows,
    the others found what that one had read.
    """
    if len(ends) == 1:
        (end,) = ends
        total = end.prompt_tokens + end.completion_tokens
        details = PromptDetails(end.cached_tokens)
        return Usage(end.prompt_tokens, end.completion_tokens, total, details, _thoughts(ends))
    prompt = sum(end.prompt_tokens for end in ends[::n])
    completion = sum(end.completion_tokens for end in ends)
    cached = sum(
        min(end.cached_tokens for end in ends[at : at + n]) for at in range(0, len(ends), n)
    )
    details = PromptDetails(cached)
    return Usage(prompt, completion, prompt + completion, details, _thoughts(ends))


def _thoughts(ends: Sequence[Ending]) -> CompletionDetails | msgspec.UnsetType:
    """Of answers of one model, so that all have them or none has."""
    if ends[0].reasoning_tokens is None:
        return msgspec.UNSET
    return CompletionDetails(sum(end.reasoning_tokens or 0 for end in ends))
