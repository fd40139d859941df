"""What answers carry whoever gives them: a handler, or the server before there is a request."""

import asyncio
import contextlib
import json
import socket

import pytest

from config.errors import Unauthenticated
from gateway.auth.cors import Cors
from gateway.auth.identity import LOCAL
from gateway.http.answers import RouteAnswers
from gateway.http.server.connection import Limits
from gateway.http.server.exchange import Response
from gateway.http.server.routes import Route, Routes
from gateway.http.server.server import HttpServer
from tests.gateway.scripted import WAIT_S

LIMITS = Limits(body_bytes=200, free_body_bytes=10, body_s=0.05, head_bytes=1000)
PAGE = "https://chat.example.org"
# The parser tells of a header when the next one begins.
MINE = b"Host: x\r\nX-Request-ID: mine\r\nOrigin: %b\r\nAccept: */*\r\n" % PAGE.encode()
KEY = b"x-api-key: right\r\n"
CHUNK = b"64\r\n" + b"x" * 100 + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class OneKey:
    def identify(self, header):
        if header("x-api-key") != "right":
            raise Unauthenticated("no key")
        return LOCAL


async def done(request):
    return Response(b"{}")


@contextlib.asynccontextmanager
async def serving():
    """The port of a server."""
    routes = [
        Route(method="POST", path="/ours", handler=done),
        Route(method="POST", path="/theirs", handler=done, shape="anthropic"),
    ]
    server = HttpServer(RouteAnswers(Routes(routes), OneKey(), Cors([PAGE])), LIMITS)
    sock = socket.create_server(("127.0.0.1", 0))
    await server.start(sock)
    try:
        yield sock.getsockname()[1]
    finally:
        await server.close()


def told(raw: bytes, before: bytes = b"") -> tuple[int, dict[str, str], dict]:
    """Status, headers and body of the answer to these bytes, once `before` was answered."""

    async def run():
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if before:
                writer.write(before)
                await asyncio.wait_for(reader.readuntil(b"{}"), WAIT_S)
            writer.write(raw)
            answer = await asyncio.wait_for(reader.read(), WAIT_S)
            writer.close()
            return answer

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(it.split(": ", 1) for it in lines), json.loads(body)


REFUSALS = [
    (b"Content-Length: 999\r\n\r\n", 413),  # as its head says
    (KEY + CHUNKED + CHUNK * 3, 413),  # as it turns out
    (CHUNKED + CHUNK, 401),  # without a key no large body is read
    (b"Content-Encoding: gzip\r\n\r\n", 415),
    (b"Expect: more\r\n\r\n", 417),
    (b"Content-Length: 9\r\n\r\n", 408),
    (b"X: " + b"x" * 3000, 431),
    (b"Host: y\r\n\r\n", 400),
    (b"X : y\r\n\r\n", 400),
    (b"Connection: close\r\n\r\n", 401),
    (KEY + b"Content-Length: x\r\n\r\n", 400),
]


@pytest.mark.parametrize(("rest", "status"), REFUSALS)
def test_a_refusal_has_the_id_that_the_client_chose_and_its_page_may_read_it(rest, status):
    got, headers, _ = told(b"POST /ours HTTP/1.1\r\n" + MINE + rest)
    assert (got, headers["X-Request-ID"]) == (status, "mine")
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert "request-id" not in headers


@pytest.mark.parametrize(("rest", "status"), REFUSALS)
def test_to_clients_of_anthropic_it_is_told_as_they_know_it(rest, status):
    got, headers, body = told(b"POST /theirs HTTP/1.1\r\n" + MINE + rest)
    assert (got, headers["request-id"], headers["X-Request-ID"]) == (status, "mine", "mine")
    assert body["request_id"] == "mine"


@pytest.mark.parametrize(
    ("line", "status"), [(b"POST /theirs/batches", 404), (b"GET /theirs", 405)]
)
def test_so_it_is_where_there_is_nothing(line, status):
    got, headers, body = told(line + b" HTTP/1.1\r\nConnection: close\r\n" + MINE + b"\r\n")
    assert (got, headers["request-id"], body["request_id"]) == (status, "mine", "mine")


def test_a_path_that_is_none_has_a_head_all_the_same():
    got, headers, _ = told(b"GET /ours/%2e%2e/x HTTP/1.1\r\n" + MINE + b"\r\n")
    assert (got, headers["X-Request-ID"]) == (400, "mine")
    assert headers["Access-Control-Allow-Origin"] == PAGE


def test_where_no_head_is_known_the_id_is_a_new_one():
    status, headers, _ = told(b"\x16\x03\x01\r\n\r\n")
    assert status == 400
    assert headers["X-Request-ID"].startswith("req_")


def test_it_is_not_the_id_of_the_request_before():
    before = b"POST /ours HTTP/1.1\r\n" + KEY + MINE + b"Content-Length: 0\r\n\r\n"
    status, headers, _ = told(b"\x16\x03\x01\r\n\r\n", before)
    assert (status, headers["X-Request-ID"][:4]) == (400, "req_")
    assert "Access-Control-Allow-Origin" not in headers
