"""Stands between the gateways and the router for those who have limits."""

import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from actors.base import Actor
from actors.limiter.messages import Asked, LimiterStatus
from actors.limiter.policy import Decision, Limiter
from actors.registry.messages import GatewayDown
from actors.router.messages import Releases, Routes, Unused, refusals
from config.errors import ServingError
from transport.messages.control import Admitted, FromControl, LeaseBatch

TICK_S = 1.0
RETRY_S = 0.1


class _Tick(Struct, frozen=True):
    pass


class Outlets(Struct, frozen=True):
    """Where the limiter speaks; each returns at once."""

    answer: Callable[[bytes, FromControl], None]  # to one gateway
    route: Callable[[Routes], None]  # to the router; raises a `ServingError` if it takes no more
    show: Callable[[LimiterStatus], None]


class LimiterActor(Actor):
    """Routes that have a charge come here, with all others of their batch, and go on or not; what
    needs no engine is answered."""

    def __init__(self, outlets: Outlets) -> None:
        super().__init__()
        self._outlets = outlets
        self._limiter = Limiter(secrets.token_hex(4))
        self._answers: Counter[str] = Counter()

    def on_start(self) -> None:
        """Nothing is known of before, so all have all they may use."""
        self.after(TICK_S, _Tick())

    def receive(self, message: object) -> None:
        """One of `ToLimiter`; other events are for others."""
        match message:
            case Routes():
                self._route(message)
            case Asked():
                self._admit(message)
            case Releases(peer, releases):
                now = time.monotonic()
                for release in releases:
                    self._limiter.settle(release.ticket, release.used_tokens, peer, now)
            case Unused(peer, tickets):
                self._return(peer, tickets)
            case GatewayDown():
                self._limiter.gateway_down(message)
            case _Tick():
                self._tick()

    def _route(self, message: Routes) -> None:
        """Should it be our undoing, requests rather go on without limits than not at all."""
        try:
            decision = self._limiter.decide(message.routes, message.peer, time.monotonic())
        except Exception:
            with contextlib.suppress(ServingError):
                self._outlets.route(message)
            raise
        if decision.refusals:
            self._answers.update(refusal.code for refusal in decision.refusals)
            self._outlets.answer(message.peer, LeaseBatch([*decision.refusals]))
        if decision.routes:
            self._pass_on(message.peer, decision)

    def _admit(self, asked: Asked) -> None:
        """As `_route`."""
        try:
            answer = self._limiter.admit(asked.admit, time.monotonic())
        except Exception:
            self._outlets.answer(asked.peer, Admitted(asked.admit.request_id))
            raise
        self._outlets.answer(asked.peer, answer)

    def _pass_on(self, peer: bytes, decision: Decision) -> None:
        try:
            self._outlets.route(Routes(peer, decision.routes, decision.admissions))
        except ServingError as error:
            self._return(peer, [it.ticket for it in decision.admissions.values()])
            self._outlets.answer(peer, refusals(decision.routes, error, RETRY_S))

    def _return(self, peer: bytes, tickets: list[str]) -> None:
        now = time.monotonic()
        for ticket in tickets:
            self._limiter.settle(ticket, 0, peer, now)

    def _tick(self) -> None:
        self.after(TICK_S, _Tick())
        limiter = self._limiter
        limiter.expire(time.monotonic())
        status = LimiterStatus(
            limiter.scopes, limiter.streams, dict(self._answers), dict(limiter.refused)
        )
        self._answers.clear()
        limiter.refused.clear()
        self._outlets.show(status)
