"""Large bodies of all connections together."""

import asyncio
import contextlib
import json
import socket

import pytest

from config.settings import ServerSettings
from gateway.http.answers import RouteAnswers
from gateway.http.server.bodies import Bodies, Body
from gateway.http.server.connection import Connection, Limits
from gateway.http.server.exchange import Response
from gateway.http.server.refused import Refused
from gateway.http.server.routes import Route, Routes
from gateway.http.server.server import HttpServer
from gateway.main import limits_of
from tests.gateway.scripted import WAIT_S, until

LIMITS = Limits(body_bytes=100, free_body_bytes=10, held_body_bytes=150)


def body(bodies):
    return Body(LIMITS, bodies)


def test_what_is_small_takes_no_room():
    bodies = Bodies(0)
    one = body(bodies)
    assert one.add(b"x" * 5)
    assert one.add(b"x" * 5)
    assert one.whole() == (b"x" * 10, 0)


def test_what_is_large_takes_room_until_it_is_given_back():
    bodies = Bodies(150)
    one = body(bodies)
    assert not one.add(b"x" * 50)
    one.grow()
    assert one.is_large
    assert not one.add(b"x" * 50)
    one.grow()
    whole, taken = one.whole()
    assert (len(whole), taken, bodies.left_bytes) == (100, 90, 60)
    assert not one.is_large
    one.give_back(taken)
    assert bodies.left_bytes == 150


def test_one_alone_has_its_own_limit():
    bodies = Bodies(1000)
    one = body(bodies)
    one.add(b"x" * 101)
    with pytest.raises(Refused, match="too large"):
        one.grow()
    assert bodies.left_bytes == 1000


def test_what_there_is_no_room_for_is_refused_and_others_go_on():
    bodies = Bodies(100)
    one, other = body(bodies), body(bodies)
    one.add(b"x" * 90)
    one.grow()
    other.add(b"x" * 90)
    with pytest.raises(Refused, match="try again"):
        other.grow()
    other.drop()
    assert bodies.left_bytes == 10
    one.drop()
    assert (bodies.left_bytes, bodies.refused) == (100, 1)


def test_a_connection_that_is_lost_gives_all_back_and_only_once():
    bodies = Bodies(150)
    one = body(bodies)
    one.add(b"x" * 60)
    one.grow()
    _, taken = one.whole()
    one.add(b"x" * 60)
    one.grow()
    assert bodies.left_bytes == 30
    one.drop_all()
    assert bodies.left_bytes == 150
    one.give_back(taken)  # of the request that was still being answered
    assert bodies.left_bytes == 150


@pytest.mark.parametrize(("configured", "held"), [(None, 320), (50, 50)])
def test_the_room_is_for_many_of_the_largest_unless_configured(configured, held):
    settings = ServerSettings(max_body_bytes=10, max_held_body_bytes=configured)
    limits = limits_of(settings)
    assert (limits.body_bytes, limits.held_body_bytes) == (10, held)


class Handlers:
    """Answers when it is told to."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.begun = 0

    async def __call__(self, request):
        self.begun += 1
        await self.go_on.wait()
        return Response(b"%d" % len(request.body))

    def answers(self):
        shapes = {"/v1/openai": "openai", "/v1/anthropic": "anthropic"}
        routes = [
            Route(method="POST", path=path, handler=self, shape=shape)
            for path, shape in shapes.items()
        ]
        return RouteAnswers(Routes(routes))


@contextlib.asynccontextmanager
async def serving(limits=LIMITS):
    """The handlers behind a server, its port, and the room that it has."""
    handlers, bodies = Handlers(), Bodies(limits.held_body_bytes)

    def connection():
        return Connection(handlers.answers(), limits, bodies, lambda _: None, lambda _: None)

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    yield handlers, server.sockets[0].getsockname()[1], bodies
    server.close()


def post(size, path="openai"):
    head = b"POST /v1/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    return head % (path.encode(), size) + b"x" * size


async def sent(port, raw):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    return reader, writer


async def answer(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("openai", "service_unavailable_error"), ("anthropic", "overloaded_error")],
)
def test_who_finds_no_room_is_told_to_try_again(path, kind):
    async def run():
        async with serving() as (handlers, port, _):
            _, held = await sent(port, post(100))
            await until(lambda: handlers.begun == 1)
            refused, other = await sent(port, post(100, path))
            head, text = await answer(refused)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in head
            assert json.loads(text)["error"]["type"] == kind
            small, third = await sent(port, post(10))
            handlers.go_on.set()
            assert (await answer(small))[1] == b"10"
            for writer in (held, other, third):
                writer.close()

    asyncio.run(run())


def test_an_answer_gives_the_room_back():
    async def run():
        async with serving() as (handlers, port, bodies):
            handlers.go_on.set()
            reader, writer = await sent(port, b"")
            for _ in range(5):
                writer.write(post(100))
                assert (await answer(reader))[1] == b"100"
            assert bodies.left_bytes == 150
            writer.close()

    asyncio.run(run())


def test_a_connection_that_is_lost_gives_the_room_back():
    async def run():
        async with serving() as (handlers, port, bodies):
            _, being_answered = await sent(port, post(60))
            await until(lambda: handlers.begun == 1)
            being_answered.write(post(60)[:-1])
            await until(lambda: bodies.left_bytes < 60)
            being_answered.transport.abort()
            await until(lambda: bodies.left_bytes == 150)
            _, unfinished = await sent(port, post(60)[:-1])
            await until(lambda: bodies.left_bytes < 150)
            unfinished.transport.abort()
            await until(lambda: bodies.left_bytes == 150)

    asyncio.run(run())


def test_a_body_that_is_refused_gives_the_room_back_at_once():
    async def run():
        head = b"POST /v1/openai HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        async with serving() as (_, port, bodies):
            reader, writer = await sent(port, head + b"3c\r\n" + b"x" * 60 + b"\r\nno size\r\n")
            assert (await answer(reader))[0].startswith(b"HTTP/1.1 400 ")
            assert bodies.left_bytes == 150
            writer.close()

    asyncio.run(run())


def test_the_log_says_that_there_was_no_room(caplog):
    async def run():
        limits = Limits(body_bytes=100, free_body_bytes=10, held_body_bytes=50, head_s=0.05)
        server = HttpServer(Handlers().answers(), limits)
        sock = socket.create_server(("127.0.0.1", 0))
        await server.start(sock)
        reader, writer = await sent(sock.getsockname()[1], post(90))
        assert (await answer(reader))[0].startswith(b"HTTP/1.1 503 ")
        await until(lambda: "turned away 1: server.max_held_body_bytes" in caplog.text)
        writer.close()
        await server.close()

    asyncio.run(run())
