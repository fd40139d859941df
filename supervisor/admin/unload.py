"""unload: serve a model no longer; its engines stop and leave the tree.

New requests are refused from now on; running and queued ones are finished first, for at most
`server.drain_timeout_s`. It stays so until `load`, also for a model that is loaded on demand, and
also when that is not loaded just now.

Request   Unload(name, wait): the model's name, or its group's id.
Reply     UnloadReply(group): with `wait` when it is gone.
Refused   unknown_child; conflicting_command when it was unloaded already; draining while the
          server stops.
Command   mlx-serving admin unload NAME [--no-wait]
"""

from config.errors import ModelNotFound, UnknownChild
from supervisor.admin.desk import MODELS, Desk, Later
from supervisor.commands import group_named
from supervisor.happenings import KeepOut, RemoveGroup
from transport.messages.admin import AdminReply, Unload, UnloadReply


def answer(request: Unload, desk: Desk) -> AdminReply | Later:
    """Begin; then, when asked to wait, until the group has left the tree."""
    try:
        group_id = group_named(desk.tree, MODELS, request.name)
    except UnknownChild as unknown:
        return _keep_out(request.name, desk, unknown)
    desk.apply(RemoveGroup(group_id, desk.drain_timeout_s))
    if not request.wait:
        return UnloadReply(group_id)
    return lambda tree: None if group_id in tree.groups else UnloadReply(group_id)


def _keep_out(name: str, desk: Desk, unknown: UnknownChild) -> AdminReply:
    """Of what is not in the tree, a model of the configuration may still be meant.

    Raises:
        UnknownChild: it is none.
    """
    absent = desk.tree.absent.items()
    model = next((one.name for id_, one in absent if name in (id_, one.name)), name)
    try:
        if desk.loader is None:
            raise unknown
        group_id = desk.loader.configured(model).id
    except ModelNotFound:
        raise unknown from None
    desk.apply(KeepOut(group_id, model))
    return UnloadReply(group_id)
