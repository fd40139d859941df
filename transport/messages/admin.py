"""Between the command line (or a program) and the supervisor: its `admin` ROUTER and `events` PUB.

A request is two frames from a DEALER, `[request id][message]`; the request id is any bytes of the
client's choice and comes back in front of the answer. Every request has exactly one answer: the
reply of its verb or `Refused`. With `wait` the answer comes when the work is done, without it as
soon as the work has begun. The verbs are described in `supervisor/admin/`, one file each.
"""

from typing import Annotated

from msgspec import Meta, Struct

from transport.messages.lifeline import ChildState, Scalar

MAX_ADMIN_BYTES = 1024 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=512)]


class Status(Struct, frozen=True, tag="status"):
    """How every child fares."""


class Children(Struct, frozen=True, tag="children"):
    """The tree: groups, their strategies and what lies in them."""


class Restart(Struct, frozen=True, tag="restart"):
    """Stop and start a child, a group or a model anew."""

    name: Name
    wait: bool = True


class Stop(Struct, frozen=True, tag="stop"):
    """Stop a child, a group or a model; without a name the whole server."""

    name: Name | None = None
    wait: bool = True


class Recycle(Struct, frozen=True, tag="recycle"):
    """Put fresh engines in place of those of a child, a group or a model; no stream is lost."""

    name: Name
    wait: bool = True


class Drain(Struct, frozen=True, tag="drain"):
    """Let a child finish what it has and give it nothing new."""

    name: Name
    timeout_s: Annotated[float, Meta(ge=0, le=86400)] = 30.0
    wait: bool = True


class Logs(Struct, frozen=True, tag="logs"):
    """The last lines a child wrote."""

    name: Name
    lines: Annotated[int, Meta(ge=1, le=1000)] = 100


class Events(Struct, frozen=True, tag="events"):
    """What happened after event number `since`."""

    since: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class Load(Struct, frozen=True, tag="load"):
    """Serve one more model: "demo", a local folder or a hub id."""

    model: Name
    alias: Name | None = None
    replicas: Annotated[int, Meta(ge=1, le=64)] | None = None  # as configured, or one
    wait: bool = True


class Unload(Struct, frozen=True, tag="unload"):
    """Serve a model no longer."""

    name: Name
    wait: bool = True


class Config(Struct, frozen=True, tag="config"):
    """The configuration in force."""


class Version(Struct, frozen=True, tag="version"):
    """What runs here."""


AdminRequest = (
    Status
    | Children
    | Restart
    | Recycle
    | Stop
    | Drain
    | Logs
    | Events
    | Load
    | Unload
    | Config
    | Version
)


class ChildReport(Struct, frozen=True, kw_only=True):
    """One child in `NodeStatus`."""

    id: str
    kind: str
    state: ChildState
    pid: int | None
    incarnation: int
    restarts: int
    ready_at: float | None  # monotonic
    facts: dict[str, Scalar]


class NodeStatus(Struct, frozen=True, kw_only=True):
    """What `mlx-serving admin status --json` prints, field by field."""

    node: str
    uptime_s: float
    children: list[ChildReport]
    failed: dict[str, str] = {}  # models that could not be loaded, each with the whole reason


class StatusReply(Struct, frozen=True, tag="status_reply"):
    """Answer to `Status`."""

    status: NodeStatus


class GroupReport(Struct, frozen=True, kw_only=True):
    """A group of the tree; `members` are ids of children and groups in start order."""

    id: str
    parent: str | None
    strategy: str
    restart: str
    intensity: int
    period_s: float
    recent_restarts: int  # within the period
    members: list[str]


class MemberReport(Struct, frozen=True, kw_only=True):
    """A child as a member of the tree; `reason`: why it last ended or is about to."""

    id: str
    group: str
    restart: str
    state: ChildState
    suspect: bool  # its heartbeats are missing
    stage: str | None  # what it loads, while it does
    fraction: float | None
    reason: str | None


class ChildrenReply(Struct, frozen=True, tag="children_reply"):
    """Answer to `Children`, in start order."""

    groups: list[GroupReport]
    children: list[MemberReport]


class RestartReply(Struct, frozen=True, tag="restart_reply"):
    """Answer to `Restart`: the children it concerns; ready again when waited for."""

    children: list[str]


class RecycleReply(Struct, frozen=True, tag="recycle_reply"):
    """Answer to `Recycle`: the engines it concerns; replaced and ready when waited for."""

    children: list[str]


class StopReply(Struct, frozen=True, tag="stop_reply"):
    """Answer to `Stop`: the children it concerns; stopped when waited for."""

    children: list[str]


class DrainReply(Struct, frozen=True, tag="drain_reply"):
    """Answer to `Drain`; `drained` says whether all had finished when this was sent."""

    children: list[str]
    drained: bool


class ChildOutput(Struct, frozen=True):
    """A line that a child wrote on stdout or stderr, without its end."""

    child_id: str
    incarnation: int
    text: str


class LogsReply(Struct, frozen=True, tag="logs_reply"):
    """Answer to `Logs`, oldest first."""

    lines: list[ChildOutput]


class LoadReply(Struct, frozen=True, tag="load_reply"):
    """Answer to `Load`: the new group and its children; ready when waited for."""

    group: str
    children: list[str]


class UnloadReply(Struct, frozen=True, tag="unload_reply"):
    """Answer to `Unload`; gone when waited for."""

    group: str


class ConfigReply(Struct, frozen=True, tag="config_reply"):
    """Answer to `Config`: YAML."""

    text: str


class VersionReply(Struct, frozen=True, tag="version_reply"):
    """Answer to `Version`."""

    version: str
    protocol: int
    python: str
    pid: int


class Refused(Struct, frozen=True, tag="refused"):
    """The request cannot be met; `code` is one of `config.errors`."""

    code: str
    message: str


class ChildStateChanged(Struct, frozen=True, tag="child_state_changed"):
    """A child went from one state to another; one that is ready has told what there is to know."""

    child_id: str
    incarnation: int
    old: ChildState
    state: ChildState
    facts: dict[str, Scalar] = {}


class ChildEnded(Struct, frozen=True, tag="child_ended"):
    """A child's process is gone; `output` holds its last lines when nobody asked it to go."""

    child_id: str
    incarnation: int
    asked: bool
    reason: str
    output: list[str]


class ChildSuspected(Struct, frozen=True, tag="child_suspected"):
    """A child's heartbeats are missing; by itself that has no consequence."""

    child_id: str
    incarnation: int


class ChildFaulted(Struct, frozen=True, tag="child_faulted"):
    """A child is being ended for this reason: it stalled, is late or went silent when needed."""

    child_id: str
    incarnation: int
    reason: str


class LoadingProgress(Struct, frozen=True, tag="loading_progress"):
    """What a child does before it is ready."""

    child_id: str
    incarnation: int
    stage: str
    fraction: float | None


class ChildRecycled(Struct, frozen=True, tag="child_recycled"):
    """A sound child is about to be replaced by a fresh process."""

    child_id: str
    incarnation: int
    reason: str


class RestartPlanned(Struct, frozen=True, tag="restart_planned"):
    """A failure is answered by a restart of these children, after a wait."""

    group_id: str
    member_id: str
    children: list[str]
    delay_s: float
    reason: str


class Escalated(Struct, frozen=True, tag="escalated"):
    """A group is ended because its members failed too often or its significant members are done."""

    group_id: str
    reason: str


class GroupAdded(Struct, frozen=True, tag="group_added"):
    """A model was added to the tree."""

    group_id: str
    children: list[str]


class GroupRemoved(Struct, frozen=True, tag="group_removed"):
    """A model was taken out of the tree; `reason` tells when that was not asked for."""

    group_id: str
    reason: str | None


class TreeReady(Struct, frozen=True, tag="tree_ready"):
    """Every child of the start is ready, for the first time."""


class Stopping(Struct, frozen=True, tag="stopping"):
    """The whole tree goes down; running work is finished first when `drain_s` > 0."""

    reason: str
    exit_code: int
    drain_s: float


Event = (
    ChildStateChanged
    | ChildEnded
    | ChildSuspected
    | ChildFaulted
    | ChildRecycled
    | LoadingProgress
    | RestartPlanned
    | Escalated
    | GroupAdded
    | GroupRemoved
    | TreeReady
    | Stopping
)


class Published(Struct, frozen=True, tag="published"):
    """An event with its number (from 1, without gaps) and the wall clock."""

    sequence: int
    time: float
    event: Event


class EventsReply(Struct, frozen=True, tag="events_reply"):
    """Answer to `Events`, oldest first; the oldest ones may have been forgotten."""

    events: list[Published]


AdminReply = (
    StatusReply
    | ChildrenReply
    | RestartReply
    | RecycleReply
    | StopReply
    | DrainReply
    | LogsReply
    | EventsReply
    | LoadReply
    | UnloadReply
    | ConfigReply
    | VersionReply
    | Refused
)
