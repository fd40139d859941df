"""The child's side of its lifeline to the supervisor.

A socket pair, framed by length. One thread reads it, a second calls back, a third sends
heartbeats, so none waits for the child's work. When the supervisor is gone, `on_orphaned` runs with
a grace period and then the process ends: a child never outlives its parent.
"""

import contextlib
import logging
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from config.errors import ProtocolError
from config.load_faults import LoadFault
from transport.codec import Codec
from transport.endpoints import RuntimeDirectory
from transport.messages.lifeline import (
    Announce,
    Drain,
    Drained,
    FromChild,
    Heartbeat,
    Loading,
    LoadModel,
    ModelAbsent,
    ModelBack,
    News,
    Ready,
    Removed,
    Scalar,
    Start,
    StartFailed,
    Stop,
    Suspect,
    ToChild,
    UnloadModel,
    WantsRecycling,
)

ORPHAN_GRACE_S = 2.5  # with what it takes to notice, children are gone within 5 s
ORPHAN_EXIT_CODE = 75
MAX_LIFELINE_BYTES = 1024 * 1024
_LENGTH = struct.Struct("!I")

to_child: Codec[ToChild] = Codec(ToChild, max_bytes=MAX_LIFELINE_BYTES)
from_child: Codec[FromChild] = Codec(FromChild, max_bytes=MAX_LIFELINE_BYTES)
log = logging.getLogger(__name__)


def frame(payload: bytes) -> bytes:
    """A payload with its length in front."""
    return _LENGTH.pack(len(payload)) + payload


class FrameBuffer:
    """Cuts a byte stream back into payloads."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that `data` completed.

        Raises:
            ProtocolError: a length over the limit; the stream cannot be read any further.
        """
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MAX_LIFELINE_BYTES:
                raise ProtocolError(f"frame of {length} bytes on a lifeline")
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            payload = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield payload


class Lifeline:
    """What a child knows of itself and says to its supervisor; every method is thread-safe.

    From `watch` on it notices that the supervisor is gone; what the supervisor says waits for
    `listen`. Set the `on_...` callbacks before; they run in threads of the lifeline and must
    return at once.
    """

    def __init__(self, sock: socket.socket, start: Start) -> None:
        self.child_id = start.child_id
        self.incarnation = start.incarnation
        self.fds = start.fds
        self.heartbeat_s = start.heartbeat_s
        self.log_level = start.log_level
        self.runtime = RuntimeDirectory(Path(start.runtime_dir))
        self.on_announce: Callable[[News], None] = lambda _: None
        self.on_drain: Callable[[float], None] = lambda _: None
        self.on_stop: Callable[[float], None] = lambda _: None
        self.on_orphaned: Callable[[], None] = lambda: None
        self._sock = sock
        self._send_lock = threading.Lock()
        self._heard: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # None: the end
        self._watching = False
        self._facts_lock = threading.Lock()
        self._facts: dict[str, Scalar] = {}
        self._busy = False
        self._progress = 0
        self._progress_at = time.monotonic()
        self._closed = threading.Event()

    def watch(self) -> None:
        """Start reading, before there is anyone to call back; once, in the child's main thread."""
        self._watching = True
        threading.Thread(target=self._read, name="lifeline-read", daemon=True).start()

    def listen(self) -> None:
        """Start calling back, with what was said so far first, and sending heartbeats."""
        if not self._watching:
            self.watch()
        threading.Thread(target=self._call_back, name="lifeline-calls", daemon=True).start()
        threading.Thread(target=self._beat, name="lifeline-beat", daemon=True).start()

    def stop_within(self, timeout_s: float) -> None:
        """As if the supervisor had said so."""
        self._heard.put(to_child.encode(Stop(timeout_s)))

    def loading(self, stage: str, fraction: float | None = None) -> None:
        """Tell people what takes so long; counts as progress."""
        self.progress()
        self._send(Loading(stage, fraction))

    def ready(self, facts: dict[str, Scalar]) -> None:
        """The child does its work from now on."""
        with self._facts_lock:
            self._facts = dict(facts)
        self._send(Ready(facts))

    def start_failed(self, code: str, message: str, fault: LoadFault = "other") -> None:
        """Say why this child cannot start, before it exits with non-zero."""
        self._send(StartFailed(code, message, fault))

    def drained(self) -> None:
        """Answer to `on_drain`: nothing is left."""
        self._send(Drained())

    def suspect(self, child_id: str, incarnation: int, reason: str) -> None:
        """Accuse a sibling that owes work and is silent."""
        self._send(Suspect(child_id, incarnation, reason))

    def load_model(self, model: str) -> None:
        """Have the engines of a model of the configuration started; for control."""
        self._send(LoadModel(model))

    def unload_model(self, model: str) -> None:
        """Have the engines of a model finish what they have and end; for control."""
        self._send(UnloadModel(model))

    def recycle(self, reason: str) -> None:
        """Ask to be replaced by a fresh process; streams go on there."""
        self._send(WantsRecycling(reason))

    def progress(self) -> None:
        """One step of work is done. Cheap; call it from the work loop."""
        self._progress += 1
        self._progress_at = time.monotonic()

    def busy(self, busy: bool) -> None:
        """Whether there is work; a busy child without progress is stalled."""
        if busy and not self._busy:
            self._progress_at = time.monotonic()
        self._busy = busy

    def facts(self, **changed: Scalar) -> None:
        """Change facts that `admin status` shows; they travel with the next heartbeat."""
        with self._facts_lock:
            self._facts = self._facts | changed

    def close(self) -> None:
        """End of the child's work; the supervisor is no longer heard."""
        self._closed.set()
        self._heard.put(None)

    def _send(self, message: FromChild) -> None:
        data = frame(from_child.encode(message))
        with self._send_lock, contextlib.suppress(OSError):
            self._sock.sendall(data)

    def _beat(self) -> None:
        while not self._closed.wait(self.heartbeat_s):
            # Read first: work that begins now must not be reported with the age of the idle time.
            busy = self._busy
            age = time.monotonic() - self._progress_at
            self._send(Heartbeat(busy, self._progress, age, self._facts))

    def _read(self) -> None:
        buffer = FrameBuffer()
        while data := self._receive():
            try:
                for payload in buffer.feed(data):
                    self._heard.put(payload)
            except ProtocolError as error:
                log.error("the lifeline cannot be read any further: %s", error)
                break
        self._orphaned()

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(65536)
        except OSError:
            return b""

    def _call_back(self) -> None:
        while (payload := self._heard.get()) is not None:
            self._handle(payload)

    def _handle(self, payload: bytes) -> None:
        try:
            self._dispatch(to_child.decode(payload))
        except Exception:  # a failing callback must not make the child deaf to its supervisor
            log.exception("a message on the lifeline was not handled")

    def _dispatch(self, message: ToChild) -> None:
        if self._closed.is_set():
            return
        match message:
            case Announce() | Removed() | ModelAbsent() | ModelBack():
                self.on_announce(message)
            case Drain(timeout_s):
                self.on_drain(timeout_s)
            case Stop(timeout_s):
                self.on_stop(timeout_s)
            case Start():
                raise ProtocolError("a second start on a lifeline")

    def _orphaned(self) -> None:
        if self._closed.is_set():
            return
        log.error("the supervisor is gone; ending")
        threading.Thread(target=self.on_orphaned, name="orphaned", daemon=True).start()
        time.sleep(ORPHAN_GRACE_S)
        os._exit(ORPHAN_EXIT_CODE)


def accept_start(sock: socket.socket) -> Start:
    """Read the first message of a lifeline, in the child, before anything else.

    Raises:
        ProtocolError: the stream ended or began with something else.
    """
    header = _receive_exactly(sock, _LENGTH.size)
    (length,) = _LENGTH.unpack(header)
    if length > MAX_LIFELINE_BYTES:
        raise ProtocolError(f"frame of {length} bytes on a lifeline")
    message = to_child.decode(_receive_exactly(sock, length))
    if not isinstance(message, Start):
        raise ProtocolError(f"a lifeline begins with start, not {type(message).__name__}")
    return message


def _receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise ProtocolError("the lifeline ended before its first message")
        data += chunk
    return data
