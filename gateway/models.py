"""Models as the dispatcher knows them: whether they are worth waiting for, and what is told."""

from config.errors import ModelLoadFailed, QueueFull
from gateway.dispatch.types import ModelView
from transport.messages.client import ModelInfo


def check_loadable(view: ModelView) -> None:
    """See that it is worth waiting for a model.

    Raises:
        ModelLoadFailed: it could not be loaded.
        QueueFull: there is no room for it now.
    """
    if view.state == "failed":
        text = f"the model '{view.name}' could not be loaded"
        text = f"{text}: {view.reason}" if view.reason else text
        raise ModelLoadFailed(text, param="model", retry_after_s=view.retry_after_s)
    if view.retry_after_s is not None:
        text = f"no room to load the model '{view.name}': {view.reason}"
        raise QueueFull(text, retry_after_s=view.retry_after_s)


def model_info(view: ModelView) -> ModelInfo:
    """A model as clients see it."""
    card = view.card
    return ModelInfo(
        name=view.name,
        state=view.state,
        replicas=view.replicas,
        ready_replicas=view.ready_replicas,
        context_tokens=card.context_tokens if card else view.context_tokens,
        architecture=card.architecture if card else None,
        created_time=card.created_time if card else view.created_time,
    )
