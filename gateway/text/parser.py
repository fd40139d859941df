"""From an answer's text to its content, its reasoning and its tool calls."""

from typing import Protocol

from gateway.text.calls import CallSplitter
from gateway.text.pieces import Piece, joined
from gateway.text.thoughts import ThoughtSplitter


class AnswerParser(Protocol):
    """Sorts the text of one answer, however it is cut into pieces.

    Nothing that may still turn out to be part of a tag is passed on, and nothing is lost.
    """

    def feed(self, text: str) -> Piece:
        """What this text sets free."""

    def finish(self) -> Piece:
        """What was held back; nothing may be fed after it."""

    @property
    def called(self) -> bool:
        """Whether a call was made (or begun)."""

    @property
    def thinks(self) -> bool:
        """Whether thoughts are told apart, if there are any."""

    @property
    def over(self) -> bool:
        """Whether nothing that could follow counts: the one call that is allowed is complete."""


class TaggedParser:
    """For models that set thoughts and calls apart by tags."""

    def __init__(self, thoughts: ThoughtSplitter | None, calls: CallSplitter | None) -> None:
        self._thoughts = thoughts
        self._calls = calls

    @property
    def called(self) -> bool:
        """See `AnswerParser`."""
        return self._calls is not None and self._calls.count > 0

    @property
    def thinks(self) -> bool:
        """See `AnswerParser`."""
        return self._thoughts is not None

    @property
    def over(self) -> bool:
        """See `AnswerParser`."""
        return self._calls is not None and self._calls.over

    def feed(self, text: str) -> Piece:
        """See `AnswerParser`."""
        thoughts = self._thoughts
        if thoughts is None or thoughts.over:
            return self._answer("", text)
        return self._answer(*thoughts.feed(text))

    def finish(self) -> Piece:
        """See `AnswerParser`."""
        reasoning, text = self._thoughts.finish() if self._thoughts else ("", "")
        piece = self._answer(reasoning, text)
        if self._calls is None:
            return piece
        content, deltas = self._calls.finish()
        calls = joined(piece.tool_calls + deltas)
        return Piece(piece.content + content, reasoning, calls)

    def _answer(self, reasoning: str, text: str) -> Piece:
        if self._calls is None or not text:
            return Piece(text, reasoning)
        content, deltas = self._calls.feed(text)
        return Piece(content, reasoning, joined(deltas))
