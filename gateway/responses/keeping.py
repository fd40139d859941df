"""Which stored responses have to go: a pure function of what there is."""

import heapq
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from gateway.responses.ids import made_at


class Kept(Struct, frozen=True):
    """A stored response, with all that belongs to it."""

    tenant: str
    id: str
    size_bytes: int


def is_expired(response_id: str, now: float, ttl_s: float) -> bool:
    """Whether its time is over; `now` is wall clock."""
    return now - made_at(response_id) >= ttl_s


def to_drop(kept: Iterable[Kept], now: float, ttl_s: float, max_bytes: int) -> list[Kept]:
    """What is expired, and then, while there is too much, the oldest of whoever has most.

    So nobody's responses are dropped because somebody else has many.
    """
    dropped: list[Kept] = []
    by_tenant: dict[str, list[Kept]] = defaultdict(list)
    for one in kept:
        if is_expired(one.id, now, ttl_s):
            dropped.append(one)
        else:
            by_tenant[one.tenant].append(one)
    sizes = {tenant: sum(one.size_bytes for one in own) for tenant, own in by_tenant.items()}
    for own in by_tenant.values():
        own.sort(key=lambda one: one.id, reverse=True)  # ids begin with their time
    most = [(-size, tenant) for tenant, size in sizes.items()]
    heapq.heapify(most)
    total = sum(sizes.values())
    while total > max_bytes:
        size, tenant = heapq.heappop(most)
        oldest = by_tenant[tenant].pop()
        dropped.append(oldest)
        total -= oldest.size_bytes
        if by_tenant[tenant]:
            heapq.heappush(most, (size + oldest.size_bytes, tenant))
    return dropped
