"""What follows when a child ends unasked: restart, escalation, automatic shutdown. Pure.

Source: https://www.erlang.org/doc/apps/stdlib/supervisor.html
"""

from random import Random

from msgspec import Struct

from supervisor.backoff import delay_s, failures_so_far
from supervisor.draft import Draft
from supervisor.intensity import add_restart
from supervisor.spec import ChildSpec, GroupSpec
from supervisor.state import Child, Fault, Group, below
from transport.messages.admin import Escalated, RestartPlanned


class End(Struct, frozen=True):
    """How a member of a group ended; `child_id` is the child where it began."""

    child_id: str
    abnormal: bool
    fault: Fault
    delay_s: float


def child_ended(draft: Draft, child: Child, fault: Fault, *, abnormal: bool) -> None:
    """Apply its group's rules to a child whose process just ended without being asked to."""
    child_id, backoff = child.spec.id, child.spec.backoff
    boot = draft.booting_group(child)
    draft.change(child_id, state="failed" if abnormal else "stopped", fault=fault)
    if boot is not None and not child.was_ready:
        return _boot_failed(draft, boot, child_id, fault)
    failures = failures_so_far(backoff, child.failures, child.ready_at, draft.now)
    chance = Random(f"{draft.tree.seed}:{child_id}:{child.incarnation}").random()
    draft.change(child_id, failures=failures + 1)
    end = End(child_id, abnormal, fault, delay_s(backoff, failures, chance))
    return _member_ended(draft, child.group, child.spec, end)


def _boot_failed(draft: Draft, group: Group, child_id: str, fault: Fault) -> None:
    """A group that cannot start is taken back, as by OTP's failed init."""
    draft.change(child_id, wanted=False)
    if group.parent is None:
        draft.finish(f"{child_id}: {fault.message}", exit_code=1)
    else:
        message = f"{child_id}: {fault.message}"
        draft.fail_load(group.spec.id, Fault(fault.code, message, fault.load))


def _member_ended(draft: Draft, group_id: str, member: ChildSpec | GroupSpec, end: End) -> None:
    again = member.restart == "permanent" or (member.restart == "transient" and end.abnormal)
    if again:
        _restart(draft, draft.groups[group_id], member.id, end)
    else:
        draft.put_up(below(draft.groups, member.id))
        _shut_down_automatically(draft, draft.groups[group_id], member, end)


def _restart(draft: Draft, group: Group, member_id: str, end: End) -> None:
    spec = group.spec
    restarts, allowed = add_restart(
        group.restarts, draft.now, intensity=spec.intensity, period_s=spec.period_s
    )
    draft.change_group(spec.id, restarts=restarts)
    if not allowed:
        times = f"more than {spec.intensity} restarts in {spec.period_s:g} s"
        reason = f"group {spec.id}: {times}; the last for {end.child_id}: {end.fault.message}"
        return _escalate(draft, group, end, Fault("intensity_exceeded", reason), abnormal=True)
    affected = _affected(group, member_id)
    draft.put_up(
        [child_id for member in affected for child_id in below(draft.groups, member)],
        again=_started_again(draft, affected, member_id),
        start_at=draft.now + end.delay_s,
    )
    _report(draft, group, member_id, end)


def _report(draft: Draft, group: Group, member_id: str, end: End) -> None:
    draft.change(end.child_id, state="backoff")
    batch = draft.tree.batch
    planned = [child_id for child_id in draft.order() if draft.children[child_id].batch == batch]
    draft.publish(RestartPlanned(group.spec.id, member_id, planned, end.delay_s, end.fault.message))


def _affected(group: Group, member_id: str) -> tuple[str, ...]:
    match group.spec.strategy:
        case "one_for_one":
            return (member_id,)
        case "one_for_all":
            return group.members
        case _:
            return group.members[group.members.index(member_id) :]


def _started_again(draft: Draft, affected: tuple[str, ...], member_id: str) -> set[str]:
    """The children below `affected` that run again; a temporary sibling stays down."""
    again: set[str] = set()
    for member in affected:
        if member != member_id and draft.spec(member).restart == "temporary":
            continue
        _forget_restarts(draft, member)
        again |= set(below(draft.groups, member))
    return {child_id for child_id in again if not draft.children[child_id].held}


def _forget_restarts(draft: Draft, member_id: str) -> None:
    """A group that starts anew is a new supervisor: what its members did before is forgotten."""
    if member_id in draft.groups:
        for inner in draft.change_group(member_id, restarts=()).members:
            _forget_restarts(draft, inner)


def _escalate(draft: Draft, group: Group, end: End, fault: Fault, *, abnormal: bool) -> None:
    draft.publish(Escalated(group.spec.id, fault.message))
    if group.parent is None:
        return draft.finish(fault.message, exit_code=1)
    end = End(end.child_id, abnormal, fault, end.delay_s)
    return _member_ended(draft, group.parent, group.spec, end)


def _shut_down_automatically(
    draft: Draft, group: Group, member: ChildSpec | GroupSpec, end: End
) -> None:
    rule = group.spec.auto_shutdown
    if not member.significant or rule == "never":
        return
    others = [other for other in group.members if draft.spec(other).significant]
    if rule == "all_significant" and any(_active(draft, other) for other in others):
        return
    reason = f"group {group.spec.id}: significant {member.id} ended: {end.fault.message}"
    _escalate(draft, group, end, Fault("supervisor_error", reason), abnormal=False)


def _active(draft: Draft, member_id: str) -> bool:
    return any(draft.children[child_id].wanted for child_id in below(draft.groups, member_id))
