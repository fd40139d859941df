"""Between the supervisor and each of its children, over the child's lifeline (a socket pair).

The lifeline belongs to one incarnation of one child, so its messages need not say which. Its end
is news as well: to the supervisor that the child is gone, to the child that its parent is.
"""

from typing import Literal

from msgspec import Raw, Struct

from config.load_faults import LoadFault

Scalar = str | int | float | bool | None
AbsenceCause = Literal["failed", "dismissed", "freed"]
ChildState = Literal[
    "starting", "loading", "ready", "draining", "stopping", "backoff", "failed", "stopped"
]


class Start(Struct, frozen=True, tag="start"):
    """The first message to a child: call `entry` (`module:function`) with `args` (msgpack)."""

    child_id: str
    incarnation: int
    entry: str
    args: Raw
    fds: dict[str, int]  # inherited file descriptors by name
    runtime_dir: str
    log_level: str
    heartbeat_s: float = 1.0


class Announce(Struct, frozen=True, tag="announce"):
    """How a child fares, this one and its siblings; on start all of them, later what changed."""

    child_id: str
    kind: str
    labels: dict[str, str]
    state: ChildState
    incarnation: int
    pid: int | None
    facts: dict[str, Scalar]
    restarts: int = 0
    held: bool = False  # a command stopped it, or has it finish and stop, until another starts it
    recycles: int = 0  # of the restarts, those that put a fresh process in place of a sound one


class Removed(Struct, frozen=True, tag="removed"):
    """The child was taken out of the tree."""

    child_id: str


class ModelAbsent(Struct, frozen=True, tag="model_absent"):
    """A model is taken out of the tree, or could not be put there.

    `failed`: it could not be loaded, for the reason in `code` and `message`, of which clients hear
    no more than `fault`; `dismissed`: a person unloaded it; `freed`: control did, to make room.
    """

    model: str
    cause: AbsenceCause
    code: str = ""
    message: str = ""
    fault: LoadFault = "other"


class ModelBack(Struct, frozen=True, tag="model_back"):
    """A model that was absent is put into the tree again."""

    model: str


class Drain(Struct, frozen=True, tag="drain"):
    """Take nothing new and finish what runs; say `Drained` when there is nothing left."""

    timeout_s: float


class Stop(Struct, frozen=True, tag="stop"):
    """Finish within the time, then exit with 0; after it come SIGTERM and SIGKILL."""

    timeout_s: float


News = Announce | Removed | ModelAbsent | ModelBack
"""What a child hears of the rest of the tree."""

ToChild = Start | News | Drain | Stop


class Loading(Struct, frozen=True, tag="loading"):
    """Long work before `Ready`, for people to see."""

    stage: str
    fraction: float | None = None  # 0 to 1 where known


class Ready(Struct, frozen=True, tag="ready"):
    """The child does its work from now on."""

    facts: dict[str, Scalar]


class StartFailed(Struct, frozen=True, tag="start_failed"):
    """The child cannot start and says why, in one line; it exits with non-zero next.

    `fault`, where what failed is the loading of a model: the reason as clients may know it.
    """

    code: str
    message: str
    fault: LoadFault = "other"


class Heartbeat(Struct, frozen=True, tag="heartbeat"):
    """Sent every `heartbeat_s` by a thread that is not the work loop."""

    busy: bool
    progress: int  # counts steps of work; grows while work goes on
    progress_age_s: float
    facts: dict[str, Scalar]


class Drained(Struct, frozen=True, tag="drained"):
    """Nothing is left to finish."""


class Suspect(Struct, frozen=True, tag="suspect"):
    """A sibling owes work and is silent; it is killed only if its heartbeats stopped too."""

    child_id: str
    incarnation: int
    reason: str


class LoadModel(Struct, frozen=True, tag="load_model"):
    """From control: start the engines of a model of the configuration.

    Answered by announcements of its engines, or by `ModelAbsent`.
    """

    model: str


class UnloadModel(Struct, frozen=True, tag="unload_model"):
    """From control: let the engines of a model finish what they have, and end them."""

    model: str


class WantsRecycling(Struct, frozen=True, tag="wants_recycling"):
    """The child works but should be replaced by a fresh process soon; said once is enough."""

    reason: str


FromChild = (
    Loading
    | Ready
    | StartFailed
    | Heartbeat
    | Drained
    | Suspect
    | LoadModel
    | UnloadModel
    | WantsRecycling
)
