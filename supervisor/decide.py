"""What the supervisor does about what happens. Pure: no socket, process or clock in it.

Source: Erlang/OTP, https://www.erlang.org/doc/apps/stdlib/supervisor.html; readiness, back-off,
stalls and draining are ours.
"""

from supervisor.commands import (
    add_group,
    drain_named,
    keep_out,
    recycle_named,
    remove_group,
    restart_named,
    stop_named,
    stop_tree,
)
from supervisor.deadlines import credit, pass_time
from supervisor.draft import Draft
from supervisor.happenings import (
    AddGroup,
    Decision,
    DrainNamed,
    Exited,
    Happening,
    KeepOut,
    LifelineLost,
    RecycleNamed,
    RemoveGroup,
    RestartNamed,
    Resumed,
    Said,
    Spawned,
    SpawnFailed,
    StopNamed,
    StopTree,
    Tick,
)
from supervisor.news import exited, lifeline_lost, said, spawn_failed, spawned
from supervisor.state import Tree
from supervisor.turns import take_turns


def decide(tree: Tree, happening: Happening, now: float) -> Decision:
    """The tree after `happening`, and what to do.

    Raises:
        ServingError: a command that cannot be met; everything stays as it was.
    """
    draft = Draft(tree, now)
    _take_in(draft, happening)
    take_turns(draft)
    return draft.decision()


def _take_in(draft: Draft, happening: Happening) -> None:
    match happening:
        case Tick():
            pass_time(draft)
        case Resumed(lost_s):
            credit(draft, lost_s)
        case Spawned() | SpawnFailed() | Said() | LifelineLost() | Exited():
            _hear(draft, happening)
        case _:
            _obey(draft, happening)


def _hear(draft: Draft, news: Spawned | SpawnFailed | Said | LifelineLost | Exited) -> None:
    child = draft.current(news.child_id, news.incarnation)
    if child is None:
        return  # of an incarnation that is gone
    match news:
        case Spawned(_, _, pid):
            spawned(draft, child, pid)
        case SpawnFailed(_, _, message):
            spawn_failed(draft, child, message)
        case Said(_, _, message):
            said(draft, child, message)
        case LifelineLost(_, _, message):
            lifeline_lost(draft, child, message)
        case _:
            exited(draft, child, news.returncode, news.output)


def _obey(
    draft: Draft,
    command: StopTree
    | RestartNamed
    | StopNamed
    | DrainNamed
    | AddGroup
    | RemoveGroup
    | KeepOut
    | RecycleNamed,
) -> None:
    match command:
        case StopTree():
            stop_tree(draft, command)
        case RestartNamed(name):
            restart_named(draft, name)
        case StopNamed(name, drain_s):
            stop_named(draft, name, drain_s)
        case DrainNamed(name, timeout_s):
            drain_named(draft, name, timeout_s)
        case AddGroup():
            add_group(draft, command)
        case RemoveGroup():
            remove_group(draft, command)
        case KeepOut(group_id, model):
            keep_out(draft, group_id, model)
        case _:
            recycle_named(draft, command)
