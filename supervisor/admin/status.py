"""status: how every child fares.

Request   Status()
Reply     StatusReply(status) with NodeStatus: node, uptime_s and for each child in start order id,
          kind, state, pid, incarnation, restarts, ready_at (monotonic) and its facts; failed has
          the models that could not be loaded and are out of the tree, each with the whole reason.
Command   mlx-serving admin status [--json]
"""

from supervisor.admin.desk import Desk
from supervisor.state import Child, below
from transport.messages.admin import ChildReport, NodeStatus, Status, StatusReply


def answer(_: Status, desk: Desk) -> StatusReply:
    """At once, always."""
    tree = desk.tree
    children = [_report(tree.children[child_id]) for child_id in below(tree.groups, tree.root)]
    uptime_s = round(desk.now() - desk.started_at, 3)
    failed = {it.name: it.fault.message for it in tree.absent.values() if it.fault}
    status = NodeStatus(node=desk.node, uptime_s=uptime_s, children=children, failed=failed)
    return StatusReply(status)


def _report(child: Child) -> ChildReport:
    return ChildReport(
        id=child.spec.id,
        kind=child.spec.kind,
        state=child.state,
        pid=child.pid,
        incarnation=child.incarnation,
        restarts=child.restarts,
        ready_at=child.ready_at,
        facts=child.facts,
    )
