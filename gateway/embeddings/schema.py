"""What clients may send to `/v1/embeddings`, and what they get.

Source: https://platform.openai.com/docs/api-reference/embeddings/create, with vLLM's
`truncate_prompt_tokens`.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.http.body import BodyReader

MAX_INPUTS = 2048
MAX_NAMED = 3  # as many faults are named at once


class EmbeddingsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`input` is a text, a list of token ids, or a list of up to 2048 of them.

    `truncate_prompt_tokens`: inputs are cut to so many tokens, -1: to as many as the model takes;
    when nothing is said, a longer one is refused. `user` changes nothing here.
    """

    input: str | list[int | str | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None
    user: str | None = None

    priority: Any = None

    def inputs(self) -> list[str] | list[list[int]]:
        """The inputs, which are of one kind.

        Raises:
            InvalidRequest: there is none, they are too many, of several kinds, or one is empty.
        """
        given = [self.input] if isinstance(self.input, str) else self.input
        ids = [it for it in given if isinstance(it, int)]
        if ids and len(ids) == len(given):
            return [ids]
        if not 0 < len(given) <= MAX_INPUTS:
            text = f"input has {len(given)} entries, and may have 1 to {MAX_INPUTS}"
            raise InvalidRequest(text, param="input")
        texts = [it for it in given if isinstance(it, str)]
        tokens = [it for it in given if isinstance(it, list)]
        empty = [str(place) for place, it in enumerate(given) if it in ("", [])]
        if empty:
            named = ", ".join(empty[:MAX_NAMED])
            raise InvalidRequest(f"input is empty at place {named}", param="input")
        if len(given) not in (len(texts), len(tokens)):
            text = "input is a text, a list of token ids, or a list of one of these kinds"
            raise InvalidRequest(text, param="input")
        return texts or tokens


class Embedding(Struct, frozen=True, kw_only=True):
    """One vector: its numbers, or base64 of them as float32, little endian."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: msgspec.Raw


class EmbeddingsUsage(Struct, frozen=True):
    """How many tokens the inputs had; nothing else is counted."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(Struct, frozen=True, kw_only=True):
    """The vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


_INERT: dict[str, tuple[Any, ...]] = {"priority": (0,)}
_INSTEAD = {"priority": "; it is for what is generated"}
_NOTES = {
    "dimensions": "from 1 to those of the model",
    "truncate_prompt_tokens": "-1, or from one more than the model's special tokens to its context",
}
_reader = BodyReader(EmbeddingsBody, _INERT, _INSTEAD, ignored=("user",), notes=_NOTES)


def read_embeddings_body(raw: bytes) -> EmbeddingsBody:
    """The request in a body.

    Raises:
        InvalidRequest: not JSON, or names the parameter that is unknown or wrong.
    """
    return _reader.read(raw)
