"""ZeroMQ sockets with the options we mean; one owner thread each.

Queues are bounded, a ROUTER says when nobody is there (MANDATORY), a successor with the same
identity takes over (HANDOVER), a DEALER keeps nothing for a dead peer (IMMEDIATE), and closing
waits for no one unless told.
"""

from collections.abc import Iterator
from pathlib import Path

import zmq

from transport.codec import MAX_FRAME_BYTES

QUEUE_MESSAGES = 10_000
MOST_AT_ONCE = 1000
LINGER_MS = 500
CONNECT_TIMEOUT_MS = 2000
# Plain ints: the enums of pyzmq cost more than the calls they go into.
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


def _base(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    return socket


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    socket.bind(endpoint)
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).chmod(0o600)


def router(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, *, max_bytes: int = MAX_FRAME_BYTES
) -> zmq.Socket[bytes]:
    """A bound ROUTER; sending to a peer that is gone raises `zmq.ZMQError` (EHOSTUNREACH).

    A peer that sends a frame over `max_bytes` is disconnected.
    """
    socket = _base(context, zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    _bind(socket, endpoint)
    return socket


def dealer(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoint: str,
    identity: str,
    *,
    keep: bool = False,
    watch: int = 0,
) -> zmq.Socket[bytes]:
    """A connected DEALER; with nobody there a send raises `zmq.Again` at once.

    `keep`: messages wait for the peer to appear instead. Only for endpoints that no successor of
    the peer will ever bind. `watch`: the monitor events that `get_monitor_socket()` gives, from
    the first on.
    """
    socket = _base(context, zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, identity.encode())
    socket.setsockopt(zmq.IMMEDIATE, 0 if keep else 1)
    socket.setsockopt(zmq.SNDTIMEO, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, CONNECT_TIMEOUT_MS)
    if watch:
        socket.get_monitor_socket(watch)
    socket.connect(endpoint)
    return socket


def publisher(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    """A bound PUB; slow subscribers lose messages."""
    socket = _base(context, zmq.PUB)
    _bind(socket, endpoint)
    return socket


def subscriber(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    """A connected SUB that wants everything."""
    socket = _base(context, zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.connect(endpoint)
    return socket


def peer_name(child_id: str, incarnation: int) -> str:
    """What a child is called as a peer: its DEALER identity, and how engines are excluded."""
    return f"{child_id}#{incarnation}"


def arrived(socket: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    """The messages that wait to be read, without waiting for more.

    At most `MOST_AT_ONCE`, so that a peer that floods a thread does not keep it from sending.
    """
    for _ in range(MOST_AT_ONCE):
        if not int(socket.getsockopt(_EVENTS)) & _POLLIN:  # costs less than the exception
            return
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
