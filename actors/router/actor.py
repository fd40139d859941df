"""Answers routes with leases; the only actor on the way of a request."""

import secrets
import time
from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec import Struct

from actors.base import Actor
from actors.registry.messages import GatewayDown, Introduce
from actors.router.blocks import PrefixBlockIndex
from actors.router.messages import Admission, Releases, RouterStatus, Routes, Unused, refusals
from actors.router.policy import RESTARTING_RETRY_S, Limits, choose
from actors.router.view import View
from config.errors import EngineUnavailable
from transport.messages.control import Lease, LeaseBatch, LoadReport, Refusal, Route
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    EngineUp,
    ModelGone,
    ModelStatus,
    PrefixBlocks,
    Snapshot,
)

TICK_S = 1.0
_EVENTS = (
    EngineUp
    | EngineDown
    | EngineDraining
    | BreakerChanged
    | PrefixBlocks
    | ModelStatus
    | ModelGone
    | Snapshot
    | GatewayDown
)


class _Tick(Struct, frozen=True):
    pass


class Outlets(Struct, frozen=True):
    """Where the router speaks; each returns at once and does not raise."""

    answer: Callable[[bytes, LeaseBatch], None]  # to one gateway
    introduce: Callable[[Introduce], None]  # to the registry
    show: Callable[[RouterStatus], None]
    unused: Callable[[Unused], None]  # to the limiter


class RouterActor(Actor):
    """One message in, one batch of answers out."""

    def __init__(self, limits: Limits, blocks: PrefixBlockIndex, outlets: Outlets) -> None:
        super().__init__()
        self._limits = limits
        self._outlets = outlets
        self._view = View(secrets.token_hex(4), blocks)
        self._answers: Counter[str] = Counter()

    def on_start(self) -> None:
        """The registry knows the engines; their load comes with their next reports."""
        self._outlets.introduce(Introduce(self.address))
        self.after(TICK_S, _Tick())

    def receive(self, message: object) -> None:
        """One of `ToRouter`."""
        match message:
            case Routes():
                self._route(message)
            case Releases(peer, releases):
                for release in releases:
                    self._view.release(release, peer)
            case LoadReport():
                self._view.report(message, time.monotonic())
            case _Tick():
                self._tick()
            case _ if isinstance(message, _EVENTS):
                self._view.apply(message)

    def _route(self, message: Routes) -> None:
        """Resumed requests choose first. Should one route be our undoing, all are answered."""
        peer, now = message.peer, time.monotonic()
        try:
            order = sorted(message.routes, key=lambda route: not route.resumed)
            answers = [self._answer(peer, route, now) for route in order]
        except Exception:
            error = EngineUnavailable("the router failed")
            self._return(peer, list(message.admissions.values()))
            self._outlets.answer(peer, refusals(message.routes, error, RESTARTING_RETRY_S))
            raise
        if message.admissions:
            answers = self._admitted(message, answers)
        self._outlets.answer(peer, LeaseBatch(answers))

    def _admitted(self, message: Routes, answers: list[Lease | Refusal]) -> list[Lease | Refusal]:
        """The answers with what the limits have to say; what they took for refusals goes back."""
        told, unused = [], []
        for answer in answers:
            admission = message.admissions.get(answer.route_id)
            if admission is not None and isinstance(answer, Lease):
                ticket, allowance = admission.ticket, admission.allowance
                answer = msgspec.structs.replace(answer, ticket=ticket, allowance=allowance)
            elif admission is not None:
                unused.append(admission)
            told.append(answer)
        self._return(message.peer, unused)
        return told

    def _return(self, peer: bytes, admissions: list[Admission]) -> None:
        if admissions:
            self._outlets.unused(Unused(peer, [admission.ticket for admission in admissions]))

    def _answer(self, peer: bytes, route: Route, now: float) -> Lease | Refusal:
        answer = choose(route, self._view, self._limits, now)
        if isinstance(answer, Lease):
            self._view.grant(answer, route, peer, now)
        self._answers["lease" if isinstance(answer, Lease) else answer.code] += 1
        return answer

    def _tick(self) -> None:
        self.after(TICK_S, _Tick())
        self._view.expire(time.monotonic())
        engines = self._view.engines
        leases = {engine_id: engine.leases for engine_id, engine in engines.items()}
        tokens = {engine_id: engine.leased_tokens for engine_id, engine in engines.items()}
        blocks = self._view.blocks.counts()
        self._outlets.show(RouterStatus(leases, tokens, dict(self._answers), blocks))
        self._answers.clear()
