"""Whether this gateway lives and can answer, and what it counts."""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import Route
from gateway.service import Service
from transport.messages.topology import ModelState

METRICS = "text/plain; version=0.0.4; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class Alive(Struct, frozen=True):
    """This process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """Whether a model can answer or would be loaded to, and if not, why not; those are named that
    the key in the request, if there is one, may use."""

    status: Literal["ready", "unavailable"]
    reason: str | None
    models: dict[str, ModelState]


class Health:
    """The handlers."""

    def __init__(self, service: Service, render_metrics: Callable[[], bytes]) -> None:
        """`render_metrics` may take its time: it runs in a thread."""
        self._service = service
        self._render_metrics = render_metrics

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="GET",
                path="/health",
                handler=self.health,
                role="public",
                answer=Alive,
                summary="Say that this process is alive.",
            ),
            Route(
                method="GET",
                path="/ready",
                handler=self.ready,
                role="public",
                answer=Readiness,
                also={503: Readiness},
                summary="Say whether a model can answer.",
            ),
            Route(
                method="GET",
                path="/metrics",
                handler=self.metrics,
                role="admin",
                summary="Prometheus metrics of all processes.",
                media_type=METRICS,
            ),
        ]

    async def health(self, request: Request) -> Response:
        """`GET /health`: this process is alive."""
        return Response(_encode(Alive()))

    async def ready(self, request: Request) -> Response:
        """`GET /ready`: a model can answer, or would be loaded to."""
        states = {view.name: view.state for view in self._service.models()}
        kinds = set(states.values())
        problem = None
        if self._service.draining:
            problem = "the server is shutting down"
        elif "ready" not in kinds and ("unloaded" not in kinds or "loading" in kinds):
            problem = "no model is ready" if states else "no model is served yet"
        shown = {name: states[name] for name in states if request.identity.may_use(name)}
        readiness = Readiness("unavailable" if problem else "ready", problem, shown)
        return Response(_encode(readiness), status=503 if problem else 200)

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`: Prometheus text, over all processes."""
        body = await asyncio.get_running_loop().run_in_executor(None, self._render_metrics)
        return Response(body, content_type=METRICS)
