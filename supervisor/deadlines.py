"""What becomes due by the mere passing of time: late, stalled and silent children. Pure.

A busy child without progress for `stall_timeout_s` is killed, and so is a silent one that a
sibling waits for in vain. Silence alone has no consequence: a C call may hold the interpreter
for long in the best of health.
"""

from msgspec.structs import replace

from supervisor.draft import Draft
from supervisor.ending import end_faulty, next_step
from supervisor.state import Child, Fault, Tree
from transport.messages.admin import ChildSuspected

MISSING_HEARTBEATS = 3


def next_deadline(tree: Tree, now: float) -> float | None:
    """When the next tick is needed, at the latest."""
    times = [at for child in tree.children.values() for at in _deadlines(child, now)]
    if tree.phase == "draining":
        times.append(tree.drain_until)
    return min(times, default=None)


def pass_time(draft: Draft) -> None:
    """Act on everything that is due."""
    for child in list(draft.children.values()):
        if child.due_at is not None and draft.now >= child.due_at:
            _overdue(draft, child)
        elif child.up and not child.doomed:
            _check_vitals(draft, child)


def credit(draft: Draft, lost_s: float) -> None:
    """Nobody could be heard for so long, so nobody was silent."""
    for child in list(draft.children.values()):
        vitals = replace(
            child.vitals,
            heard_at=child.vitals.heard_at + lost_s,
            progress_at=child.vitals.progress_at + lost_s,
        )
        late = child.state in ("starting", "loading") and child.due_at is not None
        due_at = (child.due_at or 0.0) + lost_s if late else child.due_at
        draft.change(child.spec.id, vitals=vitals, due_at=due_at)


def silent_at(child: Child) -> float:
    """When the child becomes suspect if nothing is heard of it."""
    return child.vitals.heard_at + MISSING_HEARTBEATS * child.spec.heartbeat_s


def end_accused(draft: Draft, child: Child) -> None:
    """End a child that a sibling waits for and that is silent as well."""
    silence = draft.now - child.vitals.heard_at
    message = f"silent for {silence:.1f} s and {child.vitals.accusation}"
    end_faulty(draft, child, Fault("supervisor_error", message))


def _deadlines(child: Child, now: float) -> list[float]:
    times = [] if child.due_at is None else [child.due_at]
    if child.pending and child.start_at > now:
        times.append(child.start_at)
    if child.recycling is not None and child.recycling.not_before > now:
        times.append(child.recycling.not_before)
    if child.up and not child.doomed:
        if not child.vitals.suspect:
            times.append(silent_at(child))
        if child.vitals.busy:
            times.append(_stalled_at(child))
    return times


def _stalled_at(child: Child) -> float:
    return child.vitals.progress_at + child.spec.stall_timeout_s


def _overdue(draft: Draft, child: Child) -> None:
    if child.state == "stopping":
        next_step(draft, child)
    elif child.departs:
        draft.end_departure(child.spec.id)
    elif not child.doomed:
        message = (
            f"not ready, and nothing heard of its loading, for {child.spec.ready_within_s:g} s"
        )
        end_faulty(draft, child, Fault("child_start_failed", message, "late"))
    else:
        draft.change(child.spec.id, due_at=None)


def _check_vitals(draft: Draft, child: Child) -> None:
    vitals = child.vitals
    if vitals.busy and draft.now >= _stalled_at(child):
        message = f"stalled: busy without progress for {draft.now - vitals.progress_at:.1f} s"
        return end_faulty(draft, child, Fault("supervisor_error", message))
    if vitals.suspect or draft.now < silent_at(child):
        return None
    draft.change(child.spec.id, vitals=replace(vitals, suspect=True))
    draft.publish(ChildSuspected(child.spec.id, child.incarnation))
    if vitals.accusation is not None:
        end_accused(draft, child)
    return None
