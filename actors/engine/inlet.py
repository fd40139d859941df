"""The way from the engine's I/O thread into its actor's inbox, which clients may have filled.

New work is refused then. What takes work away is not: it needs no place of its own, since all that
comes between two batches of work travels as one message.
"""

import contextlib
import threading

from msgspec import Struct

from actors.base import Address
from config.errors import ActorDied, QueueFull, ServingError
from transport.messages.data import Batch, Cancel, Item, Pin


class Received(Struct, frozen=True):
    """To the actor: a gateway's batch arrived."""

    gateway: bytes
    batch: Batch


class Unwanted:
    """To the actor: requests, and all requests of some gateways, that nobody waits for any more.

    It may grow until the actor takes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._requests: dict[tuple[bytes, str], None] = {}
        self._gateways: dict[bytes, None] = {}

    def add(self, gateway: bytes, request_ids: list[str] | None) -> bool:
        """These requests of a gateway, or with None all of them; False: it was taken already."""
        with self._lock:
            if self._taken:
                return False
            if request_ids is None:
                self._gateways[gateway] = None
            else:
                self._requests |= dict.fromkeys((gateway, id_) for id_ in request_ids)
            return True

    def take(self) -> tuple[list[tuple[bytes, str]], list[bytes]]:
        """The requests by gateway and id, and the gateways; once, on the actor's thread."""
        with self._lock:
            self._taken = True
            return list(self._requests), list(self._gateways)


class Inlet:
    """Puts into the inbox, in the order of arrival; the I/O thread only."""

    def __init__(self, actor: Address[object]) -> None:
        self._actor = actor
        self._last: Unwanted | None = None  # nothing came after it

    def receive(self, gateway: bytes, batch: Batch) -> ServingError | None:
        """Pass on a batch. The reason why the requests in it were refused, if they were; the rest
        is passed on in any case."""
        try:
            self._actor.tell(Received(gateway, batch))
        except QueueFull as error:
            self._pass_rest(gateway, batch)
            return error
        except ActorDied as error:
            return error
        self._last = None
        return None

    def lose(self, gateway: bytes) -> None:
        """Nobody reads what this gateway asked for."""
        self._insist_unwanted(gateway, None)

    def insist(self, message: object) -> None:
        """From control, and from the thread itself: few, and never refused."""
        self._last = None
        with contextlib.suppress(ActorDied):  # the process is ending
            self._actor.insist(message)

    def _pass_rest(self, gateway: bytes, batch: Batch) -> None:
        cancelled = [item.request_id for item in batch.items if isinstance(item, Cancel)]
        if cancelled:
            self._insist_unwanted(gateway, cancelled)
        pins: list[Item] = [item for item in batch.items if isinstance(item, Pin)]
        if pins:
            self.insist(Received(gateway, Batch(pins)))

    def _insist_unwanted(self, gateway: bytes, request_ids: list[str] | None) -> None:
        if self._last is not None and self._last.add(gateway, request_ids):
            return
        new = Unwanted()
        new.add(gateway, request_ids)
        self.insist(new)
        self._last = new
