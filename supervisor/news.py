"""What is made of the news of one child: its process, its lifeline, its words. Pure."""

from msgspec.structs import replace

from supervisor.deadlines import end_accused, silent_at
from supervisor.draft import Draft
from supervisor.ending import describe_exit, end_failed_start, end_unreachable
from supervisor.failure import child_ended
from supervisor.state import Child, Fault, Vitals
from transport.messages.admin import ChildEnded, LoadingProgress
from transport.messages.lifeline import (
    Drained,
    FromChild,
    Heartbeat,
    Loading,
    Ready,
    StartFailed,
    Suspect,
)


def spawned(draft: Draft, child: Child, pid: int) -> None:
    """There is a process now."""
    draft.change(child.spec.id, pid=pid)


def spawn_failed(draft: Draft, child: Child, message: str) -> None:
    """No process; counts as a failed start."""
    _gone(draft, child, Fault("child_start_failed", message), abnormal=True, output=[])


def lifeline_lost(draft: Draft, child: Child, message: str) -> None:
    """A child that nobody can talk to is of no use; one that is stopping may have let go."""
    if child.state != "stopping":
        end_unreachable(draft, child, Fault("supervisor_error", message))


def exited(draft: Draft, child: Child, returncode: int, output: list[str]) -> None:
    """The process is gone, asked or not."""
    asked = child.doomed or not child.wanted
    early = child.ready_at is None
    words = describe_exit(returncode)
    if not asked:
        words += " before it was ready" if early else " unasked" if returncode == 0 else ""
    code = "child_start_failed" if early else "supervisor_error"
    fault = child.fault or Fault(code, words, "ended")
    abnormal = returncode != 0 or early or child.fault is not None
    _gone(draft, child, fault, abnormal=abnormal, output=output)


def _gone(draft: Draft, child: Child, fault: Fault, *, abnormal: bool, output: list[str]) -> None:
    child_id, asked = child.spec.id, child.doomed or not child.wanted
    last_lines = [] if asked else output
    draft.publish(ChildEnded(child_id, child.incarnation, asked, fault.message, last_lines))
    draft.change(
        child_id,
        state="stopped",
        pid=None,
        doomed=False,
        due_at=None,
        step=None,
        fault=None,
        ready_at=None,
        stage=None,
        fraction=None,
    )
    if not asked:
        child_ended(draft, child, fault, abnormal=abnormal)


def said(draft: Draft, child: Child, message: FromChild) -> None:
    """Any word is a sign of life; what a child wishes for is a command of its own."""
    vitals = replace(child.vitals, heard_at=draft.now, suspect=False, accusation=None)
    child = draft.change(child.spec.id, vitals=vitals)
    match message:
        case Loading() | Ready() | StartFailed():
            if child.state in ("starting", "loading"):
                _on_its_way(draft, child, message)
        case Heartbeat():
            _beat(draft, child, message)
        case Drained():
            draft.change(child.spec.id, drained=child.state == "draining")
            if child.departs:
                draft.end_departure(child.spec.id)
        case Suspect():
            _accuse(draft, child, message)


def _on_its_way(draft: Draft, child: Child, message: Loading | Ready | StartFailed) -> None:
    child_id = child.spec.id
    match message:
        case Loading(stage, fraction):
            due_at = draft.now + child.spec.ready_within_s
            draft.change(child_id, state="loading", due_at=due_at, stage=stage, fraction=fraction)
            draft.publish(LoadingProgress(child_id, child.incarnation, stage, fraction))
        case Ready(facts):
            draft.change(
                child_id,
                state="ready",
                due_at=None,
                ready_at=draft.now,
                was_ready=True,
                recycling=None,
                facts=facts,
                stage=None,
                fraction=None,
            )
        case _:
            end_failed_start(draft, child, Fault(message.code, message.message, message.fault))


def _beat(draft: Draft, child: Child, beat: Heartbeat) -> None:
    progress_at = draft.now - beat.progress_age_s
    vitals = Vitals(heard_at=draft.now, progress_at=progress_at, busy=beat.busy)
    facts = beat.facts if child.up else child.facts
    draft.change(child.spec.id, vitals=vitals, facts=facts)


def _accuse(draft: Draft, accuser: Child, message: Suspect) -> None:
    child = draft.current(message.child_id, message.incarnation)
    if child is None or not child.up or child.doomed:
        return
    accusation = f"{accuser.spec.id} says: {message.reason}"
    child = draft.change(child.spec.id, vitals=replace(child.vitals, accusation=accusation))
    if draft.now >= silent_at(child):
        end_accused(draft, child)
