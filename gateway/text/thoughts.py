"""Reasoning: what a model thinks before it answers, between tags of its own."""

from collections.abc import Callable

from msgspec import Struct

from gateway.text.pieces import Piece
from gateway.text.tags import held_from


class ThinkTags(Struct, frozen=True):
    """What a model's thoughts stand between."""

    opens: str
    closes: str


KNOWN_TAGS = (
    ThinkTags("<think>", "</think>"),
    ThinkTags("[THINK]", "[/THINK]"),
    ThinkTags("<longcat_think>", "</longcat_think>"),
    ThinkTags("<|think:start|>", "<|think:end|>"),
    ThinkTags("<seed:think>", "</seed:think>"),
    ThinkTags("<|channel>thought", "<channel|>"),
)


def think_tags(template: str, knows: Callable[[str], bool]) -> ThinkTags | None:
    """The tags of a model; `knows` says whether a text is one token of its vocabulary."""
    for tags in KNOWN_TAGS:
        if tags.closes in template and tags.opens in template:
            return tags
        if knows(tags.closes) and knows(tags.opens):
            return tags
    return None


class ThoughtSplitter:
    """Splits thoughts, which come first if at all, from the answer.

    White space next to the tags belongs to neither. Tags further on are ordinary text.
    """

    def __init__(self, tags: ThinkTags, *, inside: bool) -> None:
        self._tags = tags
        self._held = ""
        self._begun = False  # some thought has been passed on
        self._state = self._inside if inside else self._before
        self.over = False  # whatever comes now is answer

    def feed(self, text: str) -> tuple[str, str]:
        """The thoughts and the answer that this text sets free."""
        if self.over:
            return "", text
        text, self._held = self._held + text, ""
        return self._state(text)

    def finish(self) -> tuple[str, str]:
        """What was held back."""
        held, self._held = self._held, ""
        if self._state == self._inside:
            return held, ""
        return "", held

    def _before(self, text: str) -> tuple[str, str]:
        opens, begun = self._tags.opens, text.lstrip()
        if begun.startswith(opens):
            self._state = self._inside
            return self._inside(begun[len(opens) :])
        if opens.startswith(begun):
            self._held = text
            return "", ""
        self.over = True
        return "", text

    def _inside(self, text: str) -> tuple[str, str]:
        if not self._begun:
            text = text.lstrip()
        thought, tag, rest = text.partition(self._tags.closes)
        if tag:
            self._state = self._after
            return thought.rstrip(), self._after(rest)[1]
        passed = text[: held_from(text, (self._tags.closes,))].rstrip()
        self._held = text[len(passed) :]
        self._begun = self._begun or bool(passed)
        return passed, ""

    def _after(self, text: str) -> tuple[str, str]:
        answer = text.lstrip()
        self.over = bool(answer)
        return "", answer


class ThoughtCounter:
    """Counts the tokens of one answer's thoughts. A token whose text comes later, or never, is of
    what comes next."""

    def __init__(self) -> None:
        self.count = 0
        self._unplaced = 0

    def add(self, piece: Piece, tokens: int) -> None:
        """So many tokens set this piece free."""
        self._unplaced += tokens
        if piece:
            if piece.reasoning:
                self.count += self._unplaced
            self._unplaced = 0
