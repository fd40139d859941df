"""An engine's share of the node's memory, and how it is divided between live and stored caches."""

import mlx.core as mx
from msgspec import structs

from actors.engine.admission import Room
from actors.engine.kv.precision import Precision, cost
from actors.engine.model import LoadedModel
from actors.engine.store.store import PrefixStore
from actors.engine.work import Work
from transport.messages.control import Budget

PINNED_FRACTION = 0.5  # of an engine's share, at most: live sequences need the rest


def room_for(loaded: LoadedModel, budget_bytes: int, max_concurrent: int | None) -> Room:
    """What may be used until the governor says otherwise."""
    full_bytes = loaded.cost.per_token
    each = {16: full_bytes}
    for bits in loaded.quantised_bits:
        share = cost(Precision(bits, loaded.group_size), loaded.shapes[0].dtype.size)
        each[bits] = int(full_bytes * share)
    return Room(
        budget_bytes=max(0, budget_bytes),
        bytes_per_token=each,
        max_rows=1 if loaded.batching == "serial" else max_concurrent,
        grouped=loaded.grouped,
        bytes_per_row=loaded.cost.per_row,
        windows=loaded.cost.windows,
    )


class EngineMemory:
    """Holds the work and the store to the governor's budget; engine thread only."""

    def __init__(self, work: Work, store: PrefixStore | None, stored_fraction: float) -> None:
        self.wired_bytes = 0
        self._work = work
        self._store = store
        self._stored_bytes = int(work.room.budget_bytes * stored_fraction)
        self._settled: tuple[object, ...] = ()
        self._limit_pins()

    def apply(self, budget: Budget) -> None:
        """A new budget is in force from now on."""
        room = self._work.room
        self._work.room = structs.replace(room, budget_bytes=budget.kv_bytes, open=budget.admit)
        self._work.scarce_bits = budget.bits
        self._stored_bytes = budget.stored_bytes
        self._limit_pins()
        self._wire(budget.wired_bytes)
        self.make_room()

    def make_room(self) -> None:
        """Stored prefixes take what the live sequences leave; cheap when nothing has changed."""
        if self._store is None:
            return
        now = (self._store.bytes, self._work.admitted, self._work.room, self._stored_bytes)
        if now == self._settled:
            return
        free = self._work.room.budget_bytes - self._work.reserved_bytes()
        self._store.evict_to(max(0, min(self._stored_bytes, free)))
        self._settled = (self._store.bytes, *now[1:])

    def _limit_pins(self) -> None:
        share = int(self._work.room.budget_bytes * PINNED_FRACTION)
        self._work.pins.limit(min(self._stored_bytes, share))

    @property
    def stored_bytes(self) -> int:
        """What stored prefixes take."""
        return 0 if self._store is None else self._store.bytes

    def _wire(self, wired_bytes: int) -> None:
        """mlx-lm would wire three quarters of the machine for each process; this is our share."""
        if wired_bytes != self.wired_bytes and mx.metal.is_available():
            mx.set_wired_limit(wired_bytes)
            self.wired_bytes = wired_bytes


def device_limit_bytes(configured_bytes: int) -> int:
    """What the device may wire, as Metal says, or as the configuration does where there is none."""
    if mx.default_device().type == mx.DeviceType.cpu:
        return configured_bytes
    return int(mx.device_info().get("max_recommended_working_set_size", configured_bytes))
