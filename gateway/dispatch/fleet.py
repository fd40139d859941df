"""The engines and models there are, as control tells it; pure."""

from gateway.dispatch.types import ModelView
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelCard,
    ModelGone,
    ModelStatus,
    PrefixBlocks,
    Snapshot,
    Topology,
)

# A control process that just started has not heard of everyone yet.
SETTLE_S = 3.0


class Fleet:
    """What `transport.messages.topology` adds up to; older incarnations than known are ignored."""

    def __init__(self) -> None:
        self.known = False  # a first snapshot came
        self._engines: dict[str, EngineUp] = {}
        self._gone: dict[str, int] = {}  # engine id: the last incarnation that ended
        self._cards: dict[str, ModelCard] = {}
        self._models: dict[str, ModelStatus] = {}
        self._views: dict[str, ModelView] = {}  # made once, until there is news
        self._control = 0
        self._settled_at = 0.0

    def apply(self, message: Topology, now: float) -> list[EngineUp]:
        """Take in a message; returns the engines that it brought up."""
        self._views.clear()
        match message:
            case EngineUp():
                return self._up(message)
            case EngineDown() | EngineDraining():
                self._down(message.engine_id, message.incarnation)
            case ModelStatus():
                self._models[message.name] = message
            case ModelGone():
                self._forget(message.name)
            case Snapshot():
                return self._replace(message, now)
            case BreakerChanged() | PrefixBlocks():
                pass
        return []

    def has(self, model: str) -> bool:
        """Whether a model of this name is served here."""
        return model in self._models or model in self._cards

    def model(self, name: str) -> ModelView | None:
        """One model, None when there is no such model."""
        view = self._views.get(name)
        if view is None and self.has(name):
            view = self._views[name] = self._view(name)
        return view

    def _view(self, name: str) -> ModelView:
        status = self._models.get(name) or self._guess(name)
        return ModelView(
            name=name,
            state=status.state,
            replicas=status.replicas,
            ready_replicas=status.ready_replicas,
            card=self._cards.get(name),
            reason=status.reason,
            retry_after_s=status.retry_after_s,
            context_tokens=status.context_tokens,
            created_time=status.created_time,
        )

    def block_tokens(self, model: str) -> int:
        """Of the prefixes that the model's engines store; 0: none, or unknown."""
        card = self._cards.get(model)
        return card.block_tokens if card else 0

    def models(self) -> list[ModelView]:
        """All models by name."""
        names = sorted(self._models.keys() | self._cards.keys())
        return [view for name in names if (view := self.model(name))]

    def has_other(self, model: str, engine_id: str) -> bool:
        """Whether another engine of the model is up."""
        return any(
            engine.card.name == model and engine.engine_id != engine_id
            for engine in self._engines.values()
        )

    def _guess(self, name: str) -> ModelStatus:
        """An engine may be heard of before its model's status."""
        ready = sum(engine.card.name == name for engine in self._engines.values())
        return ModelStatus(name, "ready" if ready else "unavailable", ready, ready)

    def _up(self, engine: EngineUp) -> list[EngineUp]:
        before = self._engines.get(engine.engine_id)
        if engine.incarnation <= self._gone.get(engine.engine_id, -1):
            return []
        if engine.draining:
            self._down(engine.engine_id, engine.incarnation)
            return []
        if before is not None and engine.incarnation < before.incarnation:
            return []
        self._engines[engine.engine_id] = engine
        self._cards[engine.card.name] = engine.card
        is_new = before is None or before.incarnation < engine.incarnation
        return [engine] if is_new else []

    def _down(self, engine_id: str, incarnation: int) -> None:
        self._gone[engine_id] = max(incarnation, self._gone.get(engine_id, -1))
        engine = self._engines.get(engine_id)
        if engine is not None and engine.incarnation <= incarnation:
            del self._engines[engine_id]

    def _forget(self, model: str) -> None:
        self._models.pop(model, None)
        self._cards.pop(model, None)

    def _replace(self, snapshot: Snapshot, now: float) -> list[EngineUp]:
        if snapshot.control_incarnation < self._control:
            return []
        if snapshot.control_incarnation > self._control:
            self._control = snapshot.control_incarnation
            # The very first one has nothing to contradict.
            self._settled_at = now + SETTLE_S if self.known else now
        self.known = True
        if now >= self._settled_at:
            self._keep_only(snapshot)
        self._models.update({status.name: status for status in snapshot.models})
        return [up for engine in snapshot.engines for up in self._up(engine)]

    def _keep_only(self, snapshot: Snapshot) -> None:
        engines = {engine.engine_id for engine in snapshot.engines}
        self._engines = {id_: up for id_, up in self._engines.items() if id_ in engines}
        models = {status.name for status in snapshot.models}
        models |= {engine.card.name for engine in snapshot.engines if not engine.draining}
        for name in (self._models.keys() | self._cards.keys()) - models:
            self._forget(name)
