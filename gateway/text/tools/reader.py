"""Reads calls while they are written, from an opener on."""

import re

from gateway.text.pieces import ToolCallDelta
from gateway.text.tools.arguments import ArgumentScanner
from gateway.text.tools.family import Call, Family, Opener, Schemas
from gateway.text.tools.head import Head

HEAD_CHARS = 1024  # in which a call's arguments must begin to be passed on as they are written


class CallReader:
    """One call, or several that follow one another without an opener between.

    When it is `over`, `raw` is text that turned out to be no call, and `rest` what comes after
    it and has not been looked at. `opened` is what led here: the opener, or nothing. `complete`:
    nothing is missing of a call; with `single` the first one is not kept waiting for others.
    """

    def __init__(
        self,
        family: Family,
        opener: Opener,
        opened: str,
        schemas: Schemas,
        index: int,
        *,
        single: bool = False,
    ) -> None:
        self._family = family
        self._opener = opener
        self._opened = opened
        self._schemas = schemas
        self._first = re.compile(opener.first)
        self._part = re.compile(opener.part) if single and opener.part else None
        self._text = ""
        self._searched = 0  # no closing text ends before here
        self._tried = 0  # and no part that is a call
        self._scanner = ArgumentScanner()
        self._step = self._head
        self._last = False
        self.index = index  # of the next call
        self.complete = False
        self.over = False
        self.raw = ""
        self.rest = ""

    def feed(self, text: str, *, last: bool = False) -> list[ToolCallDelta]:
        """What this text says of calls; `last` when nothing will follow."""
        self._text += text
        self._last = last
        deltas: list[ToolCallDelta] = []
        while not self.over and self._step(deltas):
            pass
        if last and not self.over:
            self._end(rest=self._text)
        return deltas

    def _head(self, deltas: list[ToolCallDelta]) -> bool:
        text = self._text[:HEAD_CHARS]
        full, begun = len(text) == HEAD_CHARS, text.lstrip()
        if not self._first.match(begun) and (begun or full):
            return self._end(raw=self._opened, rest=self._text)
        head = self._family.head(text) if begun else "more"
        if isinstance(head, Head):
            return self._begin(head, deltas)
        if head == "more" and not self._last and not full:
            return False
        if not self._opened:  # it only looked like a call
            return self._end(rest=self._text)
        self._step = self._whole
        return True

    def _begin(self, head: Head, deltas: list[ToolCallDelta]) -> bool:
        if not self._opened and head.name not in self._schemas:
            return self._end(rest=self._text)
        deltas.append(self._named(head.name, head.id, ""))
        self._text = self._text[head.end :]
        self._scanner = ArgumentScanner()
        self._step = self._arguments
        return True

    def _named(self, name: str, given: str | None, arguments: str) -> ToolCallDelta:
        self.index += 1
        return ToolCallDelta(self.index - 1, given or self._family.new_id(), name, arguments)

    def _arguments(self, deltas: list[ToolCallDelta]) -> bool:
        passed, self._text = self._scanner.feed(self._text)
        if passed:
            deltas.append(ToolCallDelta(self.index - 1, None, None, passed))
        if self._scanner.broken:
            return self._end(raw=self._text)
        if self._scanner.done:
            self._step, self.complete = self._tail, True
        return self._scanner.done

    def _tail(self, deltas: list[ToolCallDelta]) -> bool:
        """Skip what closes the call; the call itself is complete."""
        closes, again = self._opener.closes, self._family.again
        text = self._family.closing(self._text)
        if text is None:
            return self._end(rest=self._text) if self._last else False
        if again and text.startswith(again):
            self._opened, self._text, self._step = again, text[len(again) :], self._head
            return True
        if closes and text.startswith(closes):
            return self._end(rest=text[len(closes) :])
        if closes.startswith(text) and not self._last:  # also when there is no text yet
            return False
        return self._end(rest=text)

    def _whole(self, deltas: list[ToolCallDelta]) -> bool:
        """Wait for all of the call, then see what it is."""
        closes = self._opener.closes
        at = self._text.find(closes, self._searched) if closes else -1
        if at < 0:
            self._searched = max(0, len(self._text) - len(closes))
            if not self._last:
                return self._parts(deltas)
        end = len(self._text) if at < 0 else at + len(closes)
        whole, rest = self._opened + self._text[:end], self._text[end:]
        calls = self._family.calls(whole, self._schemas) if at >= 0 or not closes else None
        if calls is None:
            return self._end(raw=whole, rest=rest)
        deltas += [self._call(call) for call in calls]
        self.complete = True
        return self._end(rest=rest)

    def _parts(self, deltas: list[ToolCallDelta]) -> bool:
        """Look for the first of several calls that end together."""
        for match in self._part.finditer(self._text, self._tried) if self._part else ():
            self._tried = match.end()
            calls = self._family.calls(self._opened + self._text[: match.end()], self._schemas)
            if calls:
                deltas.append(self._call(calls[0]))
                self.complete = True
                return self._end(rest=self._text[match.end() :])
        return False

    def _call(self, call: Call) -> ToolCallDelta:
        return self._named(call.name, call.id, call.arguments)

    def _end(self, *, raw: str = "", rest: str = "") -> bool:
        self.raw, self.rest, self.over, self._text = raw, rest, True, ""
        return False
