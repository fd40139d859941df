"""What is refused before there is a whole request."""

from gateway.http.server.exchange import Response


class Refused(Exception):
    """What is answered before there is a whole request; the connection ends with it.

    `response`: the answer itself, where it is known already.
    """

    def __init__(self, status: int, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.response = response


MALFORMED = Refused(400, "this is not a well-formed HTTP request, or its head is too large")
LARGE_HEAD = Refused(431, "the head of the request is too large")
TOO_LARGE = Refused(413, "the request body is too large")
