"""Checks what clients ask for, whichever way they came; every fault names its parameter."""

import hashlib
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from msgspec import Struct

from config.errors import ContextTooLong, InvalidRequest
from gateway.ids import random_bits
from transport.messages.client import GenerationParameters
from transport.messages.data import Sampling
from transport.messages.topology import ModelCard, ModelKind
from transport.parameters import clipped

MAX_STOPS = 16
MAX_STOP_CHARS = 1000
MAX_STOP_TOKENS = 256
MAX_N = 16
MAX_BIASES = 1024
MAX_TOP_LOGPROBS = 20
_MAX_INT64 = 2**63 - 1


class Range(Struct, frozen=True):
    """What a number may be: from `low` to `high`, if that is set; with `over`, not `low` itself."""

    low: float
    high: float | None = None
    over: bool = False

    def __str__(self) -> str:
        if self.over:
            return f"over {self.low}" + ("" if self.high is None else f" and up to {self.high}")
        return f"{self.low} or more" if self.high is None else f"from {self.low} to {self.high}"

    def __contains__(self, value: float) -> bool:
        low = value > self.low if self.over else value >= self.low
        return low and (self.high is None or value <= self.high)

    def check(self, value: float | None, param: str, name: str = "") -> None:
        """Refuse a value that is not in it; `name` is what to call it, if not as the parameter.

        Raises:
            InvalidRequest: names the parameter and what it may be.
        """
        if value is not None and value not in self:
            raise InvalidRequest(f"{name or param} must be {self}, not {value}", param=param)


_TOKENS = Range(1)  # too many are cut to what the context holds
_BEST = Range(0, MAX_TOP_LOGPROBS)
RANGES: dict[str, Range] = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "min_p": Range(0, 1),
    "top_k": Range(-1, 2**31 - 1),
    "xtc_probability": Range(0, 1),
    "xtc_threshold": Range(0, 0.5),
    "repetition_penalty": Range(0, 10, over=True),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
    "seed": Range(-(2**63), _MAX_INT64),
    "n": Range(1, MAX_N),
    "priority": Range(-(2**31), 2**31 - 1),
    "top_logprobs": _BEST,
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
}
_values = attrgetter(*RANGES)
_UNSAID = (None,) * len(RANGES)
_BIAS = Range(-100, 100)
_TIMEOUT_S = Range(0, over=True)
_ONLY_CHAT = ("tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs")
_of_chats = attrgetter(*_ONLY_CHAT)
_SHAPING = (
    "top_p", "top_k", "min_p", "xtc_probability", "xtc_threshold", "repetition_penalty",
    "presence_penalty", "frequency_penalty", "logit_bias",
)  # fmt: skip
_shaping = attrgetter(*_SHAPING)
_PLAIN = (None,) * len(_SHAPING)


def check_parameters(asked: GenerationParameters) -> None:
    """Refuse values out of range.

    Raises:
        InvalidRequest: names the parameter and what it may be.
    """
    values = _values(asked)
    if values != _UNSAID:
        for name, value in zip(RANGES, values, strict=True):
            if value is not None:
                RANGES[name].check(value, name)
    if asked.stop is not None:
        stop_texts(asked)
    if asked.stop_token_ids and len(asked.stop_token_ids) > MAX_STOP_TOKENS:
        raise InvalidRequest(
            f"stop_token_ids may hold up to {MAX_STOP_TOKENS} ids", param="stop_token_ids"
        )


def check_timeout(timeout_s: float | None) -> None:
    """Refuse a time in which nothing can be done.

    Raises:
        InvalidRequest: it is 0 or less.
    """
    _TIMEOUT_S.check(timeout_s, "timeout_s")


def check_prompt_parameters(asked: GenerationParameters) -> None:
    """Refuse what only conversations have.

    Raises:
        InvalidRequest: names it.
    """
    if not any(_of_chats(asked)):
        return
    name = next(name for name in _ONLY_CHAT if getattr(asked, name))
    raise InvalidRequest(f"{name} is only for conversations", param=name)


def token_limit(asked: GenerationParameters) -> int | None:
    """How many tokens at most, under either name."""
    newer = asked.max_completion_tokens
    return asked.max_tokens if newer is None else newer


def top_logprobs(asked: GenerationParameters, *, chat: bool) -> int | None:
    """Of how many best tokens log-probabilities are asked for; None where of none at all.

    Raises:
        InvalidRequest: conversations say whether, prompts say how many, and here it is not so.
    """
    given = asked.logprobs
    if given is not None and given is not False and isinstance(given, bool) != chat:
        right = "true or false" if chat else f"a number from 0 to {MAX_TOP_LOGPROBS}"
        raise InvalidRequest(f"logprobs must be {right}", param="logprobs")
    if given is True:
        return asked.top_logprobs or 0
    if asked.top_logprobs:
        raise InvalidRequest("top_logprobs needs logprobs: true", param="top_logprobs")
    if given is None or given is False:
        return None
    _BEST.check(given, "logprobs")
    return given


def biases(asked: GenerationParameters, vocab_size: int) -> dict[int, float]:
    """`logit_bias` by token id.

    Raises:
        InvalidRequest: too many, no token of the model, or out of range.
    """
    given = asked.logit_bias
    if not given:
        return {}
    if len(given) > MAX_BIASES:
        raise InvalidRequest(f"logit_bias may hold up to {MAX_BIASES} ids", param="logit_bias")
    found = {_token_id(key): bias for key, bias in given.items()}
    check_tokens(list(found), vocab_size, "logit_bias")
    for bias in found.values():
        _BIAS.check(bias, "logit_bias", "a bias in logit_bias")
    return found


def stop_texts(asked: GenerationParameters) -> list[str]:
    """The stop texts as a list.

    Raises:
        InvalidRequest: too many, an empty one or a very long one.
    """
    if asked.stop is None:
        return []
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(
            f"stop may hold up to {MAX_STOPS} texts, not {len(stops)}", param="stop"
        )
    if not all(0 < len(stop) <= MAX_STOP_CHARS for stop in stops):
        raise InvalidRequest(f"stop texts have 1 to {MAX_STOP_CHARS} characters", param="stop")
    return stops


def sampling(asked: GenerationParameters, vocab_size: int) -> Sampling:
    """How to sample; without a seed one is drawn, so that a second attempt repeats the first.

    Raises:
        InvalidRequest: as `biases`.
    """
    more = {} if _shaping(asked) == _PLAIN else _shape(asked, vocab_size)
    return Sampling(
        temperature=_or(asked.temperature, 1.0),
        seed=random_bits(63) if asked.seed is None else asked.seed & _MAX_INT64,
        **more,
    )


def _shape(asked: GenerationParameters, vocab_size: int) -> dict[str, Any]:
    """What few requests say; fields that are as they always are do not travel."""
    given = {name: value for name in _SHAPING if (value := getattr(asked, name)) is not None}
    if "top_k" in given:
        given["top_k"] = max(given["top_k"], 0)
    if "logit_bias" in given:
        given["logit_bias"] = biases(asked, vocab_size)
    return given


def seed_of(seed: int, choice: int) -> int:
    """The seed of one of several choices; the first has the request's own."""
    if choice == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{choice}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) & _MAX_INT64


def check_kind(card: ModelCard, wanted: ModelKind) -> None:
    """Refuse to ask a model for what it was not made for.

    Raises:
        InvalidRequest: says where it can be asked.
    """
    if card.kind == wanted:
        return
    if card.kind == "embedding":
        text = "makes embeddings and generates no text; ask it at /v1/embeddings"
    else:
        text = "generates text and makes no embeddings; ask it at /v1/chat/completions"
    raise InvalidRequest(f"the model '{card.name}' {text}", param="model")


def check_tokens(tokens: Sequence[int], vocab_size: int, param: str) -> None:
    """Refuse ids that the model does not have.

    Raises:
        InvalidRequest: names one of them.
    """
    if not tokens:
        return
    try:
        lowest, highest = min(tokens), max(tokens)
    except TypeError:  # texts among them, where a list may hold either
        raise InvalidRequest(f"{param} mixes token ids with something else", param=param) from None
    if lowest < 0 or highest >= vocab_size:
        raise InvalidRequest(
            f"token id {lowest if lowest < 0 else highest} is not in the model's vocabulary "
            f"(0 to {vocab_size - 1})",
            param=param,
        )


def room(prompt_tokens: int, max_tokens: int, context_tokens: int, param: str) -> int:
    """How many tokens may be generated: what was asked for, cut to what the context holds.

    Raises:
        InvalidRequest: the prompt is empty.
        ContextTooLong: it leaves no room for an answer.
    """
    if prompt_tokens == 0:
        raise InvalidRequest("the prompt has no tokens", param=param)
    if prompt_tokens >= context_tokens:
        raise over_context(str(prompt_tokens), context_tokens, param)
    return min(max_tokens, context_tokens - prompt_tokens)


def over_context(prompt_tokens: str, context_tokens: int, param: str) -> ContextTooLong:
    """The refusal of a prompt of so many tokens."""
    return ContextTooLong(
        f"this model's context holds {context_tokens} tokens, and the prompt has {prompt_tokens}; "
        "shorten it to leave room for the answer",
        param=param,
    )


def _token_id(key: int | str) -> int:
    if isinstance(key, str):
        if not (key.isascii() and key.isdecimal() and len(key) < 12):
            raise InvalidRequest(
                f"'{clipped(key)}' in logit_bias is no token id", param="logit_bias"
            )
        return int(key)
    return key


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
