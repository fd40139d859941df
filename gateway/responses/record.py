"""What is kept of a response."""

from collections.abc import Callable

from msgspec import Struct, structs

from gateway.responses.items import Item
from gateway.responses.shapes import ErrorShape, ResponseObject

ORPHANED = ErrorShape("server_error", "the server process that worked on this response is gone")


class Record(Struct, frozen=True, kw_only=True):
    """A response, and all that was said before it: it is continued without looking further back.

    `session` keeps a conversation where its prefixes are stored: what clients say, else the id of
    its first response. `owner` is the process that works on it in the background, by the name of
    its `Presence`.
    """

    response: ResponseObject
    history: list[Item]
    input: list[Item]
    session: str | None = None
    owner: str = ""
    replayable: bool = False  # its events are kept, too

    @property
    def running(self) -> bool:
        """Whether somebody works on it."""
        return self.response.status == "in_progress"

    @property
    def items(self) -> list[Item]:
        """All of the conversation so far."""
        return [*self.history, *self.input, *self.response.output]


Change = Callable[[Record], Record | None]  # None: leave it as it is


def orphaned(record: Record) -> Record | None:
    """The response of an owner that died."""
    return _ended(record, structs.replace(record.response, status="failed", error=ORPHANED))


def cancelled(record: Record) -> Record | None:
    """The response when it is no longer wanted; one that is over stays as it is."""
    return _ended(record, structs.replace(record.response, status="cancelled"))


def finished(final: ResponseObject) -> Change:
    """The end of a response, unless it was cancelled meanwhile."""
    return lambda record: _ended(record, final)


def _ended(record: Record, final: ResponseObject) -> Record | None:
    return structs.replace(record, response=final) if record.running else None
