"""Where the events of a response go."""

from collections.abc import Callable


class Feed:
    """Keeps events until somebody is there to take them, then passes them on."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._take: Callable[[bytes], None] | None = None

    def put(self, event: bytes) -> None:
        """One more event."""
        if self._take is None:
            self._held.append(event)
        else:
            self._take(event)

    def open(self, take: Callable[[bytes], None]) -> None:
        """From now on events go there, those that were kept first."""
        held, self._held = self._held, []
        if held:
            take(b"".join(held))
        self._take = take
