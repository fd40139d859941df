"""A stream of server-sent events on its way to a client."""

import asyncio

_LAST_CHUNK = b"0\r\n\r\n"


class Events:
    """Writes to the transport, which sends what one loop turn wrote in one piece; an `EventSink`.

    Without `chunked` (HTTP/1.0) the end of the connection is the end of the stream.
    """

    def __init__(
        self, transport: asyncio.Transport, *, chunked: bool, max_unsent_bytes: int
    ) -> None:
        self.closed = False
        self.stalled = False  # the client reads more slowly than we write
        self.chunked = chunked
        self._transport, self._send = transport, transport.write
        self._max_unsent_bytes = max_unsent_bytes

    def write(self, data: bytes) -> None:
        """See `EventSink`."""
        if self.closed or not data:
            return
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        if self.stalled and self._transport.get_write_buffer_size() > self._max_unsent_bytes:
            self.closed = True
            self._transport.abort()

    def end(self) -> None:
        """See `EventSink`."""
        if not self.closed:
            self.closed = True
            if self.chunked and not self._transport.is_closing():
                self._transport.write(_LAST_CHUNK)
