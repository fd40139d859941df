"""Refusals of what no handler saw, in the shapes of both APIs."""

import json

import pytest

from config.errors import (
    Draining,
    EngineFailed,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    RequestTimeout,
    ServingError,
    Unauthenticated,
)
from gateway.http.errors import error_response, http_refusal
from gateway.http.server.connection import Limits
from gateway.http.server.refused import Refused, too_many
from tests.gateway.http.raw import exchange, status

HEAD = b"%b /v1/messages%b HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (408, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (417, "invalid_request_error"),
        (431, "invalid_request_error"),
        (501, "invalid_request_error"),
        (503, "overloaded_error"),
        (505, "invalid_request_error"),
    ],
)
def test_to_clients_of_anthropic_a_refusal_has_a_type_that_they_know(code, kind):
    response = http_refusal(Refused(code, "why", headers={"A": "b"}), "anthropic")
    assert (response.status, response.headers) == (code, {"A": "b"})
    told = json.loads(response.body)
    assert told == {"type": "error", "error": {"type": kind, "message": "why"}}


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (InvalidRequest("x"), 400, "invalid_request_error"),
        (Unauthenticated("x"), 401, "authentication_error"),
        (Forbidden("x"), 403, "permission_error"),
        (ModelNotFound("x"), 404, "not_found_error"),
        (QueueFull("x"), 429, "rate_limit_error"),
        (ServingError("x"), 500, "api_error"),
        (EngineFailed("x"), 503, "overloaded_error"),
        (Draining("x"), 503, "overloaded_error"),
        (RequestTimeout("x"), 504, "timeout_error"),
    ],
)
def test_and_so_have_errors(error, code, kind):
    response = error_response(error, "anthropic")
    assert response.status == code
    assert json.loads(response.body)["error"]["type"] == kind


def test_to_clients_of_openai_a_full_server_is_unavailable():
    response = http_refusal(too_many())
    assert response.headers == {"Retry-After": "1"}
    error = json.loads(response.body)["error"]
    assert (error["type"], error["code"]) == ("service_unavailable_error", "service_unavailable")


LENGTH = HEAD % (b"POST", b"") + b"Content-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "code", "kind"),
    [
        (LENGTH % 99_999, 413, "request_too_large"),
        (LENGTH % 9, 408, "invalid_request_error"),
        (HEAD % (b"GET", b"") + b"Connection: close\r\n\r\n", 405, "invalid_request_error"),
        (HEAD % (b"POST", b"/batches") + b"Connection: close\r\n\r\n", 404, "not_found_error"),
        (HEAD % (b"POST", b"") + b"X: " + b"x" * 40_000, 431, "invalid_request_error"),
        (HEAD % (b"POST", b"") + b"Host: y\r\n\r\n", 400, "invalid_request_error"),
        (HEAD % (b"POST", b"?a=b") + b"X : y\r\n\r\n", 400, "invalid_request_error"),
    ],
)
def test_the_path_of_a_refused_request_says_whose_client_it_is(raw, code, kind):
    head, body = exchange(raw, Limits(body_bytes=1000, body_s=0.1))
    assert status(head) == code
    assert (body["type"], body["error"]["type"]) == ("error", kind)


def test_paths_that_only_look_alike_are_not_anthropic_s():
    raw = b"GET /v1/messages2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert "type" not in exchange(raw)[1]
