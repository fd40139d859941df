"""What the server asks of whoever knows the answers."""

from collections.abc import Awaitable
from typing import Protocol

from gateway.http.server.exchange import Request, Response
from gateway.http.server.refused import Refused


class Answers(Protocol):
    """What the server does with requests; raises nothing but cancellation."""

    def answer(self, request: Request) -> Awaitable[Response | None]:
        """The answer to a whole request; None: it was streamed."""

    def turn_away(self, request: Request) -> Response | None:
        """The answer to a request with a large body, of which not all is there, if nobody would
        read it; as always, `reply_headers` of the request go with it."""

    def refuse(self, request: Request, refused: Refused) -> Response:
        """The answer to what is none, as far as it was read; or is one that cannot be answered."""
