"""What is refused before there is a whole request."""

from collections.abc import Mapping

from gateway.http.server.exchange import Response


class Refused(Exception):
    """What is answered before there is a whole request; the connection ends with it.

    `response`: the answer itself, where it is known already.
    """

    def __init__(
        self,
        status: int,
        message: str,
        response: Response | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.response = response
        self.headers = headers or {}


# A new one each time: an exception keeps the frames that it was raised through.


def malformed() -> Refused:
    """What is no HTTP that we speak."""
    return Refused(400, "this is not a well-formed HTTP request, or its head is too large")


def large_head() -> Refused:
    """Of its lines, one or all together."""
    return Refused(431, "the head of the request is too large")


def too_large() -> Refused:
    """The body of a request."""
    return Refused(413, "the request body is too large")


def too_many() -> Refused:
    """Bodies that are held already."""
    text = "the server holds as many large request bodies as it can; try again in a moment"
    return Refused(503, text, headers={"Retry-After": "1"})
