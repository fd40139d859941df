"""What children ask of the tree: control to load and unload models, an engine to be replaced."""

import logging

from config.errors import ConflictingCommand, Draining, ServingError
from supervisor.admin.desk import MODELS, Desk
from supervisor.commands import group_named
from supervisor.happenings import AddGroup, RecycleNamed, RemoveGroup, Said
from supervisor.spec import GroupSpec
from supervisor.state import Tree
from transport.messages.lifeline import LoadModel, ModelAbsent, UnloadModel, WantsRecycling

log = logging.getLogger(__name__)


def grant(said: Said, desk: Desk) -> ModelAbsent | None:
    """Do what was asked, if something was; what there is to answer. Nothing is raised.

    What cannot be done just now is not answered: whoever needs it asks again.
    """
    child = desk.tree.children.get(said.child_id)
    if child is None or child.incarnation != said.incarnation:
        return None
    try:
        return _do(said, desk, is_control=child.spec.kind == "control")
    except (ConflictingCommand, Draining) as error:
        log.info("%s asked in vain: %s", said.child_id, error)
        return None
    except ServingError as error:
        log.warning("%s asked in vain: %s", said.child_id, error)
        failure = error
    except Exception:  # one wish must not take the tree down
        log.exception("%s asked in vain", said.child_id)
        failure = ServingError("internal error; see the server's log")
    return _failed(said, failure)


def _failed(said: Said, error: ServingError) -> ModelAbsent | None:
    if not isinstance(said.message, LoadModel):
        return None
    return ModelAbsent(said.message.model, "failed", error.code, error.message)


def _do(said: Said, desk: Desk, *, is_control: bool) -> ModelAbsent | None:
    match said.message:
        case LoadModel(model) if is_control:
            return _load(model, desk)
        case UnloadModel(model) if is_control:
            group_id = group_named(desk.tree, MODELS, model)
            desk.apply(RemoveGroup(group_id, desk.drain_timeout_s, comes_back=True))
        case WantsRecycling(reason):
            wish = RecycleNamed(said.child_id, reason, desk.drain_timeout_s, asked_by_itself=True)
            desk.apply(wish)
    return None


def _load(model: str, desk: Desk) -> ModelAbsent | None:
    spec = _given_up(model, desk.tree)
    if spec is None:
        if desk.loader is None:
            return None
        spec = desk.loader.configured(model)
    before = desk.tree.absent.get(spec.id)
    if before is not None and before.cause == "dismissed":
        raise ConflictingCommand(f"{spec.id} was unloaded by a command meanwhile")
    desk.apply(AddGroup(MODELS, spec))
    after = desk.tree.absent.get(spec.id)
    if after is None or after.fault is None:
        return None
    # It failed at once, perhaps just as before, and then the bulletin has no news of it.
    fault = after.fault
    return ModelAbsent(model, "failed", fault.code, fault.message, fault.load)


def _given_up(model: str, tree: Tree) -> GroupSpec | None:
    """What is there of a model, however it came there; it is replaced if nothing of it runs."""
    try:
        return tree.groups[group_named(tree, MODELS, model)].spec
    except ConflictingCommand:
        return None
