"""ZeroMQ sockets on an asyncio loop, read through their file descriptors.

The descriptor only tells that something changed (it is edge-triggered), and any call on the socket
may swallow that notice. So a wake-up reads until nothing is left, and every send looks whether it
swallowed one. Everything here runs on the loop's thread.
"""

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

import zmq

from transport.sockets import dealer

FRAMES_PER_WAKEUP = 64
# Plain ints: the enums of pyzmq cost more than the calls they go into.
_EVENTS, _FD, _NOBLOCK = int(zmq.EVENTS), int(zmq.FD), int(zmq.NOBLOCK)
_POLLIN, _POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
_CONNECTED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_WATCHED = int(
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECT_RETRIED
)

T = TypeVar("T")
Socket = zmq.Socket[bytes]
log = logging.getLogger(__name__)


class LoopSocket(Generic[T]):
    """Gives what `receive` reads to `on_message`, at most `FRAMES_PER_WAKEUP` in one loop turn,
    and calls `on_read` when these were all for now.

    `receive` is the socket's `recv`, or `recv_multipart` where messages have several frames.
    """

    def __init__(
        self,
        socket: Socket,
        receive: Callable[[int], T],
        on_message: Callable[[T], None],
        on_read: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._receive = receive
        self._on_message = on_message
        self._on_read = on_read
        self._scheduled = False
        self._closed = False
        self._fd = int(socket.getsockopt(_FD))
        self._loop.add_reader(self._fd, self._read)
        self._schedule()

    def send(self, frame: bytes) -> None:
        """Send without waiting.

        Raises:
            zmq.Again: nobody is there, or the queue is full.
        """
        try:
            self._socket.send(frame, _NOBLOCK)
        except zmq.Again:
            # A connection made in the last millisecond may not have been noticed yet.
            if not self._events() & _POLLOUT:
                raise
            self._socket.send(frame, _NOBLOCK)
        finally:
            if self._events() & _POLLIN:
                self._schedule()

    def send_frames(self, frames: list[bytes]) -> None:
        """Send a message of several frames without waiting, as a ROUTER does.

        Raises:
            zmq.Again: the peer's queue is full.
            zmq.ZMQError: the peer is gone (EHOSTUNREACH).
        """
        try:
            self._socket.send_multipart(frames, _NOBLOCK)
        finally:
            if self._events() & _POLLIN:
                self._schedule()

    def drain(self) -> None:
        """Read all there is, now."""
        while not self._closed and self._events() & _POLLIN:
            self._read_one()

    def close(self) -> None:
        """Stop reading; the socket itself is left open. May be called from `on_message`."""
        self._closed = True
        self._loop.remove_reader(self._fd)

    def _events(self) -> int:
        return int(self._socket.getsockopt(_EVENTS))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._scheduled = False
        self._read()

    def _read(self) -> None:
        for count in range(FRAMES_PER_WAKEUP):
            if self._closed or not self._events() & _POLLIN:
                if count:
                    self._on_read()
                return
            self._read_one()
        self._on_read()
        self._schedule()

    def _read_one(self) -> None:
        try:
            self._on_message(self._receive(_NOBLOCK))
        except zmq.Again:
            return
        except Exception:
            log.exception("a message could not be handled")


class LoopDealer:
    """A DEALER that says when its peer comes and goes.

    `on_disconnected` is called when a connection broke and when a try to connect failed; ZeroMQ
    goes on trying until `close`.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        endpoint: str,
        identity: str,
        *,
        on_frame: Callable[[bytes], None],
        on_read: Callable[[], None] = lambda: None,
        on_connected: Callable[[], None],
        on_disconnected: Callable[[], None],
        keep: bool = False,
    ) -> None:
        """`keep`: for endpoints that no successor of the peer binds. What the peer said last can
        be read when its connection is gone; without, it is lost if it was not read before."""
        self.connected = False
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._socket = dealer(context, endpoint, identity, keep=keep, watch=_WATCHED)
        self._monitor: Socket = self._socket.get_monitor_socket()
        self._messages = LoopSocket(self._socket, self._socket.recv, on_frame, on_read)
        self._notices = LoopSocket(self._monitor, self._monitor.recv_multipart, self._notice)
        self._closed = False

    def send(self, frame: bytes) -> None:
        """Send without waiting.

        Raises:
            zmq.Again: nobody is there, or the queue is full.
        """
        self._messages.send(frame)

    def drain(self) -> None:
        """Read all there is, now."""
        self._messages.drain()

    def close(self, linger_ms: int = 0) -> None:
        """Close for good, sending what waits for at most `linger_ms`; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self.connected = False
        self._messages.close()
        self._notices.close()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=linger_ms)

    def _notice(self, frames: list[bytes]) -> None:
        event = int.from_bytes(frames[0][:2], sys.byteorder)
        self.connected = event == _CONNECTED
        if self.connected:
            self._on_connected()
        else:
            self._on_disconnected()
