"""What follows from announcements and hellos: engines up and down, states of models; pure.

An engine is up when its supervisor says it is ready and it said hello with the same incarnation.
Messages of older incarnations than known are dropped.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from actors.registry.failures import RETRY_S, Failures
from actors.registry.messages import Event, GatewayDown
from actors.registry.outlook import Outlook
from actors.registry.residence import Resident, Residents
from actors.registry.store import Registry
from config.load_faults import public_reason
from transport.messages.control import EngineHello, LoadReport
from transport.messages.lifeline import Announce, ChildState, ModelAbsent
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelState,
    ModelStatus,
    Snapshot,
)

SERVING: frozenset[ChildState] = frozenset({"ready", "draining", "stopping"})
STARTING: frozenset[ChildState] = frozenset({"starting", "loading"})
ENDED: frozenset[ChildState] = frozenset({"backoff", "failed", "stopped"})
GIVEN_UP: frozenset[ChildState] = frozenset({"failed", "stopped"})
SETTLE_S = 2.0
GAVE_UP = "its engines ended too often in a row"


def model_of(child: Announce) -> str | None:
    """The model that an engine child serves; None for other children."""
    return child.labels.get("model") if child.kind == "engine" else None


def model_state(replicas: list[Announce], ready: int, *, was_ready: bool) -> ModelState:
    """How a model fares, from its engine children."""
    if ready:
        return "ready"
    given_up = all(child.state in ("failed", "stopped") for child in replicas)
    if given_up and any(child.state == "failed" for child in replicas):
        return "failed"
    first = all(child.restarts == 0 and child.state in STARTING for child in replicas)
    return "loading" if first and not was_ready else "unavailable"


class Catalogue:
    """The conclusions, kept up to date; each method returns what changed, in order."""

    def __init__(
        self,
        registry: Registry,
        control_incarnation: int,
        now: float,
        configured: Collection[str] = (),
        retry_s: float = RETRY_S,
        outlooks: Mapping[str, Outlook] = MappingProxyType({}),
    ) -> None:
        self._registry = registry
        self._configured = configured  # these can be loaded at any time
        self._outlooks = outlooks
        self._control_incarnation = control_incarnation
        self._settles_at = now + SETTLE_S
        self._up: dict[str, EngineUp] = {}
        self._models: dict[str, ModelStatus] = {}
        self._were_ready: set[str] = set()
        self._gateways_gone: dict[str, int] = {}
        self._busy: dict[str, bool] = {}  # by engine
        self._failures = Failures(retry_s)
        self._no_room: dict[str, tuple[str, float]] = {}  # why, and when to ask again

    def rebuild(self, now: float) -> list[Event]:
        """Everything again, from what the registry keeps."""
        children = self._registry.children()
        for model in {model for child in children if (model := model_of(child)) is not None}:
            if self._is_given_up(model):
                self._failures.failed(model, GAVE_UP, now)
        events = [event for child in children for event in self._conclude(child)]
        return events + [event for m in self._configured for event in self._conclude_model(m)]

    def absent(self, absent: ModelAbsent, now: float) -> list[Event]:
        """A model was taken out of the tree, or could not be put there."""
        self._registry.put_absence(absent)
        if absent.cause == "failed":
            self._failures.failed(absent.model, public_reason(absent.fault), now)
        return self._conclude_model(absent.model)

    def back(self, model: str, now: float) -> list[Event]:
        """It is put there again."""
        self._registry.remove_absence(model)
        self._failures.tried(model, now)
        return self._conclude_model(model)

    def forgive(self, now: float) -> list[Event]:
        """What failed a while ago may be wanted again."""
        changed = self._failures.pass_time(now)
        return [event for model in changed for event in self._conclude_model(model)]

    def rested(self) -> list[str]:
        """The models that failed, are not in memory, and may be tried again."""
        return [model for model in self._failures.due() if self.can_be_loaded(model)]

    def no_room(self, reasons: dict[str, tuple[str, float]]) -> list[Event]:
        """For these models, and no others, there is no room now."""
        changed = {**self._no_room, **reasons}
        self._no_room = reasons
        return [event for model in changed for event in self._conclude_model(model)]

    def load(self, report: LoadReport) -> bool:
        """What an engine has on its hands; True: it has nothing to do any more."""
        engine = self._up.get(report.engine_id)
        if engine is None or engine.incarnation != report.incarnation:
            return False
        before = self._busy.get(report.engine_id, False)
        busy = self._busy[report.engine_id] = bool(report.running or report.waiting)
        return before and not busy

    def can_be_loaded(self, model: str) -> bool:
        """Whether it is served here, and not in memory."""
        status = self._models.get(model)
        return status is not None and status.state == "unloaded"

    def residents(self) -> Residents:
        """The models that take memory."""
        found: dict[str, list[Announce]] = {}
        for child in self._registry.children():
            model = model_of(child)
            if model is not None and child.state not in GIVEN_UP:
                found.setdefault(model, []).append(child)
        return {model: self._resident(model, children) for model, children in found.items()}

    def announce(self, child: Announce, now: float) -> list[Event]:
        """The supervisor's word about a child."""
        known = self._registry.child(child.child_id)
        if known is not None and child.incarnation < known.incarnation:
            return []
        self._registry.put_child(child)
        self._note_fate(child, known, now)
        return self._conclude(child)

    def remove(self, child_id: str) -> list[Event]:
        """A child was taken out of the tree, and with its last replica the model."""
        child = self._registry.child(child_id)
        if child is None:
            return []
        self._registry.remove_child(child_id)
        if child.kind == "gateway":
            return [GatewayDown(child_id, child.incarnation)]
        model = model_of(child)
        if model is None:
            return []
        return [*self._take_down(child_id, "removed"), *self._conclude_model(model)]

    def hello(self, hello: EngineHello) -> list[Event]:
        """An engine's own word."""
        known = self._registry.hello(hello.engine_id)
        if known is not None and hello.incarnation < known.incarnation:
            return []
        self._registry.put_hello(hello)
        child = self._registry.child(hello.engine_id)
        return self._conclude(child) if child is not None else []

    def drain(self, engine_id: str, incarnation: int) -> list[Event]:
        """The engine takes nothing new."""
        engine = self._up.get(engine_id)
        if engine is None or engine.incarnation != incarnation or engine.draining:
            return []
        self._up[engine_id] = replace(engine, draining=True)
        return [EngineDraining(engine_id, incarnation), *self._conclude_model(engine.card.name)]

    def breaker(self, changed: BreakerChanged) -> None:
        """Remember it for snapshots."""
        engine = self._up.get(changed.engine_id)
        if engine is not None and engine.incarnation == changed.incarnation:
            self._up[changed.engine_id] = replace(engine, breaker=changed.state)

    def snapshot(self) -> Snapshot:
        """Everything there is."""
        return Snapshot(
            self._control_incarnation, list(self._up.values()), list(self._models.values())
        )

    def settled(self, now: float) -> bool:
        """Whether a snapshot may be believed: a control process that just started has not heard
        from every engine yet, and whoever missed one in a snapshot would take it for dead."""
        children = self._registry.children()
        return now >= self._settles_at or (bool(children) and self.heard_all(now))

    def heard_all(self, now: float) -> bool:
        """Whether every engine that is ready said hello, or had the time to."""
        children = self._registry.children()
        ready = [child for child in children if child.kind == "engine" and child.state == "ready"]
        return now >= self._settles_at or all(child.child_id in self._up for child in ready)

    def _note_fate(self, child: Announce, known: Announce | None, now: float) -> None:
        model = model_of(child)
        if model is None:
            return
        if child.state in STARTING or child.state == "ready":
            self._failures.tried(model, now)
        newly = known is None or known.state not in GIVEN_UP
        if newly and self._is_given_up(model):
            self._failures.failed(model, GAVE_UP, now)

    def _is_given_up(self, model: str) -> bool:
        return model_state(self._replicas(model), 0, was_ready=False) == "failed"

    def _replicas(self, model: str) -> list[Announce]:
        return [child for child in self._registry.children() if model_of(child) == model]

    def _conclude(self, child: Announce) -> list[Event]:
        if child.kind == "gateway":
            return self._conclude_gateway(child)
        model = model_of(child)
        if model is None:
            return []
        return [*self._conclude_engine(child), *self._conclude_model(model)]

    def _conclude_gateway(self, child: Announce) -> list[Event]:
        gone = child.incarnation if child.state in ENDED else child.incarnation - 1
        if gone <= self._gateways_gone.get(child.child_id, 0):
            return []
        self._gateways_gone[child.child_id] = gone
        return [GatewayDown(child.child_id, gone)]

    def _conclude_engine(self, child: Announce) -> list[Event]:
        hello = self._registry.hello(child.child_id)
        before = self._up.get(child.child_id)
        serving = child.state in SERVING and hello is not None
        if not serving or hello is None or hello.incarnation != child.incarnation:
            reason = "replaced" if child.state in SERVING else child.state
            return self._take_down(child.child_id, reason)
        events: list[Event] = []
        if before is None or before.incarnation != hello.incarnation:
            up = EngineUp(hello.engine_id, hello.incarnation, hello.endpoint, hello.card)
            events = [*self._take_down(child.child_id, "replaced"), up]
            self._up[child.child_id] = up
        if child.state != "ready":
            events += self.drain(child.child_id, child.incarnation)
        return events

    def _takes_requests(self, engine_id: str) -> bool:
        engine = self._up.get(engine_id)
        return engine is not None and not engine.draining

    def _take_down(self, engine_id: str, reason: str) -> list[Event]:
        engine = self._up.pop(engine_id, None)
        self._busy.pop(engine_id, None)
        return [EngineDown(engine_id, engine.incarnation, reason)] if engine else []

    def _resident(self, model: str, children: list[Announce]) -> Resident:
        engines = [self._up[child.child_id] for child in children if child.child_id in self._up]
        said = [self._registry.hello(child.child_id) for child in children]
        hellos = [hello for hello in said if hello is not None]  # also of one that is restarting
        status = self._models.get(model)
        return Resident(
            replicas=len(children),
            planned=int(children[0].labels.get("replicas", 0)),
            source=children[0].labels.get("source", ""),
            weights_bytes=hellos[0].card.weights_bytes if hellos else None,
            loading=status is not None and status.state == "loading",
            leaving=status is None or status.state in ("unloaded", "failed"),
            busy=any(self._busy.get(engine.engine_id) for engine in engines),
        )

    def _conclude_model(self, model: str) -> list[Event]:
        replicas = self._replicas(model)
        absence = self._registry.absence(model)
        # Held: a command stops them all; while they finish what they have, nothing new is taken.
        if absence or all(child.held for child in replicas):
            self._were_ready.discard(model)
            return self._settle(model, self._without_engines(model, replicas, absence))
        ready = sum(self._takes_requests(child.child_id) for child in replicas)
        if ready:
            self._were_ready.add(model)
        state = model_state(replicas, ready, was_ready=model in self._were_ready)
        if state == "failed":
            self._were_ready.discard(model)
            return self._settle(model, self._out(model, len(replicas)))
        return self._settle(model, ModelStatus(model, state, len(replicas), ready))

    def _without_engines(
        self, model: str, replicas: list[Announce], absence: ModelAbsent | None
    ) -> ModelStatus | None:
        """None: it is not served any more."""
        stopped = absence is None and replicas
        if model not in self._configured or stopped or (absence and absence.cause == "dismissed"):
            return None
        return self._out(model)

    def _out(self, model: str, replicas: int = 0) -> ModelStatus:
        """It is not in memory, and either rests after a failure or comes when it is wanted."""
        rest = self._failures.rest(model)
        if rest is not None:
            return ModelStatus(model, "failed", replicas, 0, *rest)
        return ModelStatus(model, "unloaded", 0, 0, *self._no_room.get(model, ()))

    def _settle(self, model: str, status: ModelStatus | None) -> list[Event]:
        before = self._models.get(model)
        outlook = self._outlooks.get(model)
        if status is not None and outlook is not None:
            told = outlook.context_tokens, outlook.created_time
            status = replace(status, context_tokens=told[0], created_time=told[1])
        if status == before:
            return []
        if status is None:
            del self._models[model]
            return [ModelGone(model)]
        self._models[model] = status
        return [status]
