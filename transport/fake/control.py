"""A control process without actors."""

import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
import zmq

from config.errors import ProtocolError, RateLimited
from config.limits import Allowance
from transport.codec import Codec
from transport.fake.thread import SocketThread
from transport.messages.control import (
    Admit,
    Admitted,
    EngineHello,
    FromControl,
    Hello,
    Lease,
    LeaseBatch,
    Refusal,
    Route,
    RouteBatch,
    ToControl,
)
from transport.messages.topology import EngineDown, EngineUp, ModelStatus, Snapshot, Topology
from transport.refusals import refusal_of
from transport.sockets import peer_name, publisher, router

_to_control: Codec[ToControl] = Codec(ToControl)
_from_control: Codec[FromControl] = Codec(FromControl)
_topology: Codec[Topology] = Codec(Topology)


class FakeControl(SocketThread):
    """Leases engines, the one with the fewest leases first; nothing restarts what it loses.

    It works from its construction on, with sockets in `directory`. To restart it: `die`, then a
    new one with the next incarnation. Models are those named here and those of engines that said
    hello. `mute` makes it answer no route and no `Admit`. `limit` says what is left to whom one is
    charged, or refuses it. `received` holds the last messages.
    """

    def __init__(
        self,
        directory: str,
        incarnation: int = 1,
        *,
        models: tuple[str, ...] = (),
        leases_per_engine: int = 1_000_000,
    ) -> None:
        super().__init__(f"control#{incarnation}")
        self.incarnation = incarnation
        self.control_endpoint = f"ipc://{directory}/control-{incarnation}.sock"
        self.topology_endpoint = f"ipc://{directory}/topology-{incarnation}.sock"
        self.received: deque[ToControl] = deque(maxlen=10_000)
        self.mute = False
        self.limit: Callable[[Route | Admit], Allowance | RateLimited] = lambda _: Allowance()
        self._models = set(models)
        self._room = leases_per_engine
        self._engines: dict[str, EngineUp] = {}
        self._leases: dict[str, str] = {}  # lease: engine
        self._load: dict[str, int] = {}
        self._count = 0
        self._snapshot_at = 0.0
        self._router = router(self._context, self.control_endpoint)
        self._publisher = publisher(self._context, self.topology_endpoint)
        self._start(self._router)

    @property
    def leases(self) -> int:
        """Leases that were not released yet."""
        return len(self._leases)

    def engine_down(self, engine_id: str, incarnation: int, reason: str = "it died") -> None:
        """Tell everyone, as the real one does when the supervisor says so."""

        def tell() -> None:
            known = self._engines.get(engine_id)
            if known is not None and known.incarnation <= incarnation:
                del self._engines[engine_id]
            self._publish(EngineDown(engine_id, incarnation, reason))

        self.call(tell)

    def publish(self, message: Topology) -> None:
        """Tell everyone anything."""
        self.call(lambda: self._publish(message))

    def _wait_ms(self) -> int:
        return max(0, round((self._snapshot_at - time.monotonic()) * 1000 + 0.5))

    def _turn(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                identity, frame = self._router.recv_multipart(zmq.NOBLOCK)
                with contextlib.suppress(ProtocolError):
                    self._handle(identity, _to_control.decode(frame))
        if time.monotonic() >= self._snapshot_at:
            self._snapshot_at = time.monotonic() + 1.0
            self._publish(self._snapshot())

    def _handle(self, identity: bytes, message: ToControl) -> None:
        self.received.append(message)
        match message:
            case Hello():
                self._answer(identity, self._snapshot())
            case EngineHello(engine_id, incarnation, endpoint, card):
                up = EngineUp(engine_id, incarnation, endpoint, card)
                self._engines[engine_id] = up
                self._models.add(card.name)
                self._publish(up)
            case Admit() if not self.mute:
                self._answer(identity, self._admitted(message))
            case RouteBatch(routes, releases):
                for release in releases:
                    engine = self._leases.pop(release.lease_id, None)
                    if engine is not None:
                        self._load[engine] -= 1
                if routes and not self.mute:
                    self._answer(identity, LeaseBatch([self._answered(route) for route in routes]))

    def _answered(self, route: Route) -> Lease | Refusal:
        allowed = self.limit(route) if route.charge is not None else None
        if isinstance(allowed, RateLimited):
            return refusal_of(route.route_id, allowed, allowance=allowed.allowance)
        answer = self._choose(route)
        if allowed is not None and isinstance(answer, Lease):
            ticket = f"ticket of {answer.lease_id}"
            return msgspec.structs.replace(answer, ticket=ticket, allowance=allowed)
        return answer

    def _admitted(self, asked: Admit) -> Admitted | Refusal:
        allowed = self.limit(asked)
        if isinstance(allowed, RateLimited):
            return refusal_of(asked.request_id, allowed, allowance=allowed.allowance)
        return Admitted(asked.request_id, allowed)

    def _choose(self, route: Route) -> Lease | Refusal:
        if route.model not in self._models:
            text = "no such model"
            return Refusal(route.route_id, "model_not_found", text, False, param="model")
        engines = [
            engine
            for engine in self._engines.values()
            if engine.card.name == route.model
            and peer_name(engine.engine_id, engine.incarnation) not in route.excluded
        ]
        if not engines:
            return Refusal(route.route_id, "engine_unavailable", "no engine is ready", True, 2.0)
        engine = min(engines, key=lambda engine: self._load.get(engine.engine_id, 0))
        load = self._load.get(engine.engine_id, 0)
        if load >= self._room:
            return Refusal(route.route_id, "queue_full", "all engines are busy", True, 3.0)
        self._count += 1
        lease_id = f"{self.incarnation}-{self._count}"
        self._leases[lease_id] = engine.engine_id
        self._load[engine.engine_id] = load + 1
        return Lease(
            route.route_id, lease_id, engine.engine_id, engine.incarnation, engine.endpoint
        )

    def _snapshot(self) -> Snapshot:
        models = []
        for name in sorted(self._models):
            ready = sum(engine.card.name == name for engine in self._engines.values())
            models.append(ModelStatus(name, "ready" if ready else "unavailable", ready, ready))
        return Snapshot(self.incarnation, list(self._engines.values()), models)

    def _answer(self, identity: bytes, message: FromControl) -> None:
        with contextlib.suppress(zmq.ZMQError):  # it is gone
            self._router.send_multipart([identity, _from_control.encode(message)], zmq.NOBLOCK)

    def _publish(self, message: Topology) -> None:
        self._publisher.send(_topology.encode(message))
