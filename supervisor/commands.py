"""What people ask of the tree: restart, stop, drain, load, unload. Pure.

A command either takes effect or raises, and then nothing has changed.
"""

from config.errors import ConflictingCommand, Draining, UnknownChild
from supervisor.draft import Draft
from supervisor.ending import FAST_S
from supervisor.happenings import (
    AddGroup,
    RecycleNamed,
    RemoveGroup,
    SendDrain,
    StopTree,
)
from supervisor.state import Absence, Child, Recycling, Tree, above, below, graft
from supervisor.turns import uproot
from supervisor.validate import check_group
from transport.messages.admin import GroupAdded, Stopping


def named(tree: Tree | Draft, name: str) -> list[str]:
    """The children meant by the name of a child, a group or a model, in start order.

    Raises:
        UnknownChild: with the names there are.
    """
    if name in tree.children:
        return [name]
    group = name if name in tree.groups else _group_of_model(tree, name)
    if group is None:
        known = ", ".join([*tree.children, *tree.groups])
        raise UnknownChild(f"no child, group or model is called {name!r}; there are {known}")
    return list(below(tree.groups, group))


def _group_of_model(tree: Tree | Draft, name: str) -> str | None:
    for group_id, group in tree.groups.items():
        if group.spec.labels.get("model") == name:
            return group_id
    return None


def restart_named(draft: Draft, name: str) -> None:
    """Raises ConflictingCommand while one of them is being stopped."""
    ids = _running(draft, name)
    for child_id in ids:
        child = draft.children[child_id]
        if child.doomed:
            raise ConflictingCommand(f"{child_id} is being stopped already; ask again later")
        draft.change(child_id, failures=0, held=False, recycling=None)
    draft.put_up(ids, again=ids)


def recycle_named(draft: Draft, command: RecycleNamed) -> None:
    """Raises ConflictingCommand for what is no engine, or is not up."""
    ids = _running(draft, command.name)
    for child_id in ids:
        child = draft.children[child_id]
        if not child.spec.finishes:
            raise ConflictingCommand(f"{child_id} is no engine; use restart")
        begun = child.recycling is not None and child.recycling.begun
        if not begun and (child.state != "ready" or child.doomed):
            state = "about to be stopped" if child.doomed else child.state
            raise ConflictingCommand(f"{child_id} is {state}; only a ready engine can be recycled")
    for child_id in ids:
        child = draft.children[child_id]
        waits_s = child.spec.backoff.stable_after_s if command.asked_by_itself else 0.0
        not_before = max(draft.now, (child.ready_at or 0.0) + waits_s)
        if child.recycling is None or not_before < child.recycling.not_before:
            recycling = Recycling(command.reason, not_before, command.drain_s)
            draft.change(child_id, recycling=recycling)


def stop_named(draft: Draft, name: str, drain_s: float) -> None:
    """Stopping what is stopped is no error."""
    _dismiss(draft, _running(draft, name), drain_s)


def _dismiss(draft: Draft, ids: list[str], drain_s: float) -> None:
    """Have these stopped until a command starts them; those that finish what they have, then."""
    departing = [child_id for child_id in ids if _begin_departure(draft, child_id, drain_s)]
    draft.put_up(child_id for child_id in ids if child_id not in departing)
    for child_id in ids:
        draft.change(child_id, held=True, recycling=None)


def _begin_departure(draft: Draft, child_id: str, drain_s: float) -> bool:
    """False: there is nothing to wait for. Said again it changes nothing."""
    child = draft.children[child_id]
    if child.departs:  # also when it was only to be recycled
        draft.change(child_id, wanted=False)
        return True
    if not child.spec.finishes or not child.up or child.doomed or child.drained or drain_s <= 0:
        return False
    begin_drain(draft, child, drain_s)
    draft.change(child_id, wanted=False, due_at=draft.now + drain_s)
    return True


def drain_named(draft: Draft, name: str, timeout_s: float) -> None:
    """Raises ConflictingCommand for a child that is not ready."""
    ids = _running(draft, name)
    for child_id in ids:
        child = draft.children[child_id]
        if not child.up or child.doomed:
            state = "about to be stopped" if child.doomed else child.state
            raise ConflictingCommand(f"{child_id} is {state}; only a ready child can be drained")
    for child_id in ids:
        begin_drain(draft, draft.children[child_id], timeout_s)


def begin_drain(draft: Draft, child: Child, timeout_s: float) -> None:
    """Tell the child once."""
    if child.state != "draining":
        draft.change(child.spec.id, state="draining", drained=False)
        draft.act(SendDrain(child.spec.id, timeout_s))


def add_group(draft: Draft, command: AddGroup) -> None:
    """Raises ConflictingCommand when it is there already, ConfigError when its spec is bad."""
    must_run(draft.tree)
    spec, parent = command.spec, draft.groups.get(command.under)
    if parent is None:
        raise UnknownChild(f"this server has no group {command.under!r} to add {spec.id} to")
    _make_room(draft, spec.id)
    check_group(spec, parent.spec, {*draft.children, *draft.groups})
    graft(spec, command.under, draft.children, draft.groups)
    members = draft.groups[command.under].members
    draft.change_group(command.under, members=(*members, spec.id))
    draft.change_group(spec.id, booting=True)
    ids = list(below(draft.groups, spec.id))
    for child_id in ids:
        draft.change(child_id, incarnation=draft.tree.incarnations.get(child_id, 0))
    absent = {key: why for key, why in draft.tree.absent.items() if key != spec.id}
    draft.change_tree(absent=absent)
    draft.put_up(ids, again=ids)
    draft.publish(GroupAdded(spec.id, ids))


def group_named(tree: Tree, under: str, name: str) -> str:
    """The id of a group right below `under`, by its own or its model's name.

    Raises:
        UnknownChild: with the groups there are.
    """
    members = tree.groups[under].members if under in tree.groups else ()
    for group_id in members:
        if name in (group_id, tree.groups[group_id].spec.labels.get("model")):
            return group_id
    there = [tree.groups[group_id].spec.labels.get("model", group_id) for group_id in members]
    raise UnknownChild(f"no model is called {name!r}; loaded are {', '.join(there) or 'none'}")


def remove_group(draft: Draft, command: RemoveGroup) -> None:
    """Removing what is being removed is no error; who only makes room changes no reason then."""
    must_run(draft.tree)
    group_id = command.group_id
    if not command.comes_back:
        draft.leave(group_id, "dismissed")
    elif not draft.groups[group_id].leaving:
        draft.leave(group_id, "freed")
    _dismiss(draft, list(below(draft.groups, group_id)), command.drain_s)


def keep_out(draft: Draft, group_id: str, model: str) -> None:
    """Raises ConflictingCommand when it is in the tree, or a command keeps it out already."""
    must_run(draft.tree)
    if group_id in draft.groups:
        raise ConflictingCommand(f"{group_id} is there, and has to be removed first")
    before = draft.tree.absent.get(group_id)
    if before is not None and before.cause == "dismissed":
        raise ConflictingCommand(f"{model!r} is unloaded already, and stays so until `load`")
    kept = Absence(model, "dismissed")
    draft.change_tree(absent=draft.tree.absent | {group_id: kept})


def stop_tree(draft: Draft, command: StopTree) -> None:
    """First drain and stop in order; the second time stop at once and fast."""
    if draft.tree.phase == "running":
        return _begin_orderly(draft, command)
    if not draft.tree.fast and draft.tree.phase != "stopped":
        _hurry(draft, command)
    return None


def _begin_orderly(draft: Draft, command: StopTree) -> None:
    for group_id in list(draft.groups):
        draft.change_group(group_id, booting=False)
    draining = [c for c in draft.children.values() if c.spec.drains and c.up and not c.doomed]
    if not draining or command.drain_s <= 0:
        return draft.finish(command.reason, exit_code=0)
    draft.change_tree(
        phase="draining",
        exit_reason=command.reason,
        drain_until=draft.now + command.drain_s,
    )
    draft.publish(Stopping(command.reason, 0, command.drain_s))
    not_up = [c.spec.id for c in draft.children.values() if c.starts == 0 or c.spec.drains]
    up = {child.spec.id for child in draining}
    draft.put_up([child_id for child_id in not_up if child_id not in up])
    for child in draining:
        draft.change(child.spec.id, wanted=False)
        begin_drain(draft, child, command.drain_s)
    return None


def _hurry(draft: Draft, command: StopTree) -> None:
    draft.change_tree(fast=True)
    draft.finish(command.reason, exit_code=0)
    soon = draft.now + FAST_S
    for child in list(draft.children.values()):
        if child.step == "asked" and (child.due_at is None or child.due_at > soon):
            draft.change(child.spec.id, due_at=soon)


def _running(draft: Draft, name: str) -> list[str]:
    must_run(draft.tree)
    ids = named(draft, name)
    for child_id in ids:
        if any(
            draft.groups[g].leaving for g in above(draft.groups, draft.children[child_id].group)
        ):
            raise ConflictingCommand(f"{child_id} is being removed")
    return ids


def must_run(tree: Tree) -> None:
    """Raises Draining once the tree is going down."""
    if tree.phase != "running":
        raise Draining("the server is stopping")


def _make_room(draft: Draft, group_id: str) -> None:
    group = draft.groups.get(group_id)
    if group is None:
        return
    if group.leaving:
        raise ConflictingCommand(f"{group_id} is being removed; ask again when it is gone")
    if group.booting:
        raise ConflictingCommand(f"{group_id} is being loaded already")
    if any(child.active for child in draft.members(group_id)):
        raise ConflictingCommand(f"{group_id} is served already; unload it first to load it anew")
    uproot(draft, group_id)
