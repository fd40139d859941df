"""Errors as clients expect them; the one place that knows HTTP status codes."""

from http import HTTPStatus

import msgspec
from msgspec import UNSET, Struct, UnsetType

from config.errors import (
    AdmissionError,
    Cancelled,
    Draining,
    EngineError,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    RateLimited,
    RequestTimeout,
    ResponseNotFound,
    ServingError,
    TransportError,
    Unauthenticated,
)
from gateway.http.server.connection import Refused
from gateway.http.server.exchange import Response
from gateway.http.server.routes import Shape
from gateway.limits.headers import limit_headers

# The first class that fits counts: HTTP status, OpenAI's type, Anthropic's type.
_STATUS: tuple[tuple[type[ServingError], int, str, str], ...] = (
    (ModelNotFound, 404, "invalid_request_error", "not_found_error"),
    (ResponseNotFound, 404, "invalid_request_error", "not_found_error"),
    (InvalidRequest, 400, "invalid_request_error", "invalid_request_error"),
    (Unauthenticated, 401, "invalid_request_error", "authentication_error"),
    (Forbidden, 403, "permission_error", "permission_error"),
    (QueueFull, 429, "rate_limit_error", "rate_limit_error"),
    (RateLimited, 429, "rate_limit_error", "rate_limit_error"),
    (RequestTimeout, 504, "timeout_error", "timeout_error"),
    (Cancelled, 499, "cancelled", "api_error"),
    (AdmissionError, 503, "service_unavailable_error", "overloaded_error"),
    (EngineError, 503, "service_unavailable_error", "overloaded_error"),
    (TransportError, 503, "service_unavailable_error", "overloaded_error"),
)
_UNAVAILABLE = (503, "service_unavailable_error", "overloaded_error")
_INTERNAL = (500, "server_error", "api_error")
# Of what no handler saw: OpenAI's type, Anthropic's type.
_REFUSED = ("invalid_request_error", "invalid_request_error")
_REFUSED_AS = {
    404: ("invalid_request_error", "not_found_error"),
    413: ("invalid_request_error", "request_too_large"),
    503: _UNAVAILABLE[1:],
}
_encode = msgspec.json.Encoder().encode


class ErrorBody(Struct, frozen=True):
    """The object under `error`."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(Struct, frozen=True):
    """The whole body, as OpenAI has it."""

    error: ErrorBody


class AnthropicErrorBody(Struct, frozen=True):
    """The object under `error`."""

    type: str
    message: str


class AnthropicErrorReply(Struct, frozen=True, tag="error"):
    """The whole body, as Anthropic has it; the events of its streams leave `request_id` out.

    Source: https://docs.anthropic.com/en/api/errors.
    """

    error: AnthropicErrorBody
    request_id: str | UnsetType = UNSET


def status_of(error: ServingError) -> int:
    """HTTP status of an error."""
    return told(error)[0]


def told(error: ServingError) -> tuple[int, str, str]:
    """HTTP status, and the type of the error to clients of OpenAI and of Anthropic."""
    for kind, status, label, anthropic in _STATUS:
        if isinstance(error, kind):
            return status, label, anthropic
    return _UNAVAILABLE if error.retryable else _INTERNAL


def public_message(error: ServingError) -> str:
    """What a client may read of an error; what went wrong inside is for the log only."""
    return "the server had an internal error" if status_of(error) == 500 else error.message


def error_body(error: ServingError, shape: Shape = "openai", request_id: str = "") -> bytes:
    """The JSON that tells of an error; `request_id` is for the shape that has it."""
    _, label, anthropic = told(error)
    message = public_message(error)
    if shape == "anthropic":
        if error.param and error.param not in message:  # which has no field of its own there
            message = f"{error.param}: {message}"
        return _anthropic_body(anthropic, message, request_id)
    return _encode(ErrorReply(ErrorBody(message, label, error.param, error.code)))


def error_event(error: ServingError, shape: Shape = "openai") -> bytes:
    """The event that tells of an error, once a stream has begun."""
    name = b"event: error\n" if shape == "anthropic" else b""
    return b"%bdata: %b\n\n" % (name, error_body(error, shape))


def error_response(error: ServingError, shape: Shape = "openai", request_id: str = "") -> Response:
    """The answer that tells of an error, before anything else was sent."""
    headers = {**limit_headers(error)}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = error_body(error, shape, request_id)
    return Response(body, status_of(error), headers, close=isinstance(error, Draining))


def http_refusal(refused: Refused, shape: Shape = "openai", request_id: str = "") -> Response:
    """What is refused before any handler saw it, in our shape."""
    label, anthropic = _REFUSED_AS.get(refused.status, _REFUSED)
    if shape == "anthropic":
        body = _anthropic_body(anthropic, refused.message, request_id)
    else:
        code = HTTPStatus(refused.status).phrase.lower().replace(" ", "_")
        body = _encode(ErrorReply(ErrorBody(refused.message, label, None, code)))
    return Response(body, refused.status, refused.headers)


def _anthropic_body(kind: str, message: str, request_id: str) -> bytes:
    return _encode(AnthropicErrorReply(AnthropicErrorBody(kind, message), request_id or UNSET))
