"""Splits an answer's text into content and tool calls."""

from gateway.text.pieces import ToolCallDelta
from gateway.text.tags import held_from
from gateway.text.tools.family import Family, Opener, Schemas, literal_pattern
from gateway.text.tools.reader import CallReader

SPACE_CHARS = 64  # of white space that are held back in case a call follows
_BARE = Opener("", r"\{")


class CallSplitter:
    """Finds calls as a family of models writes them; everything else is content.

    White space next to calls belongs to neither. `schemas` are those of the functions that may
    be called, by name. With `single` it is `over` as soon as a call is complete, passes on only
    the first one, and looks at nothing that follows.
    """

    def __init__(self, family: Family, schemas: Schemas, *, single: bool = False) -> None:
        self._family = family
        self._schemas = schemas
        self._single = single
        self.over = False
        self._openers = {opener.text: opener for opener in family.openers}
        self._tags = (*self._openers, *family.silent, *family.trailing)
        self._pattern = literal_pattern(self._tags)
        self._begins = {tag[0] for tag in self._tags}
        self._reader: CallReader | None = None
        self._held = ""
        self._called = False  # right before, there was a call
        self._fresh = family.bare  # nothing but white space has come yet
        self.count = 0

    def feed(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """The content and the calls that this text sets free."""
        if self.over:
            return "", []
        if self._reader is None and not self._held and not self._fresh and self._plain(text):
            self._called = False
            return text, []
        return self._split(text, last=False)

    def finish(self) -> tuple[str, list[ToolCallDelta]]:
        """What was held back; a call that was cut off stays so."""
        if self.over:
            return "", []
        content, deltas = self._split("", last=True)
        rest, self._held = self._held, ""
        return content + ("" if self._called and rest.isspace() else rest), deltas

    def _plain(self, text: str) -> bool:
        """Whether no tag and no white space before one can begin in this text."""
        return not text[-1:].isspace() and self._begins.isdisjoint(text) and bool(text)

    def _split(self, text: str, *, last: bool) -> tuple[str, list[ToolCallDelta]]:
        content: list[str] = []
        deltas: list[ToolCallDelta] = []
        pending: str | None = text
        while pending is not None:
            if self._reader is None:
                pending = self._scan(self._held + pending, content)
                continue
            found = self._reader.feed(pending, last=last)
            deltas += found
            if found:
                self.count, self._called, self._held = self._reader.index, True, ""
            if self._single and self._reader.complete:
                self.over = True
                break
            pending = self._leave(self._reader, content) if self._reader.over else None
        return "".join(content), [it for it in deltas if it.index == 0 or not self._single]

    def _leave(self, reader: CallReader, content: list[str]) -> str:
        self._reader = None
        if reader.raw:
            content += [self._held, reader.raw]
            self._held, self._called = "", False
        return reader.rest

    def _scan(self, text: str, content: list[str]) -> str | None:
        """Look for the next tag; what follows it, or None when there is none."""
        self._held = ""
        if self._fresh:
            begun = text[:SPACE_CHARS].lstrip()
            if not begun and len(text) < SPACE_CHARS:
                self._held = text
                return None
            self._fresh, begun = False, text.lstrip()
            if begun.startswith("{") and len(text) - len(begun) < SPACE_CHARS:
                return self._enter(_BARE, text[: -len(begun)], begun)
        match = self._pattern.search(text)
        if match is None:
            self._hold(text, content)
            return None
        before = text[: match.start()]
        words = self._put(before, content)
        tag, rest = match.group(), text[match.end() :]
        opener = self._openers.get(tag)
        space = before[len(words) :]
        if opener is not None:
            return self._enter(opener, space, rest)
        if tag in self._family.trailing and not self._called:
            content.append(space + tag)
        else:
            self._called = True
        return rest

    def _enter(self, opener: Opener, space: str, rest: str) -> str:
        self._held = space  # it comes out again if this is no call
        self._reader = CallReader(
            self._family, opener, opener.text, self._schemas, self.count, single=self._single
        )
        return rest

    def _hold(self, text: str, content: list[str]) -> None:
        words = self._put(text[: held_from(text, self._tags)], content)
        self._held = text[len(words) :]

    def _put(self, text: str, content: list[str]) -> str:
        """Pass on a text up to the white space at its end."""
        words = text[: max(len(text.rstrip()), len(text) - SPACE_CHARS)]
        if words:
            content.append(words)
            self._called = False
        return words
