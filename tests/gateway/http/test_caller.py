"""What headers and bodies say of who asks: the session, the deadline, the priority, the tier."""

import asyncio
import json

import pytest

from tests.gateway.http.test_parameters import ASK, CHAT, COMPLETE
from tests.gateway.http.test_stream import events
from tests.gateway.scripted import says, served


def request_of(body: dict, **headers: str):
    async def run():
        async with served(says("x")) as server:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            status, answer = await server.post(COMPLETE, {"prompt": "x"} | body, headers=names)
            assert status == 200, answer
            return server.dispatch.requests[0]

    return asyncio.run(run())


def test_the_header_goes_before_the_cache_key_and_that_before_the_user():
    both = {"user": "me", "prompt_cache_key": "project"}
    assert request_of({"user": "me"}).session == "me"
    assert request_of(both).session == "project"
    assert request_of(both, X_Session_ID="s1").session == "s1"
    assert request_of({}).session is None


def test_long_keys_are_told_apart_and_short():
    one, other = (request_of({"user": "x" * 5000 + end}).session for end in "ab")
    assert one != other
    assert len(one) <= 128


@pytest.mark.parametrize(("given", "seconds"), [("2.5", 2.5), ("30", 30.0), ("999999", 300.0)])
def test_the_deadline_comes_from_the_header_and_is_no_longer_than_ours(given, seconds):
    assert request_of({}, X_Request_Timeout=given).timeout_s == seconds


@pytest.mark.parametrize("given", ["0", "-1", "soon", "1e3", "nan", "inf", "", "1" * 10, "0.0"])
def test_a_deadline_that_is_none_is_refused(given):
    async def run():
        async with served(says("x")) as server:
            headers = {"X-Request-Timeout": given}
            status, answer = await server.post(COMPLETE, {"prompt": "x"}, headers=headers)
            assert (status, answer["error"]["param"]) == (400, "X-Request-Timeout")
            assert server.dispatch.requests == []

    asyncio.run(run())


@pytest.mark.parametrize(("given", "priority"), [(None, 0), (-7, -7), (2**31 - 1, 2**31 - 1)])
def test_the_priority_reaches_the_engine(given, priority):
    assert request_of({"priority": given}).priority == priority


TIERS = ["auto", "default", "fast", "flex", "priority", "scale", "ultrafast"]


@pytest.mark.parametrize("tier", TIERS)
def test_whatever_tier_is_asked_for_every_object_tells_of_the_one_there_is(tier):
    async def run():
        body = {"messages": ASK, "service_tier": tier}
        async with served(says("one two")) as server:
            _, whole = await server.post(CHAT, body)
            return whole, events(await server.stream(CHAT, body))[:-1]

    whole, chunks = asyncio.run(run())
    assert {whole["service_tier"], *(json.loads(it)["service_tier"] for it in chunks)} == {
        "default"
    }


@pytest.mark.parametrize("tier", TIERS)
def test_the_other_endpoints_take_it_as_well(tier):
    async def run():
        async with served(says("x")) as server:
            body = {"input": "Hi", "service_tier": tier}
            text = await server.post("/v1/completions", {"prompt": "Hi", "service_tier": tier})
            return text, await server.post("/v1/responses", body)

    text, response = asyncio.run(run())
    assert (text[0], response[0], response[1]["service_tier"]) == (200, 200, "default")


def test_without_asking_no_tier_is_told():
    async def run():
        async with served(says("x")) as server:
            return (await server.post(CHAT, {"messages": ASK}))[1]

    assert "service_tier" not in asyncio.run(run())
