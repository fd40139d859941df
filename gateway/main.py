"""A gateway process: its parts, and what its supervisor tells it."""

import asyncio
import gc
import logging
import math
import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop
import zmq

from config.settings import ServerSettings
from gateway.args import GatewayArgs
from gateway.auth.cors import Cors
from gateway.auth.guard import Guard
from gateway.client.server import ClientServer
from gateway.dispatch.dispatcher import Dispatcher
from gateway.http.answers import RouteAnswers
from gateway.http.routes import all_routes
from gateway.http.server.connection import Limits
from gateway.http.server.routes import Routes
from gateway.http.server.server import HttpServer
from gateway.http.server.tls import tls_context
from gateway.metrics import GatewayMetrics, render
from gateway.pinned import PinnedPrompts
from gateway.responses.routes import Responses
from gateway.responses.store import Store
from gateway.service import Service
from transport.lifeline import Lifeline
from transport.messages.lifeline import Announce, News

PROGRESS_S = 0.5
GC_THRESHOLDS = 50_000, 20, 50
ORPHANED_STOP_S = 1.0
FLUSH_S = 0.1  # for connections that are closed already to send their last bytes
STOP_RESERVE_S = 2.0  # of the time to stop, for closing connections after the requests ended
HELD_BODIES = 32  # of the largest size, unless configured otherwise
_args = msgspec.msgpack.Decoder(GatewayArgs)
log = logging.getLogger(__name__)


def run(lifeline: Lifeline, args: bytes) -> int:
    """Serve until the supervisor says stop; the process's exit code."""
    _collect_rarely()
    # The threads that the library shares a text out to cost more than they gain on a prompt.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    gateway = Gateway(lifeline, _args.decode(args))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(gateway.serve())
    lifeline.close()
    return 0


class Gateway:
    """Joins lifeline, dispatcher, HTTP and the client protocol on one event loop."""

    def __init__(self, lifeline: Lifeline, args: GatewayArgs) -> None:
        self._lifeline = lifeline
        self._args = args
        self._metrics = GatewayMetrics()
        self._dispatcher = Dispatcher(
            lifeline.child_id,
            lifeline.incarnation,
            patience=args.patience,
            observer=self._metrics,
        )
        self._service = Service(self._dispatcher, args.server, args.structured, args.limits)
        pinned = PinnedPrompts(args.pinned_prompts, self._service.texts, self._dispatcher.pin)
        self._dispatcher.on_engine_up = pinned.engine_up
        self._clients = ClientServer(self._service, lifeline.child_id, args.server.max_body_bytes)
        self._cors = Cors(args.cors.origins)
        self._guard = Guard(args.auth, self._cors)
        self._endpoint = lifeline.runtime.client(args.number)
        self._tasks: set[asyncio.Task[None]] = set()
        self._finish_until = math.inf  # running requests; told when the gateway is drained

    async def serve(self) -> None:
        """From start to a clean end."""
        self._loop = asyncio.get_running_loop()
        self._stop: asyncio.Future[float] = self._loop.create_future()
        self._hear_supervisor()
        self._dispatcher.start()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._clients.start(context, self._endpoint)
        sock = socket.socket(fileno=self._lifeline.fds["http"])
        self._guard.start()
        server = self._http()
        tls = self._args.server.tls
        await server.start(sock, None if tls is None else tls_context(tls))
        self._report()
        address = _url(sock, "http" if tls is None else "https")
        self._lifeline.ready({"address": address, "client_endpoint": self._endpoint})
        await self._end(await self._stop, server, context)

    def _http(self) -> HttpServer:
        store = Store(self._lifeline.runtime.responses, self._args.responses)
        self._responses = Responses(self._service, store)
        routes = all_routes(self._service, self._responses, render)
        cors = self._cors if self._args.cors.origins else None
        answers = RouteAnswers(Routes(routes), self._guard, cors)
        return HttpServer(answers, limits_of(self._args.server))

    def _hear_supervisor(self) -> None:
        lifeline = self._lifeline
        lifeline.on_announce = self._on_loop(self._announced)
        lifeline.on_drain = self._on_loop(self._drain)
        lifeline.on_stop = self._on_loop(self._stop_within)
        lifeline.on_orphaned = lambda: self._on_loop(self._stop_within)(ORPHANED_STOP_S)
        lifeline.listen()

    def _on_loop(self, act: Callable[[Any], None]) -> Callable[[Any], None]:
        def pass_on(news: object) -> None:
            try:
                self._loop.call_soon_threadsafe(act, news)
            except RuntimeError:  # the loop is closed: this process is as good as gone
                log.debug("too late to hear %r", news)

        return pass_on

    def _announced(self, news: News) -> None:
        if not isinstance(news, Announce) or news.kind != "control" or news.state != "ready":
            return
        control, topology = (news.facts.get(f"{it}_endpoint") for it in ("control", "topology"))
        if isinstance(control, str) and isinstance(topology, str):
            self._dispatcher.use_control(control, topology, news.incarnation)

    def _drain(self, timeout_s: float) -> None:
        log.info("finishing %d requests", self._dispatcher.active)
        self._service.drain()
        self._finish_until = self._loop.time() + timeout_s
        task = self._loop.create_task(self._finish_running(timeout_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_running(self, timeout_s: float) -> None:
        if await self._dispatcher.idle(timeout_s):
            self._lifeline.drained()

    def _stop_within(self, timeout_s: float) -> None:
        if not self._stop.done():
            self._stop.set_result(timeout_s)

    def _report(self) -> None:
        """A blocked loop reports no progress, which is what a stall is."""
        self._lifeline.busy(self._dispatcher.active > 0)
        self._lifeline.progress()
        self._lifeline.facts(active=self._dispatcher.active)
        self._metrics.flush()
        self._service.forget_unloaded()
        self._loop.call_later(PROGRESS_S, self._report)

    async def _end(
        self, timeout_s: float, server: HttpServer, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self._service.drain()
        left_s = min(timeout_s - STOP_RESERVE_S, self._finish_until - self._loop.time())
        await self._dispatcher.idle(max(left_s, 0.0))
        await self._dispatcher.close()
        self._metrics.flush()
        await server.close()
        await self._guard.close()
        await self._responses.close()
        await asyncio.sleep(FLUSH_S)
        self._clients.close()
        self._service.close()
        context.destroy()


def _collect_rarely() -> None:
    """What a request makes is freed when it ends, so looking for cycles as often as Python does by
    default would find nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def limits_of(server: ServerSettings) -> Limits:
    """What its connections may take."""
    held = server.max_held_body_bytes or HELD_BODIES * server.max_body_bytes
    return Limits(body_bytes=server.max_body_bytes, held_body_bytes=held)


def _url(sock: socket.socket, scheme: str) -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
