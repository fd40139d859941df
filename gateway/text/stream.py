"""The text side of one answer: tokens in, text out, up to a stop text."""

from collections.abc import Callable

from gateway.text.detokenize import Detokenizer
from gateway.text.stops import StopMatcher


class TextStream:
    """Detokenises and looks for stop texts."""

    def __init__(self, detokenizer: Detokenizer, stops: list[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stops) if stops else None
        # The text that tokens set free, a function of these. Most have nothing to look for.
        self.feed: Callable[[list[int]], str] = detokenizer.feed if not stops else self._matched

    @property
    def has_stops(self) -> bool:
        """Whether there are any that may be found."""
        return self._stops is not None

    @property
    def stop_text(self) -> str | None:
        """The stop text that was found; whatever comes after it is not part of the answer."""
        return None if self._stops is None else self._stops.found

    @property
    def stopped(self) -> bool:
        """Whether one was found."""
        return self._stops is not None and self._stops.found is not None

    def finish(self) -> str:
        """The rest of the text; there may still be a stop text in it."""
        if self._stops is None:
            return self._detokenizer.finish()
        if self._stops.stopped:
            return ""
        last = self._stops.feed(self._detokenizer.finish())
        return last if self._stops.stopped else last + self._stops.finish()

    def _matched(self, tokens: list[int]) -> str:
        assert self._stops is not None
        return self._stops.feed(self._detokenizer.feed(tokens))
