"""The state of the whole tree: immutable values that only `supervisor.decide` replaces.

A child that is `doomed` is stopped in its turn, one that is `wanted` and has no process is started
in its turn. Turns count within a batch: what was put up for stopping or starting together.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from config.load_faults import LoadFault
from supervisor.spec import ChildSpec, GroupSpec
from transport.messages.lifeline import AbsenceCause, Announce, ChildState, Scalar

LIVE = frozenset({"starting", "loading", "ready", "draining", "stopping"})
Step = Literal["dumped", "asked", "terminated", "killed"]
Phase = Literal["running", "draining", "stopping", "stopped"]


class Fault(Struct, frozen=True):
    """Why a child is ended or could not start; `code` is one of `config.errors`.

    `load`: what clients hear of it when it was a model's engine that could not start.
    """

    code: str
    message: str
    load: LoadFault = "other"


class Recycling(Struct, frozen=True):
    """A sound child is to be replaced, in its turn, by a fresh process."""

    reason: str
    not_before: float
    drain_s: float  # when others serve in its place, it may finish what it has
    begun: bool = False


class Absence(Struct, frozen=True):
    """Why a group is taken out of the tree, until it is put there again."""

    name: str  # of its model, or its own
    cause: AbsenceCause
    fault: Fault | None = None  # why it could not start


class Vitals(Struct, frozen=True, kw_only=True):
    """What one incarnation said of itself; times are ours, monotonic."""

    heard_at: float
    progress_at: float
    busy: bool = False
    suspect: bool = False
    accusation: str | None = None


class Child(Struct, frozen=True, kw_only=True):
    """One process, or the place of one."""

    spec: ChildSpec
    group: str
    state: ChildState = "stopped"
    incarnation: int = 0
    starts: int = 0
    pid: int | None = None
    wanted: bool = True
    doomed: bool = False
    held: bool = False  # stopped by a command: a sibling's failure does not start it
    batch: int = 0
    start_at: float = 0.0  # not before
    due_at: float | None = None  # when patience ends: to be ready, drained, one step further
    step: Step | None = None
    fault: Fault | None = None
    failures: int = 0  # in a row
    was_ready: bool = False  # any incarnation
    ready_at: float | None = None  # this incarnation
    drained: bool = False
    recycling: Recycling | None = None
    recycles: int = 0
    vitals: Vitals = Vitals(heard_at=0.0, progress_at=0.0)
    facts: dict[str, Scalar] = {}
    stage: str | None = None
    fraction: float | None = None

    @property
    def live(self) -> bool:
        """There is a process, or one is being spawned."""
        return self.state in LIVE

    @property
    def up(self) -> bool:
        """It became ready and works."""
        return self.state in ("ready", "draining")

    @property
    def pending(self) -> bool:
        """It has no process and is to get one."""
        return self.wanted and not self.live

    @property
    def active(self) -> bool:
        """It runs or will run; the opposite of being done for good."""
        return self.wanted or self.live

    @property
    def departs(self) -> bool:
        """It finishes what it has and is stopped then, or when its time is over; it is started
        anew if it is being recycled."""
        return self.state == "draining" and self.due_at is not None and not self.doomed

    @property
    def restarts(self) -> int:
        """Starts after the first, whatever the cause."""
        return max(0, self.starts - 1)

    def announcement(self) -> Announce:
        """What its siblings are told."""
        return Announce(
            self.spec.id,
            self.spec.kind,
            self.spec.labels,
            self.state,
            self.incarnation,
            self.pid,
            self.facts,
            self.restarts,
            self.held,
            self.recycles,
        )


class Group(Struct, frozen=True, kw_only=True):
    """A supervisor in Erlang's sense; `members` are ids of children and groups in start order."""

    spec: GroupSpec
    parent: str | None
    members: tuple[str, ...]
    restarts: tuple[float, ...] = ()
    booting: bool = False  # the first failure of a child that was never ready ends the group
    leaving: bool = False  # taken out of the tree once nothing in it lives


class Tree(Struct, frozen=True, kw_only=True):
    """Everything the supervisor knows."""

    root: str
    children: dict[str, Child]
    groups: dict[str, Group]
    seed: int = 0  # of the back-off's jitter
    phase: Phase = "running"
    batch: int = 0  # the last one given out
    drain_until: float = 0.0
    fast: bool = False
    exit_code: int = 0
    exit_reason: str = ""
    incarnations: dict[str, int] = {}  # of children that were removed
    absent: dict[str, Absence] = {}  # by group id


def planted(root: GroupSpec, seed: int = 0) -> Tree:
    """The tree before anything was started; the first tick starts it."""
    children: dict[str, Child] = {}
    groups: dict[str, Group] = {}
    graft(root, None, children, groups)
    groups[root.id] = Group(spec=root, parent=None, members=groups[root.id].members, booting=True)
    return Tree(root=root.id, children=children, groups=groups, seed=seed)


def graft(
    spec: GroupSpec, parent: str | None, children: dict[str, Child], groups: dict[str, Group]
) -> None:
    """Put a group and all below it into `children` and `groups`."""
    members = tuple(member.id for member in spec.children)
    groups[spec.id] = Group(spec=spec, parent=parent, members=members)
    for member in spec.children:
        if isinstance(member, GroupSpec):
            graft(member, spec.id, children, groups)
        else:
            children[member.id] = Child(spec=member, group=spec.id)


def below(groups: dict[str, Group], member: str) -> Iterator[str]:
    """The ids of the children under a group in start order; of a child itself, just that."""
    if member not in groups:
        yield member
        return
    for inner in groups[member].members:
        yield from below(groups, inner)


def above(groups: dict[str, Group], group: str) -> Iterator[str]:
    """A group and all the groups it lies in, from the inside out."""
    inner: str | None = group
    while inner is not None:
        yield inner
        inner = groups[inner].parent
