"""How much memory each engine's caches may take; pure.

The node's budget is a fraction of what the device may wire, not of the machine's memory. What the
weights leave of it, also those that are still to come, is shared: live sequences' needs first, then
the prefixes that are stored already, then the rest alike; and each engine keeps a floor so that an
idle one can start. Room that one engine still holds beyond its share is not promised to another
before it is free.

As it fills: up to the soft watermark stored prefixes may grow; above it they shrink, those of the
engine idle for longest first; when that is not enough, new sequences' caches are quantised; above
the hard watermark nothing is admitted.
"""

import enum

from msgspec import Struct

from config.settings import KVCacheSettings
from transport.messages.control import Budget

FLOOR_FRACTION = 0.5  # of the node's budget, in equal parts
NOTICEABLE_FRACTION = 0.05  # of the node's budget
RELIEF_FRACTION = 0.05  # of the node's budget: so far below a mark its measure ends


class Level(enum.IntEnum):
    """How far the node has gone to save memory."""

    FREE = 0
    EVICTING = 1  # stored prefixes shrink
    QUANTISING = 2  # new caches have fewer bits as well
    CLOSED = 3  # nothing is admitted as well


class Demand(Struct, frozen=True, kw_only=True):
    """What one engine has and wants, in bytes."""

    weights_bytes: int
    held_bytes: int  # by live sequences, or promised to them
    waiting_bytes: int  # of requests in its queue
    active_bytes: int  # the allocator's own count
    stored_bytes: int = 0
    pinned_bytes: int = 0  # of the stored ones, what cannot be let go of now
    idle_s: float = 0.0


class Plan(Struct, frozen=True):
    """The budgets of all engines of a node."""

    node_kv_bytes: int
    budgets: dict[str, Budget]
    level: Level = Level.FREE
    bits: int | None = None  # of new caches; None: each engine decides


def plan(
    demands: dict[str, Demand],
    device_limit_bytes: int,
    settings: KVCacheSettings,
    before: Plan,
    coming_bytes: int = 0,
) -> Plan:
    """Share out the node's memory; `before` is the plan so far, `coming_bytes` are the weights of
    engines that are not up yet."""
    node_bytes = int(settings.budget_fraction * device_limit_bytes)
    weights = coming_bytes + sum(demand.weights_bytes for demand in demands.values())
    kv_bytes = max(0, node_bytes - weights)
    used = sum(_used(demand) for demand in demands.values())
    soft_bytes = int(settings.soft_watermark * kv_bytes)
    promised_bytes = int(settings.promised_fraction * kv_bytes)
    shares = _yield_room(_shares(demands, promised_bytes), demands)
    stored = _stored(demands, shares, soft_bytes - used, settings.stored_fraction)
    level = _level(demands, used, kv_bytes, settings, before.level)
    bits = _bits(level, _firm(demands, used), kv_bytes, settings, before.bits)
    wired = _wired(demands, shares, node_bytes)
    budgets = {
        engine_id: Budget(
            share, level < Level.CLOSED, stored[engine_id], bits, wired_bytes=wired[engine_id]
        )
        for engine_id, share in shares.items()
    }
    return Plan(kv_bytes, budgets, level, bits)


def changes(plan: Plan, sent: dict[str, Budget]) -> dict[str, Budget]:
    """The budgets to send. Small changes are not worth a message; once one is noticeable all go,
    so that those in force always add up."""
    threshold = NOTICEABLE_FRACTION * plan.node_kv_bytes
    changed = {
        engine_id: budget
        for engine_id, budget in plan.budgets.items()
        if budget != sent.get(engine_id)
    }
    noticeable = any(
        engine_id not in sent or _differs(sent[engine_id], budget, threshold)
        for engine_id, budget in changed.items()
    )
    return changed if noticeable else {}


def _differs(sent: Budget, budget: Budget, threshold: float) -> bool:
    return (
        (sent.admit, sent.bits) != (budget.admit, budget.bits)
        or abs(sent.kv_bytes - budget.kv_bytes) > threshold
        or abs(sent.stored_bytes - budget.stored_bytes) > threshold
    )


def _used(demand: Demand) -> int:
    return max(demand.active_bytes - demand.weights_bytes, demand.held_bytes + demand.stored_bytes)


def _evictable(demand: Demand) -> int:
    return max(0, demand.stored_bytes - demand.pinned_bytes)


def _firm(demands: dict[str, Demand], used: int) -> int:
    """What would be used with nothing stored that can be let go of."""
    return used - sum(_evictable(demand) for demand in demands.values())


def _shares(demands: dict[str, Demand], kv_bytes: int) -> dict[str, int]:
    floor = int(FLOOR_FRACTION * kv_bytes) // max(1, len(demands))
    rest = kv_bytes - floor * len(demands)
    beyond = {
        engine_id: max(0, demand.held_bytes + demand.waiting_bytes - floor)
        for engine_id, demand in demands.items()
    }
    live = _divide(rest, beyond)
    left = rest - sum(live.values())
    # What the floor and the live part leave no room for.
    kept = {
        engine_id: max(0, demand.held_bytes + demand.stored_bytes - floor - live[engine_id])
        for engine_id, demand in demands.items()
    }
    stored = _divide(left, kept)
    left -= sum(stored.values())
    even = left // max(1, len(demands))
    return {engine_id: floor + live[engine_id] + stored[engine_id] + even for engine_id in demands}


def _divide(room: int, wishes: dict[str, int]) -> dict[str, int]:
    """All that is wished for, or what there is in proportion."""
    total = sum(wishes.values())
    if total <= room:
        return wishes
    return {engine_id: room * wish // total for engine_id, wish in wishes.items()}


def _yield_room(shares: dict[str, int], demands: dict[str, Demand]) -> dict[str, int]:
    """Take from the unused parts of the shares what others hold beyond theirs."""
    held = {id_: demand.held_bytes + demand.stored_bytes for id_, demand in demands.items()}
    over = sum(max(0, held[engine_id] - share) for engine_id, share in shares.items())
    free = {engine_id: max(0, share - held[engine_id]) for engine_id, share in shares.items()}
    total_free = sum(free.values())
    if over == 0 or total_free == 0:
        return shares
    taken = min(over, total_free)
    return {
        engine_id: share - -(-free[engine_id] * taken // total_free)
        for engine_id, share in shares.items()
    }


def _stored(
    demands: dict[str, Demand], shares: dict[str, int], slack: int, fraction: float
) -> dict[str, int]:
    """What each store may keep: together they grow by `slack`, or shrink when it is negative."""
    growth = max(0, slack) // max(1, len(demands))
    excess = max(0, -slack)
    kept = {}
    for engine_id in sorted(demands, key=lambda id_: (-demands[id_].idle_s, id_)):
        demand = demands[engine_id]
        dropped = min(excess, _evictable(demand))
        excess -= dropped
        limit = min(shares[engine_id], max(int(fraction * shares[engine_id]), demand.pinned_bytes))
        kept[engine_id] = min(limit, demand.stored_bytes - dropped + growth)
    return kept


def _level(
    demands: dict[str, Demand],
    used: int,
    kv_bytes: int,
    settings: KVCacheSettings,
    before: Level,
) -> Level:
    firm = _firm(demands, used)
    relief = RELIEF_FRACTION * kv_bytes
    soft = settings.soft_watermark * kv_bytes
    # With nothing to wait for, closing the door would close it for ever.
    held = any(demand.held_bytes for demand in demands.values())
    if held and firm >= settings.hard_watermark * kv_bytes:
        return Level.CLOSED
    if firm >= soft - (relief if before >= Level.QUANTISING else 0):
        return Level.QUANTISING
    return Level.EVICTING if used > soft else Level.FREE


def _bits(
    level: Level, firm: int, kv_bytes: int, settings: KVCacheSettings, before: int | None
) -> int | None:
    """8 above the soft watermark, 4 in the upper half of the way to the hard one."""
    if settings.bits != "auto" or level < Level.QUANTISING:
        return None
    middle = (settings.soft_watermark + settings.hard_watermark) / 2
    relief = RELIEF_FRACTION if before == 4 else 0.0
    return 4 if firm >= (middle - relief) * kv_bytes else 8


def _wired(demands: dict[str, Demand], shares: dict[str, int], node_bytes: int) -> dict[str, int]:
    """Weights and caches of each engine; never more together than the node may wire."""
    wanted = {id_: demand.weights_bytes + shares[id_] for id_, demand in demands.items()}
    return _divide(node_bytes, wanted)
