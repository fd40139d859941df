"""What a family of models is to the parser and to the grammar of calls."""

import re
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from gateway.text.tools.head import Head, read_head
from gateway.text.tools.lark import Lark

_LETTERS = string.ascii_letters + string.digits
MOST_CALLS = 16  # of one answer that is held to a grammar
Schemas = Mapping[str, dict[str, Any]]  # of the arguments, by the function's name


class Call(Struct, frozen=True):
    """One whole call; `arguments` is the JSON text of an object."""

    name: str
    arguments: str
    id: str | None = None


class Opener(Struct, frozen=True):
    """A text that begins a call.

    After white space it must be followed by a character that `first` matches, else it was
    ordinary text. A call that could not be read up to its arguments ends with `closes`; an empty
    one means that it ends with the answer. Where several such calls stand before it, `part` is a
    pattern of what ends one of them.
    """

    text: str
    first: str = "."
    closes: str = ""
    part: str = ""


class Family:
    """The base of all: subclasses say what differs."""

    name: str
    openers: tuple[Opener, ...] = ()
    bare = False  # an answer that begins with "{" may be a call without an opener
    silent: tuple[str, ...] = ()  # texts around calls that mean nothing else
    trailing: tuple[str, ...] = ()  # the same, but only right behind a call
    heads: tuple[str, ...] = ()  # patterns of `read_head`, for calls whose arguments are JSON
    tail = ""  # characters that may stand between the arguments and what closes the call
    again = ""  # a text after which another call begins, without an opener
    other_tags: tuple[str, ...] = ()  # special tokens inside calls, besides the above

    def tags(self) -> set[str]:
        """Every text that may be a special token of these models."""
        ours = {text for it in self.openers for text in (it.text, it.closes)}
        return (ours | {*self.silent, *self.other_tags}) - {""}

    def head(self, text: str) -> Head | Literal["more"] | None:
        """What `text`, which follows an opener, begins with."""
        found = [read_head(pattern, text) for pattern in self.heads]
        for head in found:
            if isinstance(head, Head):
                return self.named(head)
        return "more" if "more" in found else None

    def named(self, head: Head) -> Head:
        """The same head with the name and the id that clients are told."""
        return Head(head.name, head.end)

    def closing(self, text: str) -> str | None:
        """Text that follows a call's arguments, without what belongs to the call; None while more
        of it is needed."""
        for mark in self.tail:
            text = text.lstrip().removeprefix(mark)
        return text.lstrip()

    def calls(self, text: str, schemas: Schemas) -> list[Call] | None:
        """The calls in a whole text, opener and closing included; None when they are broken."""
        raise NotImplementedError

    def new_id(self) -> str:
        """An id for a call whose model gives none."""
        return "call_" + random_text(24)

    def grammar(self, lark: Lark, functions: Sequence["Function"], most: int) -> str:
        """The rule of an answer of 1 to `most` calls of these functions.

        Raises:
            InvalidRequest: a schema that the calls of this family cannot be held to.
        """
        raise NotImplementedError


class Function(Struct, frozen=True):
    """A function that may be called; `place` is its index among the tools."""

    name: str
    parameters: dict[str, Any]
    place: int

    @property
    def param(self) -> str:
        """The request's field that holds its schema."""
        return f"tools[{self.place}].function.parameters"


def random_text(length: int) -> str:
    """Letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def alternatives(rules: Sequence[str]) -> str:
    """A choice of these rules."""
    return "(" + " | ".join(rules) + ")"


def repeated(call: str, separator: str, most: int) -> str:
    """1 to `most` times, with the rule of a text between."""
    most = min(most, MOST_CALLS)
    return call if most == 1 else f"{call} ({separator} {call}){{0,{most - 1}}}"


def listed(parts: Sequence[tuple[str, bool]], comma: str) -> str:
    """Rules with commas between, first those that are required, then any of the others."""
    must = [rule for rule, required in parts if required]
    may = [rule for rule, required in parts if not required]
    if must:
        return f" {comma} ".join(must) + _optional(may, comma)
    starts = [rule + _optional(may[at + 1 :], comma) for at, rule in enumerate(may)]
    return f"{alternatives(starts)}?" if starts else ""


def _optional(rules: Sequence[str], comma: str) -> str:
    return "".join([f" ({comma} {rule})?" for rule in rules])


def literal_pattern(texts: Sequence[str]) -> re.Pattern[str]:
    """Finds the first of these texts, and the longest where several begin."""
    return re.compile("|".join(re.escape(it) for it in sorted(texts, key=len, reverse=True)))
