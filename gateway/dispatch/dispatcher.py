"""The dispatcher: brings each request to an engine and keeps it alive until its one end.

It lives on the gateway's event loop and is used from there only. What to do when something happens
is decided in `recovery`; this module does it.
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable

import zmq

from config.errors import Draining, InvalidRequest, ModelNotFound, ServingError
from config.settings import CircuitBreakerSettings
from gateway.dispatch.admissions import Admissions
from gateway.dispatch.alarms import Alarms
from gateway.dispatch.fleet import Fleet
from gateway.dispatch.flusher import Flusher
from gateway.dispatch.links import LINGER_MS, ControlLink, EngineLink
from gateway.dispatch.recovery import (
    ROUTE_TIMEOUT_S,
    Ask,
    Cancelled,
    End,
    EngineCameUp,
    Event,
    Leased,
    Leave,
    Lost,
    Refused,
    Run,
    Stay,
    Tick,
    Wait,
    check_at,
    next_step,
)
from gateway.dispatch.stream import State, Stream
from gateway.dispatch.suspects import Suspects
from gateway.dispatch.types import GenerationRequest, ModelView, Observer, Sink
from transport.messages.control import Hello, Lease, Refusal
from transport.messages.data import Embedded, Ended, Finished, FinishReason, Pin
from transport.messages.topology import EngineDown, EngineUp, Topology
from transport.parameters import clipped
from transport.sockets import peer_name

Socket = zmq.Socket[bytes]
log = logging.getLogger(__name__)


class Dispatcher:
    """Takes requests from `start` to `close`; every one ends in exactly one `Sink.on_end`."""

    def __init__(
        self,
        gateway_id: str,
        incarnation: int,
        *,
        patience: CircuitBreakerSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._hello = Hello(gateway_id, incarnation)
        self._identity = peer_name(gateway_id, incarnation)
        self._patience = patience or CircuitBreakerSettings()
        self._observer = observer
        self.on_engine_up: Callable[[EngineUp], object] = lambda _: None
        self.admissions = Admissions()
        self._numbers = itertools.count(1)
        self._fleet = Fleet()
        self._suspects = Suspects()
        self._streams: dict[str, Stream] = {}
        self._routes: dict[str, Stream] = {}
        self._links: dict[str, EngineLink] = {}
        self._control: ControlLink | None = None
        self._control_incarnation = -1
        self._closed = False

    def start(self) -> None:
        """Begin, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[Socket] = zmq.Context()
        self._flusher = Flusher(self._loop, self._flush)
        self._alarms = Alarms(self._loop, self._look)
        self._idle = asyncio.Event()
        self._idle.set()

    def use_control(self, control_endpoint: str, topology_endpoint: str, incarnation: int) -> None:
        """There is a (new) control process; what is known already changes nothing."""
        if incarnation <= self._control_incarnation:
            return
        self._control_incarnation = incarnation
        if self._control is not None:
            self._control.close()
        self._control = ControlLink(
            self._context, self._hello, control_endpoint, topology_endpoint, self
        )

    def models(self) -> list[ModelView]:
        """All models that are served, by name."""
        return self._fleet.models()

    def model(self, name: str) -> ModelView | None:
        """One model; None when there is none of that name."""
        return self._fleet.model(name)

    def want(self, name: str) -> None:
        """Somebody waits for a model that is not loaded; saying it often costs nothing."""
        if self._control is not None:
            self._control.want(name)

    def pin(self, engine: EngineUp, pins: list[Pin]) -> None:
        """Have an engine keep these, if it is still there."""
        link = self._links.get(engine.engine_id)
        if link is not None and link.incarnation == engine.incarnation:
            link.outgoing += pins
            self._flusher.soon()

    @property
    def active(self) -> int:
        """Requests that have not ended."""
        return len(self._streams)

    def submit(self, request: GenerationRequest, sink: Sink) -> str:
        """Take a request; returns its id. The sink is never called before this returns."""
        request_id = f"{self._identity}.{next(self._numbers)}"
        now = time.monotonic()
        stream = Stream(request_id, request, sink, now)
        self._streams[request_id] = stream
        self._idle.clear()
        if self._observer is not None:
            self._observer.started()
        refusal = self._refusal(request)
        if refusal is None:
            self._ask(stream, now)
        else:
            stream.state = State.WAITING
            self._loop.call_soon(self._refuse, stream, refusal)
        return request_id

    def cancel(self, request_id: str, reason: FinishReason = "cancelled") -> None:
        """End a request now, counted as `reason`; one that ended already is left alone."""
        stream = self._streams.get(request_id)
        if stream is not None:
            self._apply(stream, Cancelled(reason), time.monotonic())

    async def idle(self, timeout_s: float) -> bool:
        """Wait until no request is left; False when some still are after the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return not self._streams

    async def close(self) -> None:
        """End what is left, as draining, and close every connection."""
        self._closed = True
        now = time.monotonic()
        for stream in list(self._streams.values()):
            leave = Leave("cancelled", cancel=True) if stream.state is State.RUNNING else None
            self._end(stream, End(Draining("the server stops"), leave), now)
        self._flush()
        for link in self._links.values():
            link.close(LINGER_MS)
        self._links.clear()
        if self._control is not None:
            self._control.close()
        await asyncio.to_thread(self._context.term)

    # What control says.

    def on_control_connected(self) -> None:
        """Ask for all that have no engine; earlier questions died with the connection."""
        now = time.monotonic()
        for stream in list(self._streams.values()):
            if stream.state is State.ROUTING:
                self._ask(stream, now)
        self._flusher.soon()

    def on_answers(self, answers: list[Lease | Refusal]) -> None:
        """Leases and refusals; a lease that nobody waits for any more is given back."""
        now = time.monotonic()
        for answer in answers:
            stream = self._routes.pop(answer.route_id, None)
            if isinstance(answer, Refusal):
                if stream is not None:
                    served = self._fleet.has(stream.request.model)
                    self._apply(stream, Refused(answer, served), now)
            elif stream is not None:
                self._apply(stream, Leased(answer), now)
            else:
                self._release_unused(answer)

    def on_topology(self, message: Topology) -> None:
        """Open and close engine links, wake those who wait for an engine."""
        now = time.monotonic()
        new = self._fleet.apply(message, now)
        if isinstance(message, EngineDown):
            link = self._links.get(message.engine_id)
            if link is not None and link.incarnation <= message.incarnation:
                self.on_link_lost(link, message.reason)
        for engine in new:
            self._link(engine)
            self.on_engine_up(engine)
        models = {engine.card.name for engine in new}
        for stream in [s for s in self._streams.values() if s.request.model in models]:
            self._apply(stream, EngineCameUp(), now)

    # What engines say.

    def on_first_token(self, stream: Stream, now: float) -> None:
        """From now on the gap between tokens counts, and the request is no suspect."""
        pause_s = stream.first_token(now)
        if pause_s is not None and self._observer is not None:
            self._observer.recovered(stream.request.model, pause_s)
        self._alarms.set(stream, check_at(stream, self._patience))
        self._next_suspect(stream, now)

    def on_ended(self, stream: Stream, ended: Ended, now: float) -> None:
        """The engine is done with it, for good or bad."""
        if isinstance(ended, Finished | Embedded):
            stream.queued_s = ended.queued_s
        self._apply(stream, ended, now)

    def on_sink_failed(self, stream: Stream) -> None:
        """Nobody listens any more."""
        self._apply(stream, Cancelled(), time.monotonic())

    def on_link_lost(self, link: EngineLink, reason: str) -> None:
        """All that were on it go on elsewhere."""
        if self._links.get(link.engine_id) is not link:
            return
        del self._links[link.engine_id]
        link.last_words()
        link.close()
        if link.streams:
            log.warning("%s: %s; %d requests go on", link.name, reason, len(link.streams))
        now = time.monotonic()
        for stream in list(link.streams.values()):
            self._apply(stream, Lost(blame=stream.reached), now)

    def on_read(self) -> None:
        """What came of it goes out at once."""
        self._flusher.now()

    # Doing what was decided.

    def _apply(self, stream: Stream, event: Event, now: float) -> None:
        if stream.state is State.ENDED:  # by another stream's sink, a moment ago
            return
        step = next_step(stream, event, now)
        match step:
            case Run():  # the two that each request takes come first
                self._run(stream, step.lease, now)
            case End():
                self._end(stream, step, now)
            case Stay():
                self._alarms.set(stream, step.wake_at)
            case Ask():
                self._move_on(stream, step, now)
                stream.losses = step.losses
                stream.full = step.full
                self._ask(stream, now)
            case Wait():
                self._move_on(stream, step, now)
                stream.state = State.WAITING
                stream.refusals += 1
                stream.retry_after_s = step.retry_after_s
                self._alarms.set(stream, step.wake_at)

    def _ask(self, stream: Stream, now: float) -> None:
        self._routes.pop(stream.route_id, None)
        if not self._suspects.admits(stream):
            stream.state = State.WAITING
            self._alarms.set(stream, stream.deadline_at)
            return
        stream.ask(now)
        stream.route_id = str(next(self._numbers))
        if self._control is not None and self._control.connected:
            self._routes[stream.route_id] = stream
            self._control.route(stream.route(now, self._fleet.block_tokens(stream.request.model)))
            self._flusher.soon()
        self._alarms.set(stream, now + ROUTE_TIMEOUT_S)

    def _run(self, stream: Stream, lease: Lease, now: float) -> None:
        link = self._link(lease)
        stream.begin(lease, now)
        if lease.allowance is not None and not stream.resumed:
            stream.sink.on_allowed(lease.allowance)
        if link is None:  # control does not know yet that this incarnation is over
            self._apply(stream, Lost(blame=False), now)
            return
        stream.link = link
        link.enter(stream, now)
        self._flusher.soon()
        self._alarms.set(stream, check_at(stream, self._patience))

    def _move_on(self, stream: Stream, step: Ask | Wait, now: float) -> None:
        self._leave(stream, step.leave, now)
        stream.excluded = step.excluded
        if step.resumed:
            stream.resume(now)

    def _leave(self, stream: Stream, leave: Leave | None, now: float) -> None:
        """End the attempt; what its engine still says finds nobody."""
        if leave is None or stream.lease is None:
            return
        if stream.link is not None:
            stream.link.leave(stream, cancel=leave.cancel)
        if self._control is not None:
            self._control.release(stream.release(leave.outcome, now))
        stream.longest_gap_s = max(stream.longest_gap_s, stream.max_gap_s)
        stream.lease = stream.link = None
        if leave.cancel:
            self._flusher.soon()
        else:
            self._flusher.after_answers()

    def _end(self, stream: Stream, step: End, now: float) -> None:
        self._leave(stream, step.leave, now)
        self._routes.pop(stream.route_id, None)
        stream.state = State.ENDED
        del self._streams[stream.request_id]
        self._alarms.discard(stream)
        if not self._streams:
            self._idle.set()
        if self._observer is not None:
            self._observer.ended(stream.summary(step.end, now))
        try:
            stream.sink.on_end(step.end)
        except Exception:
            log.exception("the receiver of %s failed at its end", stream.request_id)
        self._next_suspect(stream, now)

    def _next_suspect(self, stream: Stream, now: float) -> None:
        following = self._suspects.clear(stream)
        if following is not None and following.state is State.WAITING:
            self._ask(following, now)

    def _link(self, engine: EngineUp | Lease) -> EngineLink | None:
        """The link to an incarnation of an engine; None if a newer one is known."""
        link = self._links.get(engine.engine_id)
        if link is not None and link.incarnation < engine.incarnation:
            self.on_link_lost(link, "it was restarted")
            link = None
        if link is None:
            link = self._links[engine.engine_id] = EngineLink(
                self._context,
                self._identity,
                engine.engine_id,
                engine.incarnation,
                engine.endpoint,
                self,
            )
        return link if link.incarnation == engine.incarnation else None

    def _refusal(self, request: GenerationRequest) -> ServingError | None:
        if self._closed:
            return Draining("the server is stopping; try again elsewhere or later")
        if self._fleet.known and not self._fleet.has(request.model):
            text = f"the model '{clipped(request.model)}' does not exist"
            return ModelNotFound(text, param="model")
        session = request.session or ""
        if not session.isascii() and any("\ud800" <= it <= "\udfff" for it in session):
            return InvalidRequest("the session is not valid text", param="session")
        return None

    def _refuse(self, stream: Stream, refusal: ServingError) -> None:
        if stream.state is not State.ENDED:
            self._end(stream, End(refusal), time.monotonic())

    def _release_unused(self, lease: Lease) -> None:
        if self._control is not None:
            self._control.give_back(lease)
            self._flusher.soon()

    # Time and batches.

    def _flush(self) -> None:
        for link in list(self._links.values()):
            link.flush()
        if self._control is not None:
            self._control.flush()

    def _look(self, stream: Stream, now: float) -> None:
        link, others_up = stream.link, False
        if link is not None:
            stream.heard_at = link.heard_at
            others_up = self._fleet.has_other(stream.request.model, link.engine_id)
        self._apply(stream, Tick(self._patience, others_up), now)
