"""`/api/cluster/*`: the node as version 1 told of it, for the admin role.

Files, sockets and addresses are not told. A worker is a machine; so far there is this one.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from config.errors import BY_CODE
from config.version import server_version
from gateway.dispatch.types import ModelView
from gateway.http.errors import status_of
from gateway.http.server.exchange import Request, Response
from gateway.http.server.routes import NotFound, Route
from gateway.service import Service
from transport.messages.topology import ModelState

WorkerStatus = Literal["healthy", "degraded", "unhealthy"]
_encode = msgspec.json.Encoder().encode


class Controller(Struct, frozen=True):
    """What answers; `uptime` in seconds."""

    version: str
    uptime: float
    mode: Literal["both"] = "both"  # it routes, and it has models
    state: Literal["running", "draining"] = "running"


class WorkerCount(Struct, frozen=True):
    """How many machines there are; one that is unhealthy counts as offline."""

    total: int
    online: int
    offline: int


class RequestCount(Struct, frozen=True):
    """Sequences that are being written, and all that ended."""

    active: int
    total: int


class ClusterStatus(Struct, frozen=True):
    """The cluster in numbers."""

    controller: Controller
    workers: WorkerCount
    requests: RequestCount


class WorkerModel(Struct, frozen=True, rename="camel"):
    """A model on a machine."""

    id: str
    state: ModelState
    replicas: int
    ready_replicas: int


class Skills(Struct, frozen=True, rename="camel"):
    """What a machine can do; `total_model_size` is in bytes of weights, those of loaded models."""

    available_models: list[str]
    total_model_size: int


class Capacity(Struct, frozen=True, rename="camel"):
    """How much of a machine is used: sequences, and the share of the memory for caches."""

    current_load: int
    memory_usage: float | None


class WorkerMetrics(Struct, frozen=True, rename="camel"):
    """Since the start: seconds a sequence took, and the share of them that the server failed."""

    avg_latency: float | None
    error_rate: float


class Worker(Struct, frozen=True, kw_only=True, rename="camel"):
    """A machine; times in milliseconds since 1970."""

    worker_id: str
    hostname: str
    status: WorkerStatus
    models: list[WorkerModel]
    skills: Skills
    capacity: Capacity
    metrics: WorkerMetrics
    last_heartbeat: int
    registered_at: int


class Counts(Struct, frozen=True):
    """What the metrics of all processes of a node add up to."""

    active: int = 0
    total: int = 0
    failed: int = 0
    latency_s: float | None = None
    memory_usage: float | None = None


class Cluster:
    """The handlers."""

    def __init__(self, service: Service, render_metrics: Callable[[], bytes]) -> None:
        """`render_metrics` may take its time: it runs in a thread."""
        self._service = service
        self._render_metrics = render_metrics
        self._host = socket.gethostname()
        self._started_at, self._started_time = time.monotonic(), time.time()

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(
                method="GET",
                path="/api/cluster/status",
                handler=self.status,
                role="admin",
                answer=ClusterStatus,
                summary="The cluster in numbers.",
            ),
            Route(
                method="GET",
                path="/api/cluster/workers",
                handler=self.workers,
                role="admin",
                answer=list[Worker],
                summary="List the machines.",
            ),
            Route(
                method="GET",
                path="/api/cluster/workers/{id}",
                handler=self.worker,
                role="admin",
                answer=Worker,
                summary="Tell of one machine.",
            ),
        ]

    async def status(self, request: Request) -> Response:
        """`GET /api/cluster/status`."""
        counts = await self._counts()
        online = self._health() != "unhealthy"
        state: Literal["running", "draining"] = "draining" if self._service.draining else "running"
        uptime_s = round(time.monotonic() - self._started_at, 3)
        status = ClusterStatus(
            Controller(server_version(), uptime_s, state=state),
            WorkerCount(1, int(online), int(not online)),
            RequestCount(counts.active, counts.total),
        )
        return Response(_encode(status))

    async def workers(self, request: Request) -> Response:
        """`GET /api/cluster/workers`."""
        return Response(_encode([await self._worker()]))

    async def worker(self, request: Request) -> Response:
        """`GET /api/cluster/workers/{id}`."""
        if request.params["id"] != self._host:
            raise NotFound
        return Response(_encode(await self._worker()))

    async def _worker(self) -> Worker:
        views, counts = self._service.models(), await self._counts()
        return Worker(
            worker_id=self._host,
            hostname=self._host,
            status=self._health(),
            models=[WorkerModel(it.name, it.state, it.replicas, it.ready_replicas) for it in views],
            skills=Skills([it.name for it in views if it.state == "ready"], _weights(views)),
            capacity=Capacity(counts.active, counts.memory_usage),
            metrics=WorkerMetrics(
                counts.latency_s, counts.failed / counts.total if counts.total else 0.0
            ),
            last_heartbeat=int(time.time() * 1000),
            registered_at=int(self._started_time * 1000),
        )

    def _health(self) -> WorkerStatus:
        return "unhealthy" if self._service.draining else health_of(self._service.models())

    async def _counts(self) -> Counts:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: counts_of(self._render_metrics()))


def health_of(views: Sequence[ModelView]) -> WorkerStatus:
    """How a machine with these models fares; one that is loaded on demand need not be there."""
    states = {view.state for view in views}
    if states <= {"ready", "unloaded"} and states:
        return "healthy"
    return "degraded" if states & {"ready", "unloaded"} else "unhealthy"


def counts_of(metrics: bytes) -> Counts:
    """What metrics in Prometheus' text format say."""
    families = {it.name: it for it in text_string_to_metric_families(metrics.decode())}
    codes = list(_samples(families, "mlx_serving_requests", "_total"))
    spent, ended = (
        sum(value for _, value in _samples(families, "mlx_serving_request_duration_seconds", part))
        for part in ("_sum", "_count")
    )
    active, held, budget = (
        sum(value for _, value in _samples(families, f"mlx_serving_{name}"))
        for name in ("active_streams", "kv_held_bytes", "kv_node_budget_bytes")
    )
    return Counts(
        active=int(active),
        total=int(sum(value for _, value in codes)),
        failed=int(sum(value for labels, value in codes if _is_fault(labels.get("code", "")))),
        latency_s=spent / ended if ended else None,
        memory_usage=held / budget if budget else None,
    )


def _samples(
    families: dict[str, Metric], name: str, part: str = ""
) -> Iterator[tuple[dict[str, str], float]]:
    family = families.get(name)
    for sample in family.samples if family is not None else ():
        if sample.name == name + part:
            yield sample.labels, sample.value


def _is_fault(code: str) -> bool:
    """Whether a sequence that ended so is the server's failure."""
    kind = BY_CODE.get(code)
    return kind is not None and status_of(kind("")) >= 500


def _weights(views: Sequence[ModelView]) -> int:
    cards = (view.card for view in views if view.state == "ready")
    return sum(card.weights_bytes for card in cards if card is not None)
