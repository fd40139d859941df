"""Bytes to a server as they are."""

import asyncio
import json

from gateway.http.server.connection import Limits
from tests.gateway.scripted import WAIT_S, says, served

POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n"
PLAIN = CLOSE + b'Content-Length: 14\r\n\r\n{"prompt":"x"}'  # what comes after `POST`


def exchange(raw: bytes, limits: Limits | None = None, **more) -> tuple[bytes, dict]:
    """Head and body of the answer to these bytes; the connection is closed after it."""
    head, _, body = answers(raw, limits, **more).partition(b"\r\n\r\n")
    return head, json.loads(body)


def answers(raw: bytes, limits: Limits | None = None, **more) -> bytes:
    """All that comes back until the connection is closed."""

    async def run():
        async with served(says("x"), limits=limits, **more) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(raw)
            answer = await asyncio.wait_for(reader.read(), WAIT_S)
            writer.close()
            return answer

    return asyncio.run(run())


def status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])
