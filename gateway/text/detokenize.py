"""Tokens to text, piece by piece, with characters that span tokens held back until complete."""

import codecs
import functools
from collections.abc import Container, Iterable
from typing import Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel, DecodeStream

_Utf8 = codecs.getincrementaldecoder("utf-8")


class Detokenizer(Protocol):
    """Turns the tokens of one answer into text; special tokens have none, unless they are shown."""

    def feed(self, tokens: list[int]) -> str:
        """The text that these tokens complete."""

    def finish(self) -> str:
        """What was held back; nothing may be fed after it."""


class TokenBytes(dict[int, bytes]):
    """The bytes of every token of a byte-level vocabulary, looked up once; none of the hidden."""

    def __init__(self, tokenizer: Tokenizer, hidden: Iterable[int] | None = None) -> None:
        super().__init__(dict.fromkeys(special_ids(tokenizer) if hidden is None else hidden, b""))
        self._tokenizer = tokenizer

    def __missing__(self, token: int) -> bytes:
        found = self[token] = _to_bytes(self._tokenizer.id_to_token(token) or "")
        return found


class ByteLevelDetokenizer:
    """Exact for any tokens: the pieces joined are the full decode."""

    def __init__(self, table: TokenBytes) -> None:
        self._table = table
        self._decoder: codecs.IncrementalDecoder | None = None  # from the first split character on

    def feed(self, tokens: list[int]) -> str:
        """See `Detokenizer`."""
        data = b"".join([self._table[token] for token in tokens])
        if self._decoder is None:
            try:
                return data.decode()
            except UnicodeDecodeError:
                self._decoder = _Utf8("replace")
        return self._decoder.decode(data)

    def finish(self) -> str:
        """See `Detokenizer`."""
        return "" if self._decoder is None else self._decoder.decode(b"", True)


class StreamDetokenizer:
    """For every other decoder (SentencePiece and its kin), by the library's own stream."""

    def __init__(self, tokenizer: Tokenizer, hidden: Container[int] | None = None) -> None:
        self._tokenizer = tokenizer
        self._hidden = special_ids(tokenizer) if hidden is None else hidden
        self._stream = DecodeStream(skip_special_tokens=False)
        self._tokens: list[int] = []
        self._given = ""
        self._broken = False

    def feed(self, tokens: list[int]) -> str:
        """See `Detokenizer`."""
        tokens = [token for token in tokens if token not in self._hidden]
        self._tokens += tokens
        if self._broken:
            return ""
        try:
            piece = "".join([self._stream.step(self._tokenizer, token) or "" for token in tokens])
        except Exception:  # the library's "invalid prefix": the rest comes at the end
            self._broken = True
            return ""
        self._given += piece
        return piece

    def finish(self) -> str:
        """See `Detokenizer`."""
        text: str = self._tokenizer.decode(self._tokens, skip_special_tokens=False)
        return text[len(self._given) :]


def special_ids(tokenizer: Tokenizer, shown: Container[str] = ()) -> frozenset[int]:
    """The special tokens of a vocabulary, without those of these texts."""
    added = tokenizer.get_added_tokens_decoder().items()
    return frozenset(it for it, token in added if token.special and token.content not in shown)


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether tokens are bytes, as with GPT-2, Llama 3 and Qwen."""
    return isinstance(tokenizer.decoder, ByteLevel)


@functools.cache
def _byte_of() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others are moved above 255.

    Source: https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


def _to_bytes(token: str) -> bytes:
    try:
        return bytes(_byte_of()[char] for char in token)
    except KeyError:  # an added token, written as itself
        return token.encode()
