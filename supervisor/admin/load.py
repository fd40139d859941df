"""load: serve one more model.

It is not unloaded to make room for others, but when it makes more than
`lifecycle.max_loaded_models` the least recently used of the configuration goes.

Request   Load(model, alias, replicas, wait): model is "demo", a local folder or a hub id, or the
          name of a model of the configuration. Without replicas as many as are configured, or as
          were given last, or one; for a model of the configuration the number is kept until
          another one is given, also where it makes room and is loaded again by a request.
Reply     LoadReply(group, children): with `wait` when all its engines are ready.
Refused   conflicting_command when the model is served already; draining while the server stops;
          whatever the model's settings are refused for; with `wait` the reason why it could not be
          loaded, e.g. model_load_failed. A model that fails to load is taken out of the tree.
Command   mlx-serving admin load MODEL[=ALIAS] [--replicas N] [--no-wait]
"""

from config.errors import ConflictingCommand
from supervisor.admin.desk import MODELS, Desk, Later
from supervisor.happenings import AddGroup
from supervisor.state import Tree, below
from transport.messages.admin import AdminReply, Load, LoadReply, Refused


def answer(request: Load, desk: Desk) -> AdminReply | Later:
    """Begin; then, when asked to wait, until the group's start is complete or it is gone."""
    if desk.loader is None:
        raise ConflictingCommand("this server cannot load models while it runs")
    group = desk.loader.group(request)
    desk.apply(AddGroup(MODELS, group))
    desk.loader.keep(request)
    ids = list(below(desk.tree.groups, group.id))
    if not request.wait:
        return LoadReply(group.id, ids)
    return lambda tree: _outcome(tree, group.id, ids)


def _outcome(tree: Tree, group_id: str, ids: list[str]) -> AdminReply | None:
    group = tree.groups.get(group_id)
    if group is None:
        absence = tree.absent.get(group_id)
        fault = absence.fault if absence else None
        if fault is None:
            return Refused("conflicting_command", f"{group_id} was unloaded while it was loading")
        return Refused(fault.code, fault.message)
    if group.booting or group.leaving:
        return None
    failed = (tree.children[i].fault for i in ids if not tree.children[i].wanted)
    for fault in failed:
        return Refused("child_start_failed", fault.message if fault else f"{group_id} was stopped")
    return LoadReply(group_id, ids)
