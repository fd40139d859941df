"""What a connection does beyond requests and answers: streams without a body, ends, floods."""

import asyncio
import contextlib
import gc
import resource
import socket
import weakref

import pytest

from gateway.auth.cors import Cors
from gateway.http.answers import RouteAnswers
from gateway.http.server.bodies import Bodies
from gateway.http.server.connection import Connection, Limits
from gateway.http.server.exchange import Response
from gateway.http.server.routes import Route, Routes
from gateway.http.server.server import SPARE_FILES, HttpServer
from tests.gateway.scripted import WAIT_S, until

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def health(_request):
    return Response(b'"fine"')


async def events(request):
    sink = request.start_events()
    sink.write(b"data: 1\n\n")
    sink.end()


async def large(_request):
    return Response(b" " * 20_000_000)


def answers(cors=None):
    handlers = {"/health": health, "/events": events, "/large": large}
    routes = [
        Route(method="GET", path=path, handler=handler, role="public")
        for path, handler in handlers.items()
    ]
    return RouteAnswers(Routes(routes), None, cors)


@contextlib.asynccontextmanager
async def serving(cors=None):
    """The port of a server."""
    server = HttpServer(answers(cors), Limits(body_bytes=1000))
    sock = socket.create_server(("127.0.0.1", 0))
    await server.start(sock)
    try:
        yield sock.getsockname()[1]
    finally:
        await server.close()


async def asked(port, raw):
    """All that is answered; empty if the connection is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        return await asyncio.wait_for(reader.read(), WAIT_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_the_head_of_a_stream_is_all_that_head_asks_for():
    async def run():
        async with serving() as port:
            return await asked(port, b"HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n" + HEALTH)

    first, _, rest = asyncio.run(run()).partition(b"\r\n\r\n")
    assert b"text/event-stream" in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b'\r\n\r\n"fine"')


def test_an_answer_that_has_no_body_says_no_length():
    async def run():
        wish = b"Origin: http://page\r\nAccess-Control-Request-Method: GET\r\n\r\n"
        async with serving(Cors(["http://page"])) as port:
            return await asked(port, b"OPTIONS /health HTTP/1.1\r\nHost: x\r\n" + wish + HEALTH)

    first, _, rest = asyncio.run(run()).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 204 ")
    assert b"Content-Length" not in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_never_reads_the_last_answer_does_not_keep_the_connection():
    async def run():
        connections = []
        limits = Limits(body_bytes=1000)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(
                answers(), limits, Bodies(1000), connections.append, connections.remove
            ),
            "127.0.0.1",
            0,
        )
        with socket.socket() as client:
            client.connect(server.sockets[0].getsockname())
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await until(lambda: connections and connections[0].transport.is_closing())
            connections[0].expire()
            await until(lambda: not connections)
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "raw",
    [
        b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Endless: " + b"x" * 40_000,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_nothing_is_kept_of_a_connection_that_ended(raw):
    async def run():
        connections = weakref.WeakSet()

        def connection():
            limits = Limits(body_bytes=1000)
            new = Connection(answers(), limits, Bodies(1000), lambda _: None, lambda _: None)
            connections.add(new)
            return new

        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
        for _ in range(3):
            await asked(server.sockets[0].getsockname()[1], raw)
        await until(lambda: not connections)
        server.close()

    gc.disable()  # a busy gateway looks for cycles rarely
    try:
        asyncio.run(run())
    finally:
        gc.enable()


def test_a_flood_of_connections_leaves_files_for_the_rest():
    async def run(few):
        async with serving() as port, contextlib.AsyncExitStack() as stack:
            for _ in range(few):  # each takes two files, as the clients are in here, too
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                stack.callback(writer.close)
            assert await asked(port, HEALTH) == b""
            await stack.aclose()
            async with asyncio.timeout(WAIT_S):
                while not (await asked(port, HEALTH)).startswith(b"HTTP/1.1 200 OK"):
                    pass

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest.fileno() + SPARE_FILES + 60, before[1]))
    try:
        asyncio.run(run(40))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
