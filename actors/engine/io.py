"""The engine's I/O thread: owns its sockets, so that nothing here waits for the model.

What arrives is told to the engine actor; what the actor has to say comes through the outbox.
"""

import logging
import threading
from collections.abc import Callable

import zmq
from msgspec import Struct

from actors.base import Address
from actors.engine.inlet import Inlet
from config.errors import ProtocolError, ServingError
from transport.codec import Codec
from transport.messages.control import Budget, EngineHello, FromControl, ToControl, Warm
from transport.messages.data import Batch, Cancel, Failed, FromEngine, Pin, StepOutput, ToEngine
from transport.outbox import Outbox
from transport.sockets import arrived, dealer, peer_name, router

log = logging.getLogger(__name__)
_to_engine: Codec[ToEngine] = Codec(ToEngine)
_from_engine: Codec[FromEngine] = Codec(FromEngine)
_to_control: Codec[ToControl] = Codec(ToControl)
_from_control: Codec[FromControl] = Codec(FromControl)


class NewControl(Struct, frozen=True):
    """To the actor: a control process that knows nothing of us yet."""


class Send(Struct, frozen=True):
    """From the actor: to a gateway."""

    gateway: bytes
    output: StepOutput


class Report(Struct, frozen=True):
    """From the actor: to control, now; lost when control is away, which asks anew by its Hello."""

    message: ToControl


class UseControl(Struct, frozen=True):
    """From the lifeline: control lives here now."""

    endpoint: str


class Close(Struct, frozen=True):
    """The last one: send what is queued and end."""


ToIO = Send | Report | UseControl | Close


class EngineIO:
    """The thread, from `start` until a `Close` came through the outbox."""

    def __init__(
        self,
        hello: EngineHello,
        actor: Address[object],
        outbox: Outbox[ToIO],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Bind the data socket; `fail` is called in the thread when it ends by an error."""
        self._fail = fail
        self._hello = hello
        self._inlet = Inlet(actor)
        self._outbox = outbox
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._data = router(self._context, hello.endpoint)
        self._control: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        self._poller.register(self._data, zmq.POLLIN)
        self._poller.register(outbox.fileno(), zmq.POLLIN)
        self._thread = threading.Thread(target=self._run, name="engine-io", daemon=True)

    def start(self) -> None:
        """Begin; the data socket is bound already."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end after a `Close`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # an engine that nobody can reach must not live on
            log.exception("the engine's I/O thread failed")
            self._fail(error)

    def _serve(self) -> None:
        going = True
        while going:
            ready = dict(self._poller.poll())
            if self._data in ready:
                for parts in arrived(self._data):
                    self._receive(parts)
            if self._control is not None and self._control in ready:
                for parts in arrived(self._control):
                    self._receive_control(parts)
            for item in self._outbox.take():
                going = self._handle(item) and going
        self._data.close()
        if self._control is not None:
            self._control.close()
        self._context.term()

    def _handle(self, item: ToIO) -> bool:
        match item:
            case Send(gateway, output):
                self._send(gateway, output)
            case Report(message):
                self._tell_control(message)
            case UseControl(endpoint):
                self._use_control(endpoint)
            case Close():
                return False
        return True

    def _send(self, gateway: bytes, output: StepOutput) -> None:
        try:
            self._data.send_multipart([gateway, _from_engine.encode(output)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            # Gone (EHOSTUNREACH), or stuck with thousands of messages unread (EAGAIN), which its
            # supervisor ends as a stall.
            log.warning("gateway %s cannot be reached: %s", gateway.decode(errors="replace"), error)
            self._inlet.lose(gateway)

    def _use_control(self, endpoint: str) -> None:
        if self._control is not None:
            self._poller.unregister(self._control)
            self._control.close(linger=0)
        identity = peer_name(self._hello.engine_id, self._hello.incarnation)
        self._control = dealer(self._context, endpoint, identity, keep=True)
        self._poller.register(self._control, zmq.POLLIN)
        self._tell_control(self._hello)
        self._inlet.insist(NewControl())

    def _tell_control(self, message: ToControl) -> None:
        if self._control is None:
            return
        try:
            self._control.send(_to_control.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            log.debug("control is away; a report is lost")

    def _receive(self, parts: list[bytes]) -> None:
        try:
            gateway, frame = parts
            batch = _to_engine.decode(frame)
        except (ValueError, ProtocolError) as error:
            log.warning("dropped a bad frame on the data socket: %s", error)
            return
        refused = self._inlet.receive(gateway, batch)
        if refused is not None:
            self._send(gateway, self._refusal(batch, refused))

    def _refusal(self, batch: Batch, error: ServingError) -> StepOutput:
        ended = [
            Failed(item.request_id, error.code, error.message, error.retryable, 1.0)
            for item in batch.items
            if not isinstance(item, Cancel | Pin)
        ]
        return StepOutput(self._hello.engine_id, self._hello.incarnation, [], list(ended))

    def _receive_control(self, parts: list[bytes]) -> None:
        try:
            message = _from_control.decode(parts[0])
        except ProtocolError as error:
            log.warning("dropped a bad frame from control: %s", error)
            return
        if isinstance(message, Budget | Warm):
            self._inlet.insist(message)
