"""The bodies of requests while they come, and the room that large ones take until answered."""

from gateway.http.server.limits import Limits
from gateway.http.server.refused import too_large, too_many


class Bodies:
    """What all connections may hold of large bodies together."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_bytes = limit_bytes
        self.refused = 0  # since somebody set it to 0

    def take(self, count: int) -> None:
        """Take room.

        Raises:
            Refused: there is not so much.
        """
        if count > self.left_bytes:
            self.refused += 1
            raise too_many()
        self.left_bytes -= count

    def give_back(self, count: int) -> None:
        """So much is free again."""
        self.left_bytes += count


class Body:
    """The body that one connection reads, then the next one.

    Nobody asks for room for what is small, so that it costs nothing.
    """

    def __init__(self, limits: Limits, bodies: Bodies) -> None:
        self._bodies = bodies
        self._free_bytes = min(limits.free_body_bytes, limits.body_bytes)
        self._limit_bytes = limits.body_bytes
        self._taken_bytes = 0  # for this one, and for those that wait for their answers
        self._next()

    def _next(self) -> None:
        self._data: bytes | bytearray = b""
        self._allowed_bytes = self._free_bytes

    def add(self, part: bytes) -> bool:
        """Keep a part; False: it is more than is allowed, so that `grow` has to follow."""
        if not self._data:
            self._data = part  # most are whole
        elif isinstance(self._data, bytearray):
            self._data += part
        else:
            self._data = bytearray(self._data + part)
        return len(self._data) <= self._allowed_bytes

    @property
    def is_large(self) -> bool:
        """Whether it has grown before."""
        return self._allowed_bytes > self._free_bytes

    def grow(self) -> None:
        """Take room for what was added, and for some more.

        Raises:
            Refused: it is too large, or there is no room.
        """
        size = len(self._data)
        if size > self._limit_bytes:
            raise too_large()
        allowed_bytes = min(size + self._free_bytes, self._limit_bytes)
        more = allowed_bytes - self._allowed_bytes
        self._bodies.take(more)
        self._taken_bytes += more
        self._allowed_bytes = allowed_bytes

    def whole(self) -> tuple[bytes, int]:
        """All of it, as it has ended, and what is to be given back when it is not needed more."""
        found = bytes(self._data), self._allowed_bytes - self._free_bytes
        self._next()
        return found

    def drop(self) -> None:
        """Forget what there is of one that will not end."""
        self.give_back(self._allowed_bytes - self._free_bytes)
        self._next()

    def drop_all(self) -> None:
        """Give back the room of those that wait for their answers as well: nobody will read them.

        What their requests give back later has no effect.
        """
        self.drop()
        self.give_back(self._taken_bytes)

    def give_back(self, count: int) -> None:
        """Room that a body took."""
        count = min(count, self._taken_bytes)
        self._taken_bytes -= count
        self._bodies.give_back(count)
