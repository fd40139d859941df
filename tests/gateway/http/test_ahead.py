"""Clients that send many requests before they read an answer."""

import asyncio

from gateway.http.server.bodies import Bodies
from gateway.http.server.connection import Connection, Limits
from gateway.http.server.exchange import Response
from tests.gateway.http.raw import CLOSE, answers

ONE = b"GET /health HTTP/1.1\r\nHost:\r\n\r\n"


def test_ten_thousand_requests_at_once_are_all_answered():
    found = answers(ONE * 9_999 + ONE[:-2] + CLOSE + b"\r\n")
    assert found.count(b"HTTP/1.1 200 OK\r\n") == found.count(b"HTTP/1.1 ") == 10_000


class Answers:
    """Counts the requests."""

    def __init__(self):
        self.requests, self.go_on = 0, asyncio.Event()

    async def answer(self, request):
        self.requests += 1
        await self.go_on.wait()
        return Response(b"x")


class Transport:
    """Throws away what is written."""

    def __init__(self):
        self.paused = False

    def write(self, data):
        pass

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


def test_of_what_came_at_once_few_requests_are_made_before_it_is_their_turn():
    async def run():
        served, transport = Answers(), Transport()
        connection = Connection(
            served, Limits(body_bytes=1), Bodies(0), lambda _: None, lambda _: None
        )
        connection.connection_made(transport)
        connection.data_received(ONE * 8000)
        assert transport.paused
        assert len(connection._queue) < 1000
        served.go_on.set()
        while transport.paused:
            await asyncio.sleep(0)
            assert len(connection._queue) < 1000
        assert served.requests == 8000
        connection.connection_lost(None)

    asyncio.run(run())
