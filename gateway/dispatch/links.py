"""The gateway's connections: one to control, one to each engine; all on the event loop."""

import logging
import time
from collections.abc import Iterator
from typing import Protocol

import zmq

from config.errors import ProtocolError
from gateway.dispatch.admissions import Admissions
from gateway.dispatch.stream import Stream
from transport.asyncio_socket import LoopDealer, LoopSocket
from transport.codec import Codec
from transport.messages.control import (
    Admitted,
    FromControl,
    Hello,
    Lease,
    LeaseBatch,
    Refusal,
    Release,
    Route,
    RouteBatch,
    ToControl,
    Wanted,
)
from transport.messages.data import (
    Batch,
    Cancel,
    Embed,
    Embedded,
    Ended,
    FromEngine,
    Item,
    Pin,
    StepOutput,
    ToEngine,
)
from transport.messages.topology import Snapshot, Topology
from transport.sockets import peer_name, subscriber

MAX_BATCH_TOKENS = 1_000_000  # at most 5 bytes each, far below the limit of a frame
MAX_RELEASES = 10_000
MAX_CANCELLED = 10_000
LINGER_MS = 200
WANT_EVERY_S = 1.0

Socket = zmq.Socket[bytes]
log = logging.getLogger(__name__)
_to_engine: Codec[ToEngine] = Codec(ToEngine)
_from_engine: Codec[FromEngine] = Codec(FromEngine)
_to_control: Codec[ToControl] = Codec(ToControl)
_from_control: Codec[FromControl] = Codec(FromControl)
_topology: Codec[Topology] = Codec(Topology)


class EngineOwner(Protocol):
    """Whom an engine link tells."""

    def on_first_token(self, stream: Stream, now: float) -> None:
        """The first token of an attempt; its delta follows."""

    def on_ended(self, stream: Stream, ended: Ended, now: float) -> None:
        """The engine is done with the stream."""

    def on_sink_failed(self, stream: Stream) -> None:
        """The stream's sink raised; nobody listens to it any more."""

    def on_link_lost(self, link: "EngineLink", reason: str) -> None:
        """The engine's connection broke, was refused or takes no more."""

    def on_read(self) -> None:
        """All that came with one wake-up was told."""


class EngineLink:
    """The way to one incarnation of an engine, and the streams that are there."""

    def __init__(
        self,
        context: zmq.Context[Socket],
        identity: str,
        engine_id: str,
        incarnation: int,
        endpoint: str,
        owner: EngineOwner,
    ) -> None:
        self.engine_id = engine_id
        self.incarnation = incarnation
        self.name = peer_name(engine_id, incarnation)
        self.streams: dict[str, Stream] = {}  # by attempt id
        self.heard_at = time.monotonic()
        self.outgoing: list[Item] = []
        self._cancelled: dict[str, None] = {}  # the last ones, in order
        self._owner = owner
        self._dealer = LoopDealer(
            context,
            endpoint,
            identity,
            on_frame=self._on_frame,
            on_read=owner.on_read,
            on_connected=self.flush,
            on_disconnected=lambda: owner.on_link_lost(self, "the connection broke"),
            keep=True,
        )

    def flush(self) -> None:
        """Send what was put into `outgoing`, as one message; before the connection stands, wait."""
        if not self.outgoing or not self._dealer.connected:
            return
        outgoing, self.outgoing = self.outgoing, []  # out first, as in `ControlLink.flush`
        try:
            for items in _batches(outgoing):
                self._dealer.send(_to_engine.encode(Batch(items)))
                self._reached(items)
        except zmq.Again:
            self._owner.on_link_lost(self, "it takes no messages")

    def last_words(self) -> None:
        """Read what already arrived."""
        self._dealer.drain()

    def enter(self, stream: Stream, now: float) -> None:
        """Give the engine a stream whose attempt just began, with the next flush."""
        self.streams[stream.attempt_id] = stream
        self.outgoing.append(stream.order(now))

    def leave(self, stream: Stream, *, cancel: bool) -> None:
        """The attempt is over; `cancel`: the engine does not know it yet."""
        del self.streams[stream.attempt_id]
        if not stream.reached:
            self.outgoing = [i for i in self.outgoing if _request_id(i) != stream.attempt_id]
        elif cancel:
            self._cancel(stream.attempt_id)

    def close(self, linger_ms: int = 0) -> None:
        """Close for good."""
        self._dealer.close(linger_ms)

    def _cancel(self, attempt_id: str) -> None:
        """With the next flush; once, however much the engine still says about it."""
        if attempt_id in self._cancelled:
            return
        self._cancelled[attempt_id] = None
        if len(self._cancelled) > MAX_CANCELLED:
            del self._cancelled[next(iter(self._cancelled))]
        self.outgoing.append(Cancel(attempt_id))

    def _reached(self, items: list[Item]) -> None:
        for item in items:
            stream = self.streams.get(_request_id(item))
            if stream is not None:
                stream.reached = True

    def _on_frame(self, frame: bytes) -> None:
        try:
            output = _from_engine.decode(frame)
        except ProtocolError as error:
            log.warning("dropped a frame of %s: %s", self.name, error)
            return
        if output.incarnation == self.incarnation and output.engine_id == self.engine_id:
            self._on_output(output)
        elif output.engine_id == self.engine_id and output.incarnation > self.incarnation:
            self._owner.on_link_lost(self, "a newer incarnation answers")

    def _on_output(self, output: StepOutput) -> None:
        now = self.heard_at = time.monotonic()
        streams = self.streams
        unwanted = False
        for delta in output.deltas:
            stream = streams.get(delta.request_id)
            if stream is None:  # this connection broke once, and the engine did not notice
                unwanted = True
                self._cancel(delta.request_id)
                continue
            if not delta.tokens:
                continue
            if stream.first_at is None:
                self._owner.on_first_token(stream, now)
            try:
                stream.receive(delta.tokens, now, delta.logprobs, delta.cached_tokens)
            except Exception:
                log.exception("the receiver of %s failed", stream.request_id)
                self._owner.on_sink_failed(stream)
        for ended in output.ended:
            stream = streams.get(ended.request_id)
            if stream is not None:
                if isinstance(ended, Embedded):  # all of it at once, so its first sign as well
                    self._owner.on_first_token(stream, now)
                self._owner.on_ended(stream, ended, now)
        if unwanted:
            self.flush()


class ControlOwner(Protocol):
    """Whom the control link tells."""

    admissions: Admissions

    def on_control_connected(self) -> None:
        """Control is there and knows no route of ours."""

    def on_answers(self, answers: list[Lease | Refusal]) -> None:
        """Leases and refusals."""

    def on_topology(self, message: Topology) -> None:
        """News of engines and models."""

    def on_read(self) -> None:
        """All that came with one wake-up was told."""


class ControlLink:
    """The way to one incarnation of control."""

    def __init__(
        self,
        context: zmq.Context[Socket],
        hello: Hello,
        control_endpoint: str,
        topology_endpoint: str,
        owner: ControlOwner,
    ) -> None:
        self._hello = hello
        self._owner = owner
        self._routes: list[Route] = []
        self._releases: list[Release] = []
        self._wanted: dict[str, float] = {}  # when it was said last
        self._dealer = LoopDealer(
            context,
            control_endpoint,
            peer_name(hello.child_id, hello.incarnation),
            on_frame=self._on_frame,
            on_read=owner.on_read,
            on_connected=self._on_connected,
            on_disconnected=self._on_disconnected,
        )
        self._subscriber = subscriber(context, topology_endpoint)
        self._news = LoopSocket(self._subscriber, self._subscriber.recv, self._on_news)

    @property
    def connected(self) -> bool:
        """Whether control can be asked."""
        return self._dealer.connected

    def route(self, route: Route) -> None:
        """Ask with the next flush. Without a connection the question is dropped: the owner asks
        all again when it hears that there is one."""
        if self.connected:
            self._routes.append(route)

    def release(self, release: Release) -> None:
        """Give a lease back with the next flush, or as soon as there is a connection."""
        if len(self._releases) < MAX_RELEASES:
            self._releases.append(release)

    def give_back(self, lease: Lease) -> None:
        """Release a lease that nobody used."""
        engine = lease.engine_id, lease.incarnation
        self.release(Release(lease.lease_id, *engine, "cancelled", ticket=lease.ticket))

    def want(self, model: str) -> None:
        """Tell at once that somebody waits for this model; at most once a second."""
        now = time.monotonic()
        said_at = self._wanted.get(model)
        if self.connected and (said_at is None or now - said_at >= WANT_EVERY_S):
            self._wanted[model] = now
            self._send(Wanted(model))

    def flush(self) -> None:
        """Send all routes and releases as one message."""
        if not self.connected or not (self._routes or self._releases):
            return
        # Taken out first: what cannot be encoded must not be tried for ever, before all others.
        routes, self._routes = self._routes, []
        releases, self._releases = self._releases, []
        if not self._send(RouteBatch(routes, releases)):
            self._routes, self._releases = routes, releases

    def close(self) -> None:
        """Close for good, what was sent still goes out."""
        self._owner.admissions.disconnected()
        self._dealer.close(LINGER_MS)
        self._news.close()
        self._subscriber.close(linger=0)

    def _send(self, message: ToControl) -> bool:
        try:
            self._dealer.send(_to_control.encode(message))
        except zmq.Again:  # its queue is full: with the next flush
            return False
        return True

    def _on_connected(self) -> None:
        self._send(self._hello)
        self._owner.admissions.connected(self._send)
        self._owner.on_control_connected()

    def _on_disconnected(self) -> None:
        self._routes.clear()
        self._owner.admissions.disconnected()

    def _on_frame(self, frame: bytes) -> None:
        try:
            message = _from_control.decode(frame)
        except ProtocolError as error:
            log.warning("dropped a frame of control: %s", error)
            return
        if isinstance(message, LeaseBatch):
            self._owner.on_answers(message.answers)
        elif isinstance(message, Snapshot):
            self._owner.on_topology(message)
        elif isinstance(message, Admitted | Refusal):
            self._owner.admissions.answered(message)

    def _on_news(self, frame: bytes) -> None:
        try:
            self._owner.on_topology(_topology.decode(frame))
        except ProtocolError as error:
            log.warning("dropped a frame of control: %s", error)


def _request_id(item: Item) -> str:
    return "" if isinstance(item, Pin) else item.request_id


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    tokens = 0
    for item in items:
        size = _size(item)
        if batch and tokens + size > MAX_BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(item)
        tokens += size
    yield batch


def _size(item: Item) -> int:
    """About how many tokens the rest of it is as long as, too."""
    if isinstance(item, Cancel):
        return 1
    if isinstance(item, Pin | Embed):
        return len(item.tokens)
    grammar = len(item.grammar.source) if item.grammar is not None else 0
    return len(item.tokens) + grammar + 3 * len(item.sampling.logit_bias)
