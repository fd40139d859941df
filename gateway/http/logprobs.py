"""Log-probabilities in the shapes of the OpenAI API."""

import codecs
import math
from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from transport.messages.data import TokenLogprobs

LEAST = -9999.0  # what stands for impossible: JSON knows no infinity
TokenBytes = Callable[[int], bytes]


class TopLogprob(Struct, frozen=True):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Struct, frozen=True):
    """A token that came, and those that might have."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, frozen=True):
    """Of a chat's choice, or a piece of it."""

    content: list[TokenLogprob]
    refusal: None = None


class TextLogprobs(Struct, frozen=True):
    """Of a completion's choice, or a piece of it; offsets count characters of the choice."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


L_co = TypeVar("L_co", bound=ChatLogprobs | TextLogprobs, covariant=True)


class Spelling(Protocol[L_co]):
    """Spells the log-probabilities of one choice."""

    def spell(self, tokens: list[int], logprobs: list[TokenLogprobs]) -> L_co:
        """Those of the next tokens."""


class ChatSpelling:
    """Spells the log-probabilities of one choice of a chat."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._bytes = token_bytes

    def spell(self, tokens: list[int], logprobs: list[TokenLogprobs]) -> ChatLogprobs:
        """Those of these tokens."""
        return ChatLogprobs(
            [self._token(token, found) for token, found in zip(tokens, logprobs, strict=False)]
        )

    def _token(self, token: int, found: TokenLogprobs) -> TokenLogprob:
        raw = self._bytes(token)
        top = [self._top(other, logprob) for other, logprob in found.top]
        return TokenLogprob(_text(raw), _finite(found.logprob), list(raw), top)

    def _top(self, token: int, logprob: float) -> TopLogprob:
        raw = self._bytes(token)
        return TopLogprob(_text(raw), _finite(logprob), list(raw))


class TextSpelling:
    """Spells the log-probabilities of one choice of a completion, from its first token on."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._bytes = token_bytes
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._offset = 0

    def spell(self, tokens: list[int], logprobs: list[TokenLogprobs]) -> TextLogprobs:
        """Those of these tokens."""
        spelled = TextLogprobs([], [], [], [])
        for token, found in zip(tokens, logprobs, strict=False):
            raw = self._bytes(token)
            name, logprob = _distinct(raw), _finite(found.logprob)
            spelled.tokens.append(name)
            spelled.token_logprobs.append(logprob)
            top = {_distinct(self._bytes(other)): _finite(it) for other, it in found.top}
            spelled.top_logprobs.append(top | {name: logprob})
            spelled.text_offset.append(self._offset)
            self._offset += len(self._decode(raw))
        return spelled


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _distinct(raw: bytes) -> str:
    """As in OpenAI's: what is no text alone is still told from other such tokens."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) and logprob > LEAST else LEAST
