"""Those who do not speak HTTP, or do so very slowly."""

import asyncio
import contextlib
import json
import tracemalloc

import pytest

from config.errors import Unauthenticated
from gateway.http.server.connection import Limits
from tests.gateway.http.raw import POST, exchange
from tests.gateway.scripted import WAIT_S, says, served


def assert_silent_on_versions(head: bytes, body: dict) -> None:
    assert b"\r\nServer: mlx-serving\r\n" in head
    assert "httptools" not in str(body)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/%2e%2e%2fsecret HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/%252e%252e HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/a%00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/models/a%5c..%5cb HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (POST + b"Content-Length: many\r\n\r\n", 400),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 0x4000, 413),
        (POST + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (POST + b"X-Endless: " + b"x" * 40_000, 431),
        (POST + b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"\r\n", 431),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (POST + b"Expect: miracles\r\nContent-Length: 0\r\n\r\n", 417),
    ],
)
def test_what_is_no_request_gets_an_error_of_our_shape_and_the_connection_ends(raw, status):
    head, body = exchange(raw, Limits(body_bytes=10_000))
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in head
    assert body["error"]["type"] == "invalid_request_error"
    assert_silent_on_versions(head, body)


def test_a_client_is_told_to_go_on_with_its_body():
    async def run():
        async with served(says("x")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 14\r\n\r\n")
            assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            writer.write(b'{"prompt":"x"}')
            assert await reader.readline() == b"\r\n"
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()

    asyncio.run(run())


def test_requests_that_come_ahead_are_answered_in_their_order():
    async def run():
        async with served(says("x")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            one = b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.write(b"".join(one % number for number in range(50)))
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answers = await asyncio.wait_for(reader.read(), WAIT_S)
            places = [answers.index(b'there is nothing at /%d"' % number) for number in range(50)]
            assert places == sorted(places)
            assert answers.count(b"HTTP/1.1 200 OK") == 51
            assert answers.count(b'{"status":"ok"}') == 1
            writer.close()

    asyncio.run(run())


def test_a_client_that_asks_and_never_reads_is_not_answered_without_end():
    async def run():
        async with served(says("x")) as server:
            _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            asked, far = 0, 20_000  # more than the kernel's buffers hold of either
            with contextlib.suppress(TimeoutError, ConnectionError):
                while asked < far:
                    writer.write(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 8000))
                    await asyncio.wait_for(writer.drain(), 0.5)
                    asked += 1
            assert asked < far
            writer.transport.abort()

    asyncio.run(run())


def test_a_head_may_end_in_a_later_packet_than_the_many_requests_before_it():
    async def run():
        async with served(says("x")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            start = b"GET /health HTTP/1.1\r\nHost: x\r\n"
            writer.write((start + b"\r\n") * 1700 + start + b"X-A: b")
            answers = b""
            while answers.count(b"HTTP/1.1 200 OK") < 1700:
                answers += await asyncio.wait_for(reader.read(1 << 20), WAIT_S)
            writer.write(b"\r\nConnection: close\r\n\r\n")
            answers += await asyncio.wait_for(reader.read(), WAIT_S)
            assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"HTTP/1.1 ") == 1701
            writer.close()

    asyncio.run(run())


CHUNKED = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def test_trailers_do_not_pass_for_headers():
    raw = POST + b"X-Request-ID: mine\r\n" + CHUNKED + b"0\r\nX-Request-ID: other\r\n\r\n"
    head, _ = exchange(raw)
    assert b"\r\nX-Request-ID: mine\r\n" in head


def test_a_trailer_without_end_is_not_kept():
    async def run():
        async with served(says("x")) as server:
            answer = await trickle(server.port, POST + CHUNKED + b"0\r\nX-Endless: ", b"x" * 10_000)
            assert answer.startswith(b"HTTP/1.1 431 ") or not answer

    asyncio.run(run())


def test_a_body_in_tiny_chunks_takes_no_more_memory_than_another():
    async def run():
        async with served(says("x"), limits=Limits(body_bytes=2_000_000)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(POST + CHUNKED)
            tracemalloc.start()
            for _ in range(50):
                writer.write(b"2\r\nxx\r\n" * 10_000)
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), WAIT_S)).startswith(b"HTTP/1.1 400 ")
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < 10_000_000
            writer.close()

    asyncio.run(run())


class Nobody:
    """Lets no one in."""

    def identify(self, header):
        raise Unauthenticated("no key")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/completions", 401), ("/v1/messages", 401), ("/nowhere", 413), ("/health", 413)],
)
def test_a_large_body_is_not_read_of_those_who_may_not_ask(path, status):
    async def run():
        async with served(says("x"), authenticator=Nobody()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            method = "GET" if path == "/health" else "POST"
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode())
            writer.write(b"Content-Length: 900000\r\n\r\n")
            writer.write(b" " * 100_000)
            head, _, body = (await asyncio.wait_for(reader.read(), WAIT_S)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert (b"\r\nWWW-Authenticate: Bearer\r\n" in head) == (status == 401)
            assert json.loads(body).get("type") == ("error" if path == "/v1/messages" else None)
            writer.close()

    asyncio.run(run())


def test_those_who_may_ask_send_large_bodies():
    async def run():
        async with served(says("x")) as server:
            status, answer = await server.post("/v1/completions", {"prompt": "x" * 500_000})
            assert status == 400
            assert answer["error"]["code"] == "context_length_exceeded"

    asyncio.run(run())


WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
BODY = b"Content-Length: 14\r\n\r\n" + b'{"prompt":"x"}'


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /health HTTP/1.1\r\nHost: x\r\n" + WISH + b"\r\n"],
        [POST + WISH + BODY],
        [POST + WISH, BODY],
        [POST + WISH + BODY[:30], BODY[30:]],
        [
            POST + WISH + b"Transfer-Encoding: chunked\r\n\r\n",
            b"e\r\n" + BODY[-14:] + b"\r\n0\r\n\r\n",
        ],
        [(POST + WISH + BODY) * 3],
    ],
)
def test_a_wish_for_another_protocol_is_passed_over(parts):
    """Also by the connection, which goes on."""

    async def run():
        async with served(says("x")) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answers = await asyncio.wait_for(reader.read(), WAIT_S)
            writer.close()
            return answers

    answers = asyncio.run(run())
    requests = b"".join(parts).count(b"Upgrade: h2c") + 1
    assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"HTTP/1.1 ") == requests


async def trickle(port: int, raw: bytes, drop: bytes) -> bytes:
    """The answer to `raw` followed by drop after drop, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = asyncio.ensure_future(reader.read())
    async with asyncio.timeout(WAIT_S):
        with contextlib.suppress(ConnectionError):
            while not answer.done():
                writer.write(drop)
                await asyncio.sleep(0.01)
    writer.close()
    with contextlib.suppress(ConnectionError):
        return await answer
    return b""


def test_a_head_that_comes_byte_by_byte_is_not_waited_for():
    async def run():
        async with served(says("x"), limits=Limits(body_bytes=10_000, head_s=0.2)) as server:
            assert await trickle(server.port, POST + b"X-Slow: ", b"x") == b""

    asyncio.run(run())


def test_an_idle_connection_is_closed():
    async def run():
        async with served(says("x"), limits=Limits(body_bytes=10_000, head_s=0.2)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/v1/completions", "/nowhere"])
def test_a_body_that_comes_byte_by_byte_is_not_waited_for(path):
    async def run():
        limits = Limits(body_bytes=10_000, body_s=0.2, linger_s=0.2)
        async with served(says("x"), limits=limits) as server:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode()
            answer = await trickle(server.port, head, b" ")
            assert answer.startswith(b"HTTP/1.1 408 ") or not answer

    asyncio.run(run())
