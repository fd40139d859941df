"""The text side of one answer: tokens in, text out, up to a stop text."""

from gateway.text.detokenize import Detokenizer
from gateway.text.stops import StopMatcher


class TextStream:
    """Detokenises and looks for stop texts; `stopped` once one was found."""

    def __init__(self, detokenizer: Detokenizer, stops: list[str]) -> None:
        self._detokenizer = detokenizer
        self._stops = StopMatcher(stops)

    @property
    def stop_text(self) -> str | None:
        """The stop text that was found; whatever comes after it is not part of the answer."""
        return self._stops.found

    @property
    def stopped(self) -> bool:
        """Whether one was found."""
        return self._stops.found is not None

    def feed(self, tokens: list[int]) -> str:
        """The text that these tokens set free."""
        return self._stops.feed(self._detokenizer.feed(tokens))

    def finish(self) -> str:
        """The rest of the text; there may still be a stop text in it."""
        if self._stops.stopped:
            return ""
        last = self._stops.feed(self._detokenizer.finish())
        return last if self._stops.stopped else last + self._stops.finish()
