"""Admin replies and events as people read them."""

import time
from collections.abc import Iterator, Sequence

from transport.messages.admin import (
    AdminReply,
    ChildEnded,
    ChildFaulted,
    ChildRecycled,
    ChildrenReply,
    ChildReport,
    ChildStateChanged,
    ChildSuspected,
    ConfigReply,
    DrainReply,
    Escalated,
    Event,
    EventsReply,
    GroupAdded,
    GroupRemoved,
    GroupReport,
    LoadingProgress,
    LoadReply,
    LogsReply,
    MemberReport,
    NodeStatus,
    Published,
    RecycleReply,
    RestartPlanned,
    RestartReply,
    StatusReply,
    Stopping,
    StopReply,
    TreeReady,
    UnloadReply,
    VersionReply,
)

SHOWN = ("address", "active", "running", "waiting", "generated_tokens", "batching", "router.leases")


def text(reply: AdminReply, now: float) -> str:
    """A reply for a person; `now` is the monotonic clock."""
    match reply:
        case StatusReply():
            return status(reply.status, now)
        case ChildrenReply():
            return "\n".join(tree(reply))
        case LogsReply():
            return "\n".join(f"{line.child_id} | {line.text}" for line in reply.lines)
        case EventsReply():
            return "\n".join(event(published) for published in reply.events)
        case ConfigReply():
            return reply.text.rstrip()
        case VersionReply():
            return (
                f"mlx-serving {reply.version}, protocol {reply.protocol}, "
                f"Python {reply.python}, pid {reply.pid}"
            )
        case _:
            return done(reply)


def done(reply: AdminReply) -> str:
    """What a command did."""
    match reply:
        case RestartReply():
            return f"restarted: {', '.join(reply.children) or 'nothing'}"
        case RecycleReply():
            return f"recycled: {', '.join(reply.children) or 'nothing'}"
        case StopReply():
            return f"stopped: {', '.join(reply.children) or 'nothing'}"
        case DrainReply():
            state = "drained" if reply.drained else "not drained yet"
            return f"{state}: {', '.join(reply.children) or 'nothing'}"
        case LoadReply():
            return f"loaded: {', '.join(reply.children)} in {reply.group}"
        case UnloadReply():
            return f"unloaded: {reply.group}"
    return str(reply)


def status(node: NodeStatus, now: float) -> str:
    """A table with a row for each child, and what could not be loaded."""
    rows: list[tuple[str, ...]] = [("CHILD", "STATE", "PID", "RESTARTS", "READY FOR", "FACTS")]
    rows += [_row(child, now) for child in node.children]
    failed = [f"model {name} could not be loaded: {why}" for name, why in node.failed.items()]
    head = f"{node.node}, up {duration(node.uptime_s)}"
    return "\n\n".join([head, table(rows), *failed])


def _row(child: ChildReport, now: float) -> tuple[str, ...]:
    ready = child.state == "ready" and child.ready_at is not None
    return (
        child.id,
        child.state,
        str(child.pid or "-"),
        str(child.restarts),
        duration(now - (child.ready_at or 0)) if ready else "-",
        _facts(child),
    )


def _facts(child: ChildReport) -> str:
    """The facts that tell how it fares; all of them are in the reply itself."""
    shown = ((key, child.facts.get(key)) for key in SHOWN)
    return " ".join(f"{key}={value}" for key, value in shown if value is not None)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def duration(seconds: float) -> str:
    """Roughly, as people say it: `42 s`, `3 min 12 s`, `5 h 7 min`, `2 d 3 h`."""
    whole = max(int(seconds), 0)
    for size, unit, below, lesser in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {lesser}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def tree(reply: ChildrenReply) -> Iterator[str]:
    """Groups and children, indented, in start order."""
    groups = {group.id: group for group in reply.groups}
    children = {child.id: child for child in reply.children}
    for group in reply.groups:
        if group.parent is None:
            yield from _branch(group, groups, children, 0)


def _branch(
    group: GroupReport,
    groups: dict[str, GroupReport],
    children: dict[str, MemberReport],
    depth: int,
) -> Iterator[str]:
    indent = "  " * depth
    yield (
        f"{indent}{group.id}  ({group.strategy}, {group.restart}, "
        f"{group.recent_restarts} of {group.intensity} restarts in {group.period_s:g} s)"
    )
    for member in group.members:
        if member in groups:
            yield from _branch(groups[member], groups, children, depth + 1)
        elif member in children:
            yield f"{indent}  {_member(children[member])}"


def _member(child: MemberReport) -> str:
    share = "" if child.fraction is None else f" {child.fraction:.0%}"
    notes = [
        child.restart,
        f"{child.stage}{share}" if child.stage else "",
        "silent" if child.suspect else "",
        child.reason or "",
    ]
    return f"{child.id}  {child.state}  ({', '.join(note for note in notes if note)})"


def event(published: Published) -> str:
    """One line, and below it the last words of a child that died."""
    clock = time.strftime("%H:%M:%S", time.localtime(published.time))
    lines = [f"{published.sequence:>5}  {clock}  {_event(published.event)}"]
    if isinstance(published.event, ChildEnded):
        lines += [f"       | {line}" for line in published.event.output]
    return "\n".join(lines)


def _event(event: Event) -> str:
    match event:
        case ChildStateChanged():
            return f"{_who(event)} {event.old} → {event.state}"
        case ChildEnded():
            asked = "as asked" if event.asked else "unasked"
            return f"{_who(event)} ended {asked}: {event.reason}"
        case ChildSuspected():
            return f"{_who(event)} is silent"
        case ChildFaulted():
            return f"{_who(event)} is being ended: {event.reason}"
        case ChildRecycled():
            return f"{_who(event)} is being replaced by a fresh process: {event.reason}"
        case LoadingProgress():
            share = "" if event.fraction is None else f" {event.fraction:.0%}"
            return f"{_who(event)} {event.stage}{share}"
        case _:
            return _group_event(event)


def _group_event(event: Event) -> str:
    match event:
        case RestartPlanned():
            children = ", ".join(event.children)
            return f"{children} to be restarted in {event.delay_s:.1f} s: {event.reason}"
        case Escalated():
            return f"{event.group_id} is given up: {event.reason}"
        case GroupAdded():
            return f"{event.group_id} added with {', '.join(event.children)}"
        case GroupRemoved():
            return f"{event.group_id} removed" + (f": {event.reason}" if event.reason else "")
        case TreeReady():
            return "all ready"
        case Stopping():
            return f"stopping with exit code {event.exit_code}: {event.reason}"
    return str(event)


def _who(
    event: ChildStateChanged
    | ChildEnded
    | ChildSuspected
    | ChildFaulted
    | ChildRecycled
    | LoadingProgress,
) -> str:
    return f"{event.child_id}#{event.incarnation}"
