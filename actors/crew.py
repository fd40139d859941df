"""Actors without threads of their own, worked by a thread that has something else to do as well.

For those on the way of every request: a change of thread costs more than what they do. All else is
as for other actors: an inbox each, one message at a time, a fresh one when one fails.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.base import Actor, Inbox


class Crew:
    """The actors that one thread works; pass it to `Host.start`.

    `wake` is called from any thread when there is work, and makes the owner call `work` soon.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._owner: int | None = None
        self._actors: dict[Inbox, Actor] = {}

    def seat(self, inbox: "Inbox", actor: "Actor") -> None:
        """The actor that serves this inbox from now on; any thread."""
        self._actors[inbox] = actor
        self.call()

    def leave(self, inbox: "Inbox") -> None:
        """Nobody serves this inbox now."""
        self._actors.pop(inbox, None)

    def call(self) -> None:
        """There is work; any thread. The owner looks by itself."""
        if threading.get_ident() != self._owner:
            self._wake()

    def work(self) -> None:
        """Handle all that waits, and what comes of it; always the same thread."""
        self._owner = threading.get_ident()
        while any([actor.turn() for actor in list(self._actors.values())]):
            pass
