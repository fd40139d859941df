"""What an engine's actor does whatever its model is for: drain, end, be replaced, refuse."""

import logging
from typing import Protocol

from actors.base import Actor
from actors.engine.inlet import Unwanted
from actors.engine.io import Report
from actors.engine.place import Place
from actors.engine.request import Outputs
from config.errors import Draining, EngineUnavailable, ServingError
from transport.messages.control import LoadReport, NoLongerAdmits, ToControl

log = logging.getLogger(__name__)


class Requests(Protocol):
    """All requests of one engine."""

    def lose_gateway(self, gateway: bytes) -> None:
        """Nobody is left to read what this gateway asked for."""

    def fail_all(self, error: ServingError, out: Outputs) -> None:
        """End everything with this error."""


class EngineLife(Actor):
    """One model, one thread; `_requests` is there from `on_start` on."""

    _requests: Requests

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._lifeline = place.lifeline
        self._stepping = False
        self._draining = False
        self._drained = False
        self._recycling = False
        self._idle_from = 0.0
        self._reported_at = 0.0
        self._expired_at = 0.0
        self._last_report: LoadReport | None = None

    def _cancel(self, gateway: bytes, request_id: str, out: Outputs) -> None:
        """End one request."""
        raise NotImplementedError

    def _send(self, out: Outputs) -> None:
        """Hand over what was put out."""
        raise NotImplementedError

    def _let_go(self, unwanted: Unwanted, out: Outputs) -> None:
        requests, gateways = unwanted.take()
        for gateway in gateways:
            self._requests.lose_gateway(gateway)
        for gateway, request_id in requests:
            self._cancel(gateway, request_id, out)

    def _refusal(self, incarnation: int) -> ServingError | None:
        """Why a request that means this incarnation is not taken, whatever it asks."""
        if incarnation != self._lifeline.incarnation:
            return EngineUnavailable("this engine was restarted")
        return Draining("this engine is draining") if self._draining else None

    def _give_up(self, error: RuntimeError, out: Outputs) -> None:
        """Metal keeps count of its buffers, and only a fresh process starts from zero."""
        log.warning("out of Metal resources, a fresh process goes on: %s", error)
        self._drain()
        self._requests.fail_all(EngineUnavailable("this engine is being replaced"), out)
        self._lifeline.recycle("out of Metal resources")

    def _recycle_when_due(self, tokens: int, done: str) -> None:
        """`done`: what was done with so many tokens."""
        limit = self._place.args.recycle_after_tokens
        if limit is not None and tokens >= limit and not self._recycling:
            self._recycling = True
            self._lifeline.recycle(f"{limit} tokens {done}")

    def _tell_control(self, message: ToControl) -> None:
        self._place.outbox.put(Report(message))

    def _drain(self) -> None:
        self._draining = True
        life = self._lifeline
        self._tell_control(NoLongerAdmits(life.child_id, life.incarnation))

    def _end_all(self, out: Outputs) -> None:
        """End what is left, so that the gateways carry it to another engine, and the process."""
        self._draining = True
        self._requests.fail_all(Draining("this engine is stopping"), out)
        self._send(out)
        out.by_gateway.clear()
        self._place.stopped.set()
