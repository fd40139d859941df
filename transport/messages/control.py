"""Between engines or gateways and the control process (its `control` ROUTER).

Peers are DEALERs whose identity is `child_id#incarnation`. What one loop turn produced goes out
as one message.
"""

from typing import Literal

from msgspec import Struct

from config.limits import Allowance, KeyLimits
from transport.messages.topology import ModelCard, PrefixBlocks, Snapshot

Outcome = Literal["finished", "cancelled", "failed", "refused", "engine_lost", "stalled"]


class Hello(Struct, frozen=True, tag="hello"):
    """A gateway's first message to a new control incarnation; answered with a `Snapshot`."""

    child_id: str
    incarnation: int


class EngineHello(Struct, frozen=True, tag="engine_hello"):
    """An engine's first message to a new control incarnation: it is ready at `endpoint`."""

    engine_id: str
    incarnation: int
    endpoint: str
    card: ModelCard


class Charge(Struct, frozen=True, omit_defaults=True):
    """Whose limits a route counts against, and as what.

    The limits come along, so that control has nothing to look up. Of the routes of one client's
    request only the first counts as a request, and of those that share a prompt only the first
    counts its tokens; all of them that come in one batch are let through or refused together.
    """

    key: str
    tenant: str = ""
    key_limits: KeyLimits | None = None
    tenant_limits: KeyLimits | None = None
    requests: int = 1
    prompt: bool = True
    streams: int = 1  # 0: nothing is written, as for embeddings
    group: int = 0  # the same for all routes of one client's request; 0: it has no others


class Route(Struct, frozen=True):
    """Asks for an engine; answered with a `Lease` or a `Refusal` of the same `route_id`.

    `prefix_hashes` are those of the prompt's blocks, in order (`transport.prefix`);
    `shared_tokens` of the prompt another request of the same `session` just brought to its engine.
    """

    route_id: str
    model: str
    prompt_tokens: int
    max_tokens: int
    session: str | None = None
    prefix_hashes: list[int] = []
    excluded: list[str] = []  # `engine_id#incarnation` of engines that just failed this request
    resumed: bool = False  # an accepted request that lost its engine: goes before new ones
    timeout_s: float | None = None  # how long it may still take
    shared_tokens: int = 0
    charge: Charge | None = None  # None: no limits


class Admit(Struct, frozen=True, tag="admit"):
    """Asks whether something that needs no engine may be done for somebody who has limits.

    Answered with an `Admitted` or a `Refusal`, whose `route_id` is this one's `request_id`. What is
    let through counts as a request and cannot be given back.
    """

    request_id: str
    charge: Charge


class Release(Struct, frozen=True):
    """Ends a lease and says how it went; unknown leases are ignored."""

    lease_id: str
    engine_id: str
    incarnation: int
    outcome: Outcome
    tokens: int = 0
    first_token_s: float | None = None
    max_gap_s: float | None = None
    age_s: float | None = None  # since the lease
    ticket: str = ""  # the lease's
    used_tokens: int = 0  # that its `Charge` pays for; 0: the engine did nothing


class RouteBatch(Struct, frozen=True, tag="routes", omit_defaults=True):
    """What one loop turn has: leases that ended, which come first, and routes."""

    routes: list[Route] = []
    releases: list[Release] = []


class LoadReport(Struct, frozen=True, kw_only=True, tag="load_report"):
    """What an engine has on its hands; sent when it changed, at most every 100 ms, at least every
    second."""

    engine_id: str
    incarnation: int
    running: int
    waiting: int
    running_tokens: int  # tokens held in the batch's caches
    waiting_tokens: int  # prompt tokens not yet prefilled
    generated_tokens: int  # since the start of this incarnation
    idle_s: float  # since the last work; 0 while busy


class MemoryReport(Struct, frozen=True, kw_only=True, tag="memory_report"):
    """An engine's memory, in bytes, at least every second."""

    engine_id: str
    incarnation: int
    weights_bytes: int
    kv_bytes: int  # held by live sequences
    stored_kv_bytes: int = 0  # held by stored prefixes
    pinned_kv_bytes: int = 0  # of these, what cannot be let go of now
    evicted_blocks: int = 0  # stored and let go of, since the start of this incarnation
    reserved_kv_bytes: int  # promised to admitted sequences
    waiting_kv_bytes: int = 0  # what the requests in the queue would take
    active_bytes: int  # the allocator's own count
    peak_bytes: int
    device_limit_bytes: int  # what the device may wire


class Warmed(Struct, frozen=True, tag="warmed"):
    """The engine ran the warm-up it was asked for."""

    engine_id: str
    incarnation: int
    took_s: float


class Wanted(Struct, frozen=True, tag="wanted"):
    """From a gateway: somebody waits for a model that is not loaded."""

    model: str


class NoLongerAdmits(Struct, frozen=True, tag="no_longer_admits"):
    """The engine takes nothing new from now on."""

    engine_id: str
    incarnation: int


ToControl = (
    Hello
    | EngineHello
    | RouteBatch
    | Admit
    | LoadReport
    | MemoryReport
    | Warmed
    | NoLongerAdmits
    | PrefixBlocks
    | Wanted
)


class Lease(Struct, frozen=True, tag="lease"):
    """The right to send one request to this engine until it is released.

    One for a `Charge` has a `ticket`, which its release names.
    """

    route_id: str
    lease_id: str
    engine_id: str
    incarnation: int
    endpoint: str
    ticket: str = ""
    allowance: Allowance | None = None  # what is left now to whom the charge names


class Refusal(Struct, frozen=True, tag="refusal"):
    """No engine for this route; `retryable`: the model is served here, ask again.

    It comes in a `LeaseBatch`, and alone where it answers an `Admit`.
    """

    route_id: str
    code: str
    message: str
    retryable: bool
    retry_after_s: float | None = None
    param: str | None = None  # the client's field at fault
    allowance: Allowance | None = None  # as of a lease; of those that come from limits only


class Admitted(Struct, frozen=True, tag="admitted"):
    """The limits let it through, and so much is left."""

    request_id: str
    allowance: Allowance | None = None


class LeaseBatch(Struct, frozen=True, tag="leases"):
    """The answers to the routes of one `RouteBatch`, each lease or refusal once."""

    answers: list[Lease | Refusal]


class Budget(Struct, frozen=True, tag="budget"):
    """To an engine: what its caches may take from now on, in bytes.

    `kv_bytes` is for live sequences and stored prefixes together: what live ones were promised goes
    first, and the store keeps at most `stored_bytes` and never more than they leave of `kv_bytes`.
    So an engine that needs room for a request takes it from its own store at once.
    """

    kv_bytes: int
    admit: bool = True  # False above the hard watermark
    stored_bytes: int = 0
    bits: int | None = None  # of new sequences' caches; None: as the engine's own policy says
    wired_bytes: int = 0  # this process's share of what the node may wire


class Warm(Struct, frozen=True, tag="warm"):
    """To an engine: run a short generation at these batch widths when idle, answer `Warmed`."""

    widths: list[int]
    prompt_tokens: int
    max_tokens: int


FromControl = LeaseBatch | Admitted | Refusal | Budget | Warm | Snapshot
