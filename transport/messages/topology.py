"""From the control process to everyone: which engines there are and how they fare.

Published on the `topology` PUB socket. A subscriber that just connected asks control for a
`Snapshot` (see `transport.messages.control.Hello`); control repeats it every second, so a lost
message is made good by the next one. Messages with an older incarnation than known are dropped.
"""

from typing import Literal

from msgspec import Struct

BreakerState = Literal["closed", "open", "half_open"]
ModelKind = Literal["generation", "embedding"]
ModelState = Literal["unloaded", "loading", "ready", "unavailable", "failed"]


class ModelCard(Struct, frozen=True, kw_only=True):
    """What a gateway must know of a model to serve it."""

    name: str  # what clients call it
    folder: str  # with tokenizer.json, config.json and the chat template
    context_tokens: int
    eos_token_ids: list[int]
    vocab_size: int
    architecture: str
    batching: Literal["batch", "serial"]  # serial: its batched output is wrong, so one by one
    weights_bytes: int
    kv_bytes_per_token: int
    created_time: int  # of its config.json: wall clock, seconds
    block_tokens: int = 0  # of a stored prefix; 0: none are stored
    kind: ModelKind = "generation"
    dimensions: int = 0  # of a vector, where the kind is "embedding"


class EngineUp(Struct, frozen=True, tag="engine_up"):
    """This engine takes requests at `endpoint`; `draining`, in snapshots: as `EngineDraining`."""

    engine_id: str
    incarnation: int
    endpoint: str
    card: ModelCard
    breaker: BreakerState = "closed"
    draining: bool = False


class EngineDraining(Struct, frozen=True, tag="engine_draining"):
    """The engine finishes what it has and gets no new leases."""

    engine_id: str
    incarnation: int


class EngineDown(Struct, frozen=True, tag="engine_down"):
    """This incarnation of the engine is gone; whatever it was working on must go on elsewhere."""

    engine_id: str
    incarnation: int
    reason: str


class BreakerChanged(Struct, frozen=True, tag="breaker_changed"):
    """The circuit breaker of an engine opened, closed or lets probes through."""

    engine_id: str
    incarnation: int
    state: BreakerState


class ModelStatus(Struct, frozen=True, tag="model_status"):
    """A model that should be served: `ready` while at least one engine of it is up.

    One that is `unloaded` is loaded when somebody wants it, unless `retry_after_s` is set: then
    there is no room for it, for the `reason` given. One that is `failed` may be tried again after
    `retry_after_s`. What its files say before it was ever loaded is None where that is not known.
    """

    name: str
    state: ModelState
    replicas: int
    ready_replicas: int
    reason: str = ""  # of failed and of no room
    retry_after_s: float | None = None
    context_tokens: int | None = None
    created_time: int | None = None


class PrefixBlocks(Struct, frozen=True, tag="prefix_blocks"):
    """Blocks of prompts that an engine stored and let go of, as hashes (`transport.prefix`).

    `reset`: what was said before counts no more. An engine that meets a new control says it all.
    """

    engine_id: str
    incarnation: int
    stored: list[int]
    dropped: list[int]
    reset: bool = False


class ModelGone(Struct, frozen=True, tag="model_gone"):
    """The model was unloaded; requests for it are refused as not found."""

    name: str


class Snapshot(Struct, frozen=True, tag="snapshot"):
    """Everything there is; replaces what the receiver knew."""

    control_incarnation: int
    engines: list[EngineUp]
    models: list[ModelStatus]


Topology = (
    EngineUp
    | EngineDraining
    | EngineDown
    | BreakerChanged
    | PrefixBlocks
    | ModelStatus
    | ModelGone
    | Snapshot
)
