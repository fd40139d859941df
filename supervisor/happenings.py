"""What `supervisor.decide` is told and what it wants done."""

from msgspec import Struct

from supervisor.spec import GroupSpec
from supervisor.state import Tree
from transport.messages.admin import Event
from transport.messages.lifeline import FromChild


class Tick(Struct, frozen=True):
    """Time has passed; the first one starts the tree."""


class Resumed(Struct, frozen=True):
    """The supervisor itself did not run for so long; nobody is blamed for that silence."""

    lost_s: float


class Spawned(Struct, frozen=True):
    """The process exists."""

    child_id: str
    incarnation: int
    pid: int


class SpawnFailed(Struct, frozen=True):
    """The operating system gave no process."""

    child_id: str
    incarnation: int
    message: str


class Said(Struct, frozen=True):
    """A message came up a lifeline."""

    child_id: str
    incarnation: int
    message: FromChild


class LifelineLost(Struct, frozen=True):
    """The child's process lives but can no longer be talked to."""

    child_id: str
    incarnation: int
    message: str


class Exited(Struct, frozen=True):
    """The process is gone; `returncode` is negative for a signal."""

    child_id: str
    incarnation: int
    returncode: int
    output: list[str]


class StopTree(Struct, frozen=True):
    """Someone wants the whole tree to end; said twice it ends fast."""

    reason: str
    drain_s: float = 0.0


class RestartNamed(Struct, frozen=True):
    """Stop and start a child, group or model; no failure, so it does not count as one."""

    name: str


class StopNamed(Struct, frozen=True):
    """Stop a child, group or model until a command starts it; running work is finished first."""

    name: str
    drain_s: float = 0.0


class DrainNamed(Struct, frozen=True):
    """Let a child, group or model finish what it has."""

    name: str
    timeout_s: float


class AddGroup(Struct, frozen=True):
    """Start a further group below the group `under`."""

    under: str
    spec: GroupSpec


class RemoveGroup(Struct, frozen=True):
    """Stop a group, once its running work is finished, and take it out of the tree.

    `comes_back`: only to make room, until somebody wants it again.
    """

    group_id: str
    drain_s: float = 0.0
    comes_back: bool = False


class KeepOut(Struct, frozen=True):
    """Do not load a model that is not in the tree before a command says so."""

    group_id: str
    model: str


class RecycleNamed(Struct, frozen=True):
    """Replace an engine, or those of a group or model, by fresh processes, one after the other.

    `asked_by_itself`: not before it has been up for a while, so that one that asks at once and
    always does not keep everybody waiting.
    """

    name: str
    reason: str
    drain_s: float = 0.0
    asked_by_itself: bool = False


Happening = (
    Tick
    | Resumed
    | Spawned
    | SpawnFailed
    | Said
    | LifelineLost
    | Exited
    | StopTree
    | RestartNamed
    | StopNamed
    | DrainNamed
    | AddGroup
    | RemoveGroup
    | KeepOut
    | RecycleNamed
)


class Spawn(Struct, frozen=True):
    """Start a process for this child; answer with `Spawned` or `SpawnFailed`."""

    child_id: str
    incarnation: int


class SendStop(Struct, frozen=True):
    """Ask the child over its lifeline to end."""

    child_id: str
    timeout_s: float


class SendDrain(Struct, frozen=True):
    """Ask the child over its lifeline to finish what it has."""

    child_id: str
    timeout_s: float


class SendSignal(Struct, frozen=True):
    """Send a signal to the child's process."""

    child_id: str
    signum: int


class Publish(Struct, frozen=True):
    """Tell whoever follows the events."""

    event: Event


class Exit(Struct, frozen=True):
    """Nothing lives any more; the supervisor ends."""

    code: int
    reason: str


Action = Spawn | SendStop | SendDrain | SendSignal | Publish | Exit


class Decision(Struct, frozen=True):
    """The tree as it is from now on, and what has to be done, in this order."""

    tree: Tree
    actions: tuple[Action, ...]
