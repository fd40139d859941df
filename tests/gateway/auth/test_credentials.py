"""Keys in headers, as clients and others send them, and what is logged of them."""

import asyncio
import logging
import time

import pytest

from config.settings import AuthSettings
from gateway.auth.cors import Cors
from gateway.auth.guard import Guard
from gateway.auth.jwks import KeySet
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import KeyRecord, digest, new_key
from gateway.auth.tokens import SAY_S, Tokens
from tests.gateway.auth.signing import settings, token
from tests.gateway.http.raw import answers, status
from tests.gateway.scripted import says, served

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
KEY_ID, KEY = new_key()
RIGHT, WRONG = KEY.encode(), KEY.encode()[:-1] + b"?"


@pytest.fixture
def guard(tmp_path):
    file = str(tmp_path / "keys.json")
    record = KeyRecord(id=KEY_ID, sha256=digest(KEY).hex(), name="ann", created_time=1)
    KeyStore(file).add(record)
    return Guard(AuthSettings(keys_file=file), Cors())


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([b"Authorization: Bearer " + RIGHT], 200),
        ([b"AUTHORIZATION: bearer   " + RIGHT + b" \t"], 200),
        ([b"x-api-key: " + RIGHT], 200),
        ([b"X-API-Key: " + RIGHT, b"Authorization: Bearer " + WRONG], 401),
        ([b"X-API-Key: " + WRONG, b"Authorization: Bearer " + RIGHT], 200),
        ([b"X-API-Key: " + RIGHT, b"Authorization: Bearer "], 200),
        ([b"X-API-Key: " + RIGHT, b"Authorization: Basic eDp5"], 200),
        ([b"Authorization: Bearer " + RIGHT, b"Authorization: Bearer " + RIGHT], 400),
        ([b"Authorization: Bearer " + WRONG, b"authorization: Bearer " + RIGHT], 400),
        ([b"x-api-key: " + RIGHT, b"X-Api-Key: " + RIGHT], 400),
        ([b"Authorization: Bearer " + RIGHT + b", Bearer " + RIGHT], 401),
        ([b"Authorization: " + RIGHT], 401),
        ([b"Authorization: Bearer\t" + RIGHT], 401),
        ([b"Authorization:"], 401),
        ([b"Authorization: Bearer"], 401),
        ([b"x-api-key:"], 401),
        ([b"x-api-key: " + RIGHT[:20]], 401),
        ([b"x-api-key: " + RIGHT + b"x"], 401),
        ([b"x-api-key: " + RIGHT.upper()], 401),
        ([b"x-api-key: " + RIGHT + b"\xe9\xff"], 401),
        ([b"x-api-key: sk-mlx-" + b"x" * 15_000], 401),
        ([b"x-api-key: sk-mlx-" + b"x" * 17_000], 431),
        ([], 401),
    ],
)
def test_which_keys_are_taken(guard, headers, expected):
    found = answers(GET + b"".join(it + b"\r\n" for it in headers) + b"\r\n", authenticator=guard)
    assert status(found) == expected
    assert RIGHT not in found


def test_a_key_in_a_trailer_is_none(guard):
    raw = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    found = answers(raw + chunked + b"x-api-key: " + RIGHT + b"\r\n\r\n", authenticator=guard)
    assert status(found) == 401


class Fetching:
    """Keys that never come."""

    def keys(self, now):
        return KeySet()

    def awaited_s(self, digest, now):
        return 3.2


class ByToken:
    def __init__(self):
        self.tokens = Tokens(settings(), {}, {"ES256": Fetching()})
        self.now = 0.0

    def identify(self, header):
        return self.tokens.identify(header("x-api-key"), self.now, time.time())


def test_tokens_of_unknown_keys_do_not_fill_the_log(caplog):
    caplog.set_level(logging.INFO)
    known = ByToken()
    asked = [token(kid=f"k{number}") for number in range(20)]

    async def ask(server, given):
        url = server.url + "/v1/models"
        async with server.session.get(url, headers={"x-api-key": given}) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "4"

    async def run():
        async with served(says("x"), authenticator=known) as server:
            for given in asked:
                await ask(server, given)
            known.now = SAY_S
            await ask(server, asked[0])

    asyncio.run(run())
    said = [
        record.getMessage()
        for record in caplog.records
        if record.name.endswith("gateway.auth.tokens")
    ]
    assert said == [
        "refused 1 tokens whose key is not there, or not yet",
        "refused 20 tokens whose key is not there, or not yet",
    ]
