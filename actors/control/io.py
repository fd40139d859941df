"""The control process's I/O thread: owns its sockets, so that no actor waits for a peer.

What arrives is told to the actors it concerns; what they have to say comes through the outbox, and
the answers of one turn to one gateway go out as one message.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import zmq
from msgspec import Struct

from actors.base import Address
from actors.circuit_breaker.actor import ToCircuitBreaker
from actors.crew import Crew
from actors.kv_governor.actor import ToGovernor
from actors.limiter.messages import Asked, ToLimiter
from actors.registry.messages import SnapshotWanted, ToRegistry, Used
from actors.router.messages import Releases, Routes, ToRouter, refusals
from actors.warmup_pool.actor import ToWarmupPool
from config.errors import ActorDied, ProtocolError, QueueFull, ServingError
from transport.codec import Codec
from transport.messages.control import (
    Admit,
    EngineHello,
    FromControl,
    Hello,
    Lease,
    LeaseBatch,
    LoadReport,
    MemoryReport,
    NoLongerAdmits,
    Refusal,
    Release,
    Route,
    RouteBatch,
    ToControl,
    Wanted,
    Warmed,
)
from transport.messages.topology import PrefixBlocks, Topology
from transport.outbox import Outbox
from transport.refusals import refusal_of
from transport.sockets import arrived, publisher, router

RETRY_S = 0.1
LATE_EVERY_S = 0.1
M = TypeVar("M")
log = logging.getLogger(__name__)
_to_control: Codec[ToControl] = Codec(ToControl)
_from_control: Codec[FromControl] = Codec(FromControl)
_topology: Codec[Topology] = Codec(Topology)


class ToPeer(Struct, frozen=True):
    """To one peer of the `control` socket; lost when it is gone."""

    peer: bytes
    message: FromControl


class Publish(Struct, frozen=True):
    """To all subscribers of the `topology` socket."""

    message: Topology


class Close(Struct, frozen=True):
    """The last one: send what is queued and end."""


ToIO = ToPeer | Publish | Close


class Actors(Struct, frozen=True):
    """Whom the I/O thread and the lifeline talk to."""

    registry: Address[ToRegistry]
    router: Address[ToRouter]
    circuit_breaker: Address[ToCircuitBreaker]
    governor: Address[ToGovernor]
    warmup_pool: Address[ToWarmupPool]
    limiter: Address[ToLimiter]


class Outlets(Struct, frozen=True):
    """What the thread says of itself; each returns at once and does not raise."""

    failed: Callable[[BaseException], None]  # it cannot go on
    dropped: Callable[[str], None]  # a message reached nobody; why


class ControlIO:
    """The thread, from `start` until a `Close` came through the outbox.

    The sockets are bound by the constructor.
    """

    def __init__(
        self,
        endpoints: tuple[str, str],
        actors: Actors,
        outbox: Outbox[ToIO],
        crew: Crew,
        outlets: Outlets,
    ) -> None:
        self._endpoints = endpoints
        self._actors = actors
        self._outbox = outbox
        self._crew = crew
        self._outlets = outlets
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control = router(self._context, endpoints[0])
        self._topology = publisher(self._context, endpoints[1])
        self._used: set[str] = set()  # models, of which the registry was not told yet
        self._ended: list[Releases] = []  # of which the circuit breaker was not told yet
        self._told_at = -math.inf
        self._thread = threading.Thread(target=self._run, name="control-io", daemon=True)

    def start(self) -> None:
        """Begin to read and send."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end after a `Close`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            log.exception("the control sockets failed")
            self._outlets.failed(error)
        finally:
            self._control.close()
            self._topology.close()
            self._context.term()
            for endpoint in self._endpoints:  # ZeroMQ leaves the files of its sockets
                Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._control, zmq.POLLIN)
        poller.register(self._outbox.fileno(), zmq.POLLIN)
        while True:
            wait_ms = self._tell_late(time.monotonic())
            ready = dict(poller.poll(wait_ms))
            if self._control in ready:
                self._read()
            self._crew.work()
            items = self._outbox.take(readable=self._outbox.fileno() in ready)
            self._send([item for item in items if not isinstance(item, Close)])
            if any(isinstance(item, Close) for item in items):
                return

    def _read(self) -> None:
        for parts in arrived(self._control):
            try:
                peer, frame = parts
                message = _to_control.decode(frame)
            except (ValueError, ProtocolError) as error:
                self._outlets.dropped("bad_frame")
                log.warning("dropped a bad frame on the control socket: %s", error)
            else:
                self._dispatch(peer, message)

    def _dispatch(self, peer: bytes, message: ToControl) -> None:
        to = self._actors
        match message:
            case RouteBatch(routes, releases):
                if releases:  # first, as a request that was turned away asks for it again
                    self._release(peer, releases)
                if routes:
                    self._route(peer, routes)
            case Admit():
                self._admit(peer, message)
            case LoadReport():
                post(to.router, message)
                post(to.circuit_breaker, message)
                post(to.warmup_pool, message)
                post(to.registry, message)
            case MemoryReport():
                post(to.governor, message)
            case Warmed():
                post(to.warmup_pool, message)
            case PrefixBlocks():
                post(to.router, message)
                self._publish(message)
            case Hello():
                post(to.registry, SnapshotWanted(peer))
            case EngineHello() | NoLongerAdmits() | Wanted():
                post(to.registry, message)

    def _release(self, peer: bytes, releases: list[Release]) -> None:
        now, to = time.monotonic(), self._actors
        message = Releases(peer, releases, now)
        post(to.router, message)
        if limited := [release for release in releases if release.ticket]:
            post(to.limiter, Releases(peer, limited, now))
        self._ended.append(message)
        if any(release.outcome != "finished" for release in releases):
            self._tell_breaker()

    def _route(self, peer: bytes, routes: list[Route]) -> None:
        self._used.update(route.model for route in routes)
        to = self._actors
        try:
            if any(route.charge is not None for route in routes):
                to.limiter.tell(Routes(peer, routes))
            else:
                to.router.tell(Routes(peer, routes))
        except ServingError as error:
            self._send([ToPeer(peer, refusals(routes, error, RETRY_S))])

    def _admit(self, peer: bytes, asked: Admit) -> None:
        try:
            self._actors.limiter.tell(Asked(peer, asked))
        except ServingError as error:
            refusal = refusal_of(asked.request_id, error, retry_after_s=RETRY_S)
            self._send([ToPeer(peer, refusal)])

    def _tell_late(self, now: float) -> int | None:
        """Tell who is in use, and what ended well, which nobody need know to the millisecond; when
        there is more to tell, in milliseconds."""
        if not self._used and not self._ended:
            return None
        wait_s = self._told_at + LATE_EVERY_S - now
        if wait_s > 0:
            return math.ceil(wait_s * 1000)
        self._told_at = now
        used, self._used = self._used, set()
        if used:
            post(self._actors.registry, Used(used))
        self._tell_breaker()
        return None

    def _tell_breaker(self) -> None:
        ended, self._ended = self._ended, []
        for message in ended:
            post(self._actors.circuit_breaker, message)

    def _send(self, items: list[ToPeer | Publish]) -> None:
        answers: dict[bytes, list[Lease | Refusal]] = {}
        for item in items:
            match item:
                case ToPeer(peer, LeaseBatch(leases)):
                    answers.setdefault(peer, []).extend(leases)
                case ToPeer(peer, message):
                    self._send_peer(peer, message)
                case Publish(message):
                    self._publish(message)
        for peer, leases in answers.items():
            self._send_peer(peer, LeaseBatch(leases))

    def _publish(self, message: Topology) -> None:
        self._topology.send(_topology.encode(message), zmq.NOBLOCK)

    def _send_peer(self, peer: bytes, message: FromControl) -> None:
        try:
            self._control.send_multipart([peer, _from_control.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            # Gone (EHOSTUNREACH) or stuck with a full queue (EAGAIN).
            self._outlets.dropped("unreachable")
            log.debug("%s cannot be reached: %s", peer.decode(errors="replace"), error)


def post(address: Address[M], message: M) -> None:
    """Tell an actor what it may miss: reports come again, snapshots repair the rest."""
    try:
        address.tell(message)
    except ActorDied:
        log.debug("%s has ended", address.name)  # because all end; it is no news
    except QueueFull as error:
        log.warning("dropped a %s: %s", type(message).__name__, error)
