"""Entry of the control process: the actors that know the whole node, and their sockets."""

import logging
import threading
from collections.abc import Set
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from actors.base import Address
from actors.circuit_breaker.actor import CircuitBreakerActor
from actors.circuit_breaker.actor import Outlets as BreakerOutlets
from actors.control.args import ControlArgs
from actors.control.board import Board
from actors.control.io import Actors, Close, ControlIO, Publish, ToIO, ToPeer, post
from actors.control.io import Outlets as IOOutlets
from actors.crew import Crew
from actors.host import Host
from actors.kv_governor.actor import KVGovernorActor
from actors.kv_governor.actor import Outlets as GovernorOutlets
from actors.limiter.actor import LimiterActor
from actors.limiter.actor import Outlets as LimiterOutlets
from actors.registry.actor import Outlets as RegistryOutlets
from actors.registry.actor import RegistryActor
from actors.registry.messages import Event, GatewayDown, Reservation, ToRegistry
from actors.registry.outlook import outlook
from actors.registry.residence import Residence
from actors.registry.store import InProcessRegistry
from actors.registry.weights import estimated_bytes
from actors.router.actor import Outlets as RouterOutlets
from actors.router.actor import RouterActor
from actors.router.blocks import PrefixBlockIndex
from actors.router.messages import ToRouter, Unused
from actors.router.policy import Limits
from actors.warmup_pool.actor import Outlets as WarmupOutlets
from actors.warmup_pool.actor import WarmupPoolActor
from transport.lifeline import Lifeline
from transport.messages.control import FromControl
from transport.messages.lifeline import News
from transport.messages.topology import BreakerChanged
from transport.outbox import Outbox

if TYPE_CHECKING:
    from actors.control.metrics import ControlMetrics

BEAT_S = 1.0
HUNG_ACTOR_S = 5.0  # actors show their status every second
STOP_S = 3.0
log = logging.getLogger(__name__)


def run(lifeline: Lifeline, args: bytes) -> int:
    """Route until told to stop. Exit code 0, or 1 when an actor failed too often."""
    return Control(lifeline, msgspec.msgpack.decode(args, type=ControlArgs)).run()


class Control:
    """Wires the actors to each other, to the sockets and to the lifeline."""

    def __init__(self, lifeline: Lifeline, args: ControlArgs) -> None:
        self.host = Host(self._escalate)
        self._lifeline = lifeline
        self._ending = threading.Event()
        self._failed = False
        self._outbox: Outbox[ToIO] = Outbox()
        self._crew = Crew(self._outbox.wake)
        self._board = Board()
        self._told: Set[str] = set()  # the names of the facts
        # Filled before the first message from outside; until then nobody has anything to tell.
        self._listeners: list[Address[Event]] = []
        self.actors = self._start(args)
        self._listeners += [
            self.actors.router,
            self.actors.circuit_breaker,
            self.actors.governor,
            self.actors.warmup_pool,
            self.actors.limiter,
        ]
        runtime, incarnation = lifeline.runtime, lifeline.incarnation
        self.control_endpoint = runtime.of_incarnation("control", incarnation)
        self.topology_endpoint = runtime.of_incarnation("topology", incarnation)
        endpoints = (self.control_endpoint, self.topology_endpoint)
        outlets = IOOutlets(partial(self._escalate, "io"), self._board.drop)
        self._io = ControlIO(endpoints, self.actors, self._outbox, self._crew, outlets)

    def run(self) -> int:
        """Until the lifeline says stop, or an actor is given up."""
        life = self._lifeline
        self._io.start()
        life.on_announce = self._announced
        life.on_stop = lambda _: self._ending.set()
        life.on_orphaned = self._ending.set
        life.listen()
        life.busy(True)  # so that the supervisor notices a hung actor by its lack of progress
        life.ready(
            {
                "control_endpoint": self.control_endpoint,
                "topology_endpoint": self.topology_endpoint,
            }
        )
        while not self._ending.wait(BEAT_S):
            self._beat()
        return self._end()

    @cached_property
    def _metrics(self) -> "ControlMetrics":
        # A third of the time to start, and nobody waits for it: not before the first beat.
        from actors.metric_files import keep_counts

        keep_counts(self._lifeline.child_id)
        from actors.control.metrics import ControlMetrics

        return ControlMetrics(self._board, self._lifeline.runtime.metrics)

    def _beat(self) -> None:
        restarts = self.host.restarts()
        self._metrics.update(restarts)
        facts = self._board.facts() | {"actors.restarts": sum(restarts.values())}
        gone = dict.fromkeys(self._told - facts.keys())
        self._told = facts.keys()
        self._lifeline.facts(**facts, **gone)
        if self._board.age_s() < HUNG_ACTOR_S:
            self._lifeline.progress()

    def _end(self) -> int:
        self.host.stop(STOP_S)
        self._outbox.put(Close())
        self._io.join(STOP_S)
        self._lifeline.close()
        return 1 if self._failed else 0

    def _escalate(self, name: str, error: BaseException) -> None:
        log.critical("%s failed too often: %r; control ends", name, error)
        self._failed = True
        self._ending.set()

    def _start(self, args: ControlArgs) -> Actors:
        registry = InProcessRegistry()
        show = self._board.show
        life, blocks = self._lifeline, PrefixBlockIndex()
        outlets = RegistryOutlets(
            emit=self._emit,
            snapshot=self._emit,
            answer=self._send,
            show=show,
            reserve=self._reserve,
            load=life.load_model,
            unload=life.unload_model,
        )
        retry_s = args.retry_failed_after_s
        outlooks = {it.name: outlook(it.source, args.max_context_tokens) for it in args.models}
        started: Address[ToRegistry] = self.host.start(
            "registry",
            lambda: RegistryActor(
                registry, life.incarnation, _residence(args), outlets, retry_s, outlooks
            ),
        )
        introduce = partial(post, started)
        limits = Limits(args.max_waiting, args.circuit_breaker.half_open_probes)
        route = RouterOutlets(self._answer, introduce, show, self._unused)
        breaker = BreakerOutlets(self._changed, life.suspect, introduce, show)
        govern = GovernorOutlets(self._send_named, introduce, partial(post, started), show)
        warm = WarmupOutlets(self._send_named, introduce, show)
        settings = args.circuit_breaker
        router: Address[ToRouter] = self.host.start(
            "router", lambda: RouterActor(limits, blocks, route), crew=self._crew
        )
        limit = LimiterOutlets(self._answer, router.tell, show)
        return Actors(
            started,
            router,
            self.host.start("circuit_breaker", lambda: CircuitBreakerActor(settings, breaker)),
            self.host.start("kv_governor", lambda: KVGovernorActor(args.kv_cache, govern)),
            self.host.start("warmup_pool", lambda: WarmupPoolActor(args.warmup, warm)),
            self.host.start("limiter", lambda: LimiterActor(limit), crew=self._crew),
        )

    def _announced(self, message: News) -> None:
        post(self.actors.registry, message)

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            post(listener, event)
        if not isinstance(event, GatewayDown):
            self._outbox.put(Publish(event))

    def _reserve(self, reservation: Reservation) -> None:
        if self._listeners:
            post(self.actors.governor, reservation)

    def _unused(self, unused: Unused) -> None:
        post(self.actors.limiter, unused)

    def _changed(self, changed: BreakerChanged) -> None:
        post(self.actors.registry, changed)
        post(self.actors.router, changed)
        self._outbox.put(Publish(changed))

    def _answer(self, peer: bytes, answer: FromControl) -> None:
        """From the crew: the thread that works it sends this next."""
        self._outbox.put_here(ToPeer(peer, answer))

    def _send(self, peer: bytes, message: FromControl) -> None:
        self._outbox.put(ToPeer(peer, message))

    def _send_named(self, name: str, message: FromControl) -> None:
        self._send(name.encode(), message)


def _residence(args: ControlArgs) -> Residence:
    return Residence(args.models, args.max_loaded_models, args.memory_bytes, estimated_bytes)
