"""Tokenising prompts of which much came before: the system prompt, the earlier turns.

Special tokens part a prompt into segments, and the library reads each of them for itself, so what a
segment comes to can be kept. Where that does not hold for sure, a prompt is tokenised as a whole.
"""

import re
import threading
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterable

from tokenizers import AddedToken, Tokenizer

MAX_CHARS = 4_000_000  # kept, over all segments: 8 bytes each of text and ids, 20 at the very most
ENTRY_CHARS = 200  # what keeping one costs besides
MAX_MARKS = 64
# Between two marks: what a tokenizer could read otherwise at the beginning or the end of a text.
_PROBES = (
    "a", " a", "a ", "\n", "\n\n a", "  ", "\u00e9 e\u0301", "\u0301a", "\u65e5\U0001f600", "'s 12",
)  # fmt: skip


class Segments:
    """Segments by whom they are of, as how long one takes tells whether it was seen; any thread.

    `marks` are the ids of the special tokens to part at, by their text.
    """

    def __init__(self, tokenizer: Tokenizer, marks: dict[str, int]) -> None:
        self._tokenizer = tokenizer
        self._marks = marks
        longest_first = sorted(marks, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})").split
        self._kept: OrderedDict[tuple[str, str], array[int]] = OrderedDict()
        self._chars = 0
        self._lock = threading.Lock()

    def encode(self, text: str, salt: str) -> list[int]:
        """Token ids of a prompt, which is `salt`'s; without the interpreter's lock where it takes
        long."""
        parts = self._split(text)  # every second one is a mark
        with self._lock:
            known = {part: self._look(salt, part) for part in parts[::2]}
        new = [part for part, ids in known.items() if ids is None]
        if new:
            known |= self._read(salt, new)
        tokens: list[int] = []
        for place, part in enumerate(parts):
            if place % 2:
                tokens.append(self._marks[part])
            else:
                tokens.extend(known[part] or ())
        return tokens

    def _look(self, salt: str, part: str) -> "array[int] | None":
        ids = self._kept.get((salt, part))
        if ids is not None:
            self._kept.move_to_end((salt, part))
        return ids

    def _read(self, salt: str, new: list[str]) -> "dict[str, array[int]]":
        encoded = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        read = {part: array("I", it.ids) for part, it in zip(new, encoded, strict=True)}
        with self._lock:
            for part, ids in read.items():
                if len(part) < MAX_CHARS // 8 and (salt, part) not in self._kept:
                    self._kept[salt, part] = ids
                    self._chars += ENTRY_CHARS + len(part)
            while self._chars > MAX_CHARS:
                (_, part), _ = self._kept.popitem(last=False)
                self._chars -= ENTRY_CHARS + len(part)
        return read


def segments_of(tokenizer: Tokenizer, template: str) -> Segments | None:
    """For prompts that a template with this text writes; None: they are to be read as a whole."""
    added = tokenizer.get_added_tokens_decoder()
    texts = [token.content for token in added.values()]
    plain = tokenizer.normalizer is None
    marks = {
        token.content: id_
        for id_, token in added.items()
        if token.content in template and _is_mark(token, plain) and _stands_out(token, texts)
    }
    if not 0 < len(marks) <= MAX_MARKS:
        return None
    segments = Segments(tokenizer, marks)
    return segments if _is_exact(segments, tokenizer, marks) else None


def _is_mark(token: AddedToken, plain: bool) -> bool:
    """Whether it is found wherever it stands, and takes nothing of what is next to it."""
    as_it_is = plain or not token.normalized
    return as_it_is and not (token.lstrip or token.rstrip or token.single_word)


def _stands_out(token: AddedToken, texts: Collection[str]) -> bool:
    """Whether no other one could begin before it and reach into it, or be more than it."""
    text = token.content
    starts = tuple(text[:end] for end in range(1, len(text)))
    return not any(it != text and (text in it or it.endswith(starts)) for it in texts)


def _is_exact(segments: Segments, tokenizer: Tokenizer, marks: Iterable[str]) -> bool:
    for mark in marks:
        for text in (mark.join(_PROBES), mark + mark.join(reversed(_PROBES)) + mark):
            whole = tokenizer.encode(text, add_special_tokens=False).ids
            if segments.encode(text, "") != whole:
                return False
    return True
