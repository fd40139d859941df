"""Stop texts, found across the borders of pieces."""

from gateway.text.tags import held_from


class StopMatcher:
    """Passes text on until a stop text is complete; nothing of that text gets out.

    The stop text that completes first counts; of two that complete together, the longer. It is
    `found` then.
    """

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether a stop text is complete."""
        return self.found is not None

    def feed(self, piece: str) -> str:
        """What may be passed on now; once `stopped`, nothing may be fed any more."""
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, begin = min(found)
            self.found = text[begin:end]
            self._held = ""
            return text[:begin]
        cut = held_from(text, self._stops)
        self._held = text[cut:]
        return text[:cut]

    def finish(self) -> str:
        """What was held back and turned out to be ordinary text."""
        held, self._held = self._held, ""
        return held
