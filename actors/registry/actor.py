"""Tells everyone in and outside the control process which engines and models there are."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from actors.base import Actor
from actors.registry.failures import RETRY_S
from actors.registry.messages import (
    Event,
    Granted,
    Introduce,
    RegistryStatus,
    Reservation,
    SnapshotWanted,
    Used,
)
from actors.registry.outlook import Outlook
from actors.registry.policy import Catalogue
from actors.registry.residence import RETRY_AFTER_S, Load, Refuse, Residence, Step, Unload
from actors.registry.store import Registry
from transport.messages.control import EngineHello, LoadReport, NoLongerAdmits, Wanted
from transport.messages.lifeline import Announce, ModelAbsent, ModelBack, News, Removed
from transport.messages.topology import BreakerChanged, Snapshot

TICK_S = 1.0
UNSETTLED_TICK_S = 0.05
log = logging.getLogger(__name__)


class _Tick(Struct, frozen=True):
    pass


class Outlets(Struct, frozen=True):
    """Where the registry speaks; each returns at once and does not raise."""

    emit: Callable[[Event], None]  # to the actors and to the `topology` socket
    snapshot: Callable[[Snapshot], None]  # the same, each second
    answer: Callable[[bytes, Snapshot], None]  # to one peer of the `control` socket
    show: Callable[[RegistryStatus], None]
    reserve: Callable[[Reservation], None]  # to the KV governor
    load: Callable[[str], None]  # to the supervisor: start the engines of this model
    unload: Callable[[str], None]  # and let those of this one finish and end


class RegistryActor(Actor):
    """Feeds the catalogue and passes on what changed."""

    def __init__(
        self,
        registry: Registry,
        control_incarnation: int,
        residence: Residence,
        outlets: Outlets,
        retry_s: float = RETRY_S,
        outlooks: Mapping[str, Outlook] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self._registry = registry
        self._residence = residence
        self._catalogue = Catalogue(
            registry, control_incarnation, time.monotonic(), residence.configured, retry_s, outlooks
        )
        self._outlets = outlets
        self._waiting_peers: list[bytes] = []

    def on_start(self) -> None:
        """A successor concludes anew from what the registry keeps."""
        self._emit(self._catalogue.rebuild(time.monotonic()))
        self.receive(_Tick())

    def receive(self, message: object) -> None:
        """One of `ToRegistry`."""
        match message:
            case Announce() | Removed() | ModelAbsent() | ModelBack():
                self._house(self._hear_supervisor(message))
            case LoadReport():
                if self._catalogue.load(message):
                    self._house()
            case Used(models):
                self._use(models)
            case Wanted(model):
                self._want(model)
            case EngineHello():
                self._emit(self._catalogue.hello(message))
            case NoLongerAdmits(engine_id, incarnation):
                self._emit(self._catalogue.drain(engine_id, incarnation))
            case BreakerChanged():
                self._catalogue.breaker(message)
            case Granted(reservation):
                self._grant(reservation)
            case SnapshotWanted(peer):
                self._waiting_peers.append(peer)
                self._answer_peers()
            case Introduce(to):
                to.tell(self._catalogue.snapshot())
                self._outlets.reserve(self._residence.reservation)
            case _Tick():
                self._tick()

    def _hear_supervisor(self, news: News) -> list[Event]:
        now = time.monotonic()
        match news:
            case Announce():
                return self._catalogue.announce(news, now)
            case Removed(child_id):
                return self._catalogue.remove(child_id)
            case ModelAbsent():
                return self._catalogue.absent(news, now)
            case ModelBack(model):
                return self._catalogue.back(model, now)

    def _use(self, models: set[str]) -> None:
        now = time.monotonic()
        for model in models:
            self._residence.use(model, now)
            if self._catalogue.can_be_loaded(model):
                self._want(model)

    def _want(self, model: str) -> None:
        if self._catalogue.can_be_loaded(model):
            self._residence.want(model, time.monotonic())
            self._house()

    def _grant(self, reservation: Reservation) -> None:
        # Nobody knows yet what an engine holds that has not said hello; it is granted again.
        if self._catalogue.heard_all(time.monotonic()):
            self._residence.grant(reservation)
            self._house()

    def _house(self, events: Sequence[Event] = ()) -> None:
        """Load what is wanted, if there is room or can be; `events` are told on the way."""
        before = self._residence.reservation
        steps = self._residence.decide(self._catalogue.residents(), time.monotonic())
        # First: the governor must not give away what an engine leaves that has just ended.
        if self._residence.reservation != before:
            self._outlets.reserve(self._residence.reservation)
        self._emit([*events, *self._take(steps)])

    def _take(self, steps: list[Step]) -> list[Event]:
        no_room: dict[str, tuple[str, float]] = {}
        for step in steps:
            match step:
                case Load(model):
                    self._outlets.load(model)
                case Unload(model):
                    log.info("unloading %s to make room", model)
                    self._outlets.unload(model)
                case Refuse(model, reason):
                    no_room[model] = (reason, RETRY_AFTER_S)
        return self._catalogue.no_room(no_room)

    def _try_again(self) -> None:
        """What should be loaded at all times, and failed, when it has rested."""
        for model in self._catalogue.rested():
            if not self._residence.comes_back(model):
                continue
            if model in self._residence.configured:
                self._residence.want(model, time.monotonic())
            else:
                self._outlets.load(model)

    def _emit(self, events: list[Event]) -> None:
        for event in events:
            self._outlets.emit(event)
        self._answer_peers()

    def _answer_peers(self) -> None:
        if self._waiting_peers and self._catalogue.settled(time.monotonic()):
            snapshot = self._catalogue.snapshot()
            for peer in self._waiting_peers:
                self._outlets.answer(peer, snapshot)
            self._waiting_peers.clear()

    def _tick(self) -> None:
        settled = self._catalogue.settled(time.monotonic())
        self.after(TICK_S if settled else UNSETTLED_TICK_S, _Tick())
        self._answer_peers()
        now = time.monotonic()
        self._emit(self._catalogue.forgive(now))
        self._try_again()
        self._house()
        self._outlets.reserve(self._residence.reservation)  # it may have been lost
        snapshot = self._catalogue.snapshot()
        if settled:
            self._outlets.snapshot(snapshot)
        models = {model.name: (model.ready_replicas, model.replicas) for model in snapshot.models}
        idle_s = self._residence.idle_s(self._catalogue.residents(), now)
        status = RegistryStatus(len(snapshot.engines), models, self._registry.children(), idle_s)
        self._outlets.show(status)
