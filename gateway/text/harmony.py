"""gpt-oss: answers in channels, each message with a header.

Source: https://cookbook.openai.com/articles/openai-harmony
"""

import re

from gateway.text.pieces import Piece, ToolCallDelta, joined
from gateway.text.tags import held_from
from gateway.text.tools.arguments import ArgumentScanner
from gateway.text.tools.family import random_text

CHANNEL, MESSAGE, START = "<|channel|>", "<|message|>", "<|start|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>", START, CHANNEL)
CONSTRAIN = "<|constrain|>"
TAGS = (*ENDS, MESSAGE, CONSTRAIN)
_HEADERS = (CHANNEL, START, " to=")
_END = re.compile("|".join(map(re.escape, ENDS)))
_NAME = re.compile(r"to=functions\.([\w.-]+)")


class HarmonyParser:
    """Thoughts come in the channel `analysis`, calls are messages to `functions.NAME`.

    With `parallel` false it is over when a call is complete, and only the first one is passed on.
    """

    def __init__(self, *, parallel: bool = True) -> None:
        self._parallel = parallel
        self._text = ""
        self._in_header = True
        self._thinking = False
        self._scanner: ArgumentScanner | None = None
        self._calls = 0
        self._over = False

    @property
    def thinks(self) -> bool:
        """See `AnswerParser`."""
        return True

    @property
    def called(self) -> bool:
        """See `AnswerParser`."""
        return self._calls > 0

    @property
    def over(self) -> bool:
        """See `AnswerParser`."""
        return self._over

    def feed(self, text: str) -> Piece:
        """See `AnswerParser`."""
        self._text += text
        out = _Out()
        while not self._over and (self._header(out) if self._in_header else self._body(out)):
            pass
        return out.piece(None if self._parallel else 1)

    def finish(self) -> Piece:
        """See `AnswerParser`."""
        text, self._text = self._text, ""
        out = _Out()
        if not self._over and not (self._in_header and text.startswith((CHANNEL, START))):
            self._pass(text, out)
        return out.piece(None if self._parallel else 1)

    def _header(self, out: "_Out") -> bool:
        """Read up to where a message begins; whether there is more to do."""
        text = self._text
        if any(it.startswith(text) for it in (*_HEADERS, *ENDS)):
            return False
        if text.startswith((*_HEADERS, *ENDS)):
            header, mark, rest = text.partition(MESSAGE)
            if not mark:
                return False
            self._open(header, out)
            self._text = rest
        else:  # no header at all: plain words
            self._open("", out)
        self._in_header = False
        return True

    def _open(self, header: str, out: "_Out") -> None:
        call = _NAME.search(header)
        self._thinking = header.rpartition(CHANNEL)[2].startswith("analysis") and call is None
        self._scanner = ArgumentScanner() if call else None
        if call:
            given = "call_" + random_text(24)
            out.calls.append(ToolCallDelta(self._calls, given, call.group(1), ""))
            self._calls += 1

    def _body(self, out: "_Out") -> bool:
        end = _END.search(self._text)
        cut = end.start() if end else held_from(self._text, ENDS)
        self._pass(self._text[:cut], out)
        self._text = self._text[cut:]
        if end is None:
            return False
        self._scanner, self._in_header = None, True
        if end.group() not in (START, CHANNEL):
            self._text = self._text[len(end.group()) :]
        return bool(self._text)

    def _pass(self, text: str, out: "_Out") -> None:
        if self._scanner is not None and not self._scanner.done:
            passed, text = self._scanner.feed(text)
            if passed:
                out.calls.append(ToolCallDelta(self._calls - 1, None, None, passed))
            self._over = self._scanner.done and not self._parallel
            text = text if self._scanner.broken else ""
        elif self._scanner is not None:
            return
        if self._thinking:
            out.reasoning += text
        else:
            out.content += text


class _Out:
    """What one feed sets free."""

    def __init__(self) -> None:
        self.content = ""
        self.reasoning = ""
        self.calls: list[ToolCallDelta] = []

    def piece(self, most: int | None) -> Piece:
        """As a piece, of so many calls at most."""
        calls = [it for it in self.calls if most is None or it.index < most]
        return Piece(self.content, self.reasoning, joined(calls))
