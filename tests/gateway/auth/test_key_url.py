"""Keys that are fetched from a real HTTP server."""

import asyncio
import gzip
import time
from contextlib import asynccontextmanager, suppress
from functools import wraps

import pytest

from config.errors import Unauthenticated
from gateway.auth import key_sources
from gateway.auth.identity import KeysAwaited
from gateway.auth.jwks import MAX_BYTES
from gateway.auth.key_sources import MAX_WAITING, USUAL_FETCH_S, KeyUrl
from gateway.auth.tokens import Tokens
from tests.gateway.auth.signing import jwk, jwks, settings, token

ONE, TWO = jwks(jwk("ES256", "one")), jwks(jwk("ES256", "two"))
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
NEVER_S, AT_ONCE_S = 3600.0, 0.001


class Provider:
    """Answers with `body`, or at its own address with the raw bytes of `answer`; counts."""

    def __init__(self, body=ONE):
        self.body, self.answer, self.asked = body, None, 0
        self.heads, self.running = [], set()

    async def serve(self, reader, writer):
        self.running.add(asyncio.current_task())
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            self.asked += 1
            if self.answer == "hang":
                await asyncio.sleep(60)
            at_home = head.startswith(b"GET /jwks ")
            writer.write((at_home and self.answer) or GOOD % len(self.body) + self.body)
        except (asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self, port=0):
        server = await asyncio.start_server(self.serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{self.port}/jwks"
        finally:
            server.close()
            for task in self.running:
                task.cancel()
            await asyncio.gather(*self.running)


@asynccontextmanager
async def fetching(url, refresh_s=NEVER_S, pause_s=AT_ONCE_S):
    keys = KeyUrl(url, refresh_s, pause_s)
    keys.start()
    try:
        yield keys
    finally:
        await keys.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def kids(keys):
    return [key.kid for key in keys.keys(0.0).keys]


def awaited_s(keys, token=b"token"):
    return keys.awaited_s(token, time.monotonic())


def in_loop(test):
    @wraps(test)
    def run(*args, **options):
        asyncio.run(test(*args, **options))

    return run


@in_loop
async def test_keys_are_fetched_at_the_start():
    provider = Provider()
    async with provider.open() as url, fetching(url) as keys:
        assert kids(keys) == []
        assert awaited_s(keys) == USUAL_FETCH_S
        await until(lambda: kids(keys) == ["one"])
        assert b"GET /jwks HTTP/1.1\r\n" in provider.heads[0]


@in_loop
async def test_an_unknown_key_has_them_fetched_again():
    provider = Provider()
    async with provider.open() as url, fetching(url) as keys:
        await until(lambda: kids(keys) == ["one"])
        provider.body = TWO
        assert awaited_s(keys) >= USUAL_FETCH_S
        await until(lambda: kids(keys) == ["two"])


@in_loop
async def test_however_many_unknown_keys_come_there_is_one_fetch():
    provider = Provider()
    async with provider.open() as url, fetching(url, pause_s=NEVER_S) as keys:
        await until(lambda: kids(keys) == ["one"])
        began = time.monotonic()
        waits = [keys.awaited_s(b"%d" % number, began) for number in range(2 * MAX_WAITING)]
        assert min(waits) > NEVER_S - 60  # the next fetch is as far away
        assert len(keys._waiting) == MAX_WAITING
        assert provider.asked == 1


@in_loop
async def test_what_came_within_the_pause_has_them_fetched_after_it():
    provider = Provider()
    async with provider.open() as url, fetching(url, pause_s=0.1) as keys:
        await until(lambda: kids(keys) == ["one"])
        provider.body = TWO
        assert awaited_s(keys) is not None  # and nobody asks again
        await until(lambda: kids(keys) == ["two"])
        assert provider.asked == 2


@in_loop
async def test_only_a_fetch_that_began_later_says_that_there_is_no_such_key():
    provider = Provider()
    async with provider.open() as url, fetching(url) as keys:
        assert awaited_s(keys, b"early") is not None  # before any has begun
        await until(lambda: awaited_s(keys, b"early") is None)
        provider.answer = "hang"
        before = provider.asked
        await until(lambda: provider.asked > before)
        assert awaited_s(keys, b"during") == USUAL_FETCH_S
        assert awaited_s(keys, b"early") is None


@in_loop
async def test_strangers_have_no_new_key_taken_for_a_wrong_one():
    provider = Provider(jwks(jwk("ES256", "k1")))
    async with provider.open() as url, fetching(url, pause_s=0.3) as keys:
        tokens = Tokens(settings(), {}, {"ES256": keys})

        def known(given):
            with suppress(KeysAwaited):
                return tokens.identify(given, time.monotonic(), time.time()).name

        def is_refused(given):
            try:
                assert known(given) is None
            except Unauthenticated:
                return True
            return False

        await until(lambda: known(token(kid="k1")) == "ann")
        forged = [token(kid=kid, number=2) for kid in ("k2", "made-up")]
        await until(lambda: all(is_refused(given) for given in forged))
        provider.body = jwks(jwk("ES256", "k2", number=1))
        rotated = token(kid="k2", number=1)
        await until(lambda: known(rotated) == "ann")  # never refused on the way
        assert all(is_refused(given) for given in forged)


@in_loop
async def test_keys_are_fetched_now_and_then_and_the_same_stay_the_same():
    provider = Provider()
    async with provider.open() as url, fetching(url, refresh_s=0.001) as keys:
        await until(lambda: kids(keys) == ["one"])
        first = keys.keys(0.0)
        await until(lambda: provider.asked > 3)
        assert keys.keys(0.0) is first
        provider.body = TWO
        await until(lambda: kids(keys) == ["two"])


BAD = {
    "an error": b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    "not found": b"HTTP/1.1 404 X\r\nConnection: close\r\n\r\n" + TWO,
    "a redirect": b"HTTP/1.1 302 X\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "no keys": b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"keys\": []}",
    "too short": b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + TWO,
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "too long": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TWO + b" " * MAX_BYTES,
    "a bomb": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    + gzip.compress(TWO + b" " * 50_000_000),
}  # fmt: skip


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
@in_loop
async def test_a_bad_answer_leaves_the_keys_until_a_good_one_comes(answer, caplog):
    provider = Provider()
    async with provider.open() as url, fetching(url, refresh_s=0.001) as keys:
        await until(lambda: kids(keys) == ["one"])
        provider.answer = answer
        await until(lambda: "stay as they were" in caplog.text)
        before = provider.asked
        await until(lambda: provider.asked > before + 2)
        assert kids(keys) == ["one"]
        assert awaited_s(keys) is not None  # which keys there are is not known just now
        provider.answer, provider.body = None, TWO
        await until(lambda: kids(keys) == ["two"])
        assert caplog.text.count("stay as they were") == 1


@in_loop
async def test_a_server_that_is_not_there_yet_is_asked_until_it_is(caplog):
    provider = Provider()
    async with provider.open() as url:
        pass
    async with fetching(url) as keys:
        await until(lambda: "stay as they were" in caplog.text)
        assert awaited_s(keys) is not None
        async with provider.open(provider.port):
            await until(lambda: kids(keys) == ["one"])


@in_loop
async def test_while_the_keys_cannot_be_had_no_token_is_said_to_be_wrong(caplog):
    async with fetching("http://127.0.0.1:1/jwks", pause_s=NEVER_S) as keys:
        await until(lambda: "stay as they were" in caplog.text)
        await asyncio.sleep(0)
        assert awaited_s(keys) > USUAL_FETCH_S
        assert awaited_s(keys) > USUAL_FETCH_S


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/\ud800", "http://[/", "nonsense:"])
@in_loop
async def test_a_url_that_is_none_ends_nothing(url, caplog):
    async with fetching(url) as keys:
        await until(lambda: "stay as they were" in caplog.text)
        assert not keys._task.done()


@in_loop
async def test_a_server_that_hangs_is_given_up_and_holds_nobody(monkeypatch, caplog):
    monkeypatch.setattr(key_sources, "FETCH_S", 0.05)
    provider = Provider()
    provider.answer = "hang"
    async with provider.open() as url, fetching(url) as keys:
        await until(lambda: provider.asked == 1)
        assert keys.keys(0.0).keys == ()
        await until(lambda: "TimeoutError" in caplog.text)
        provider.answer = None
        await until(lambda: kids(keys) == ["one"])


@in_loop
async def test_closing_ends_a_fetch_that_hangs():
    provider = Provider()
    provider.answer = "hang"
    async with provider.open() as url, fetching(url) as keys:
        await until(lambda: provider.asked == 1)
        task = keys._task
    assert task.cancelled()


@in_loop
async def test_what_never_started_can_be_closed():
    await KeyUrl("http://127.0.0.1:1", NEVER_S).close()
