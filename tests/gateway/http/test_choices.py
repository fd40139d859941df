"""Several answers to one request."""

import asyncio
import json
from itertools import count

import openai
import pytest
from msgspec.structs import replace

from config.errors import EngineFailed
from tests.gateway.http.test_stream import CHAT, COMPLETE, events, send
from tests.gateway.scripted import fails, says, served, until

ASK = {"messages": [{"role": "user", "content": "Hello"}], "n": 3}


def in_turn(*scripts):
    """Each request follows the next script."""
    numbers = count()
    return lambda request: scripts[next(numbers) % len(scripts)](request)


def test_choices_are_sequences_that_share_a_prompt_and_an_engine():
    async def run():
        async with served(in_turn(says("one"), says("two words"), says("three"))) as server:
            status, body = await server.post(CHAT, ASK | {"seed": 7})
            assert status == 200
            return server.dispatch.requests, body

    requests, body = asyncio.run(run())
    texts = [(it["index"], it["message"]["content"]) for it in body["choices"]]
    assert texts == [(0, "one"), (1, "two words"), (2, "three")]
    seeds = [request.sampling.seed for request in requests]
    assert seeds[0] == 7
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    (session,) = {request.session for request in requests}
    assert session
    prompt = len(requests[0].tokens)
    assert [request.shared_tokens for request in requests] == [prompt] * 3
    usage = body["usage"]
    assert usage["prompt_tokens"] == prompt
    assert usage["completion_tokens"] == usage["total_tokens"] - prompt >= 3
    assert usage["prompt_tokens_details"] == {"cached_tokens": 1}


def test_the_same_seed_gives_the_same_choices_and_keeps_the_client_s_session():
    async def run():
        async with served(says("x")) as server:
            for _ in range(2):
                headers = {"X-Session-ID": "mine"}
                await server.post(CHAT, ASK | {"seed": 7}, headers=headers)
            return server.dispatch.requests

    requests = asyncio.run(run())
    first, second = requests[:3], requests[3:]
    assert first == [replace(it, arrived_at=first[0].arrived_at) for it in second]
    assert {request.session for request in requests} == {"mine"}


def test_prompts_and_choices_multiply_and_each_prompt_is_counted_once():
    async def run():
        async with served(says("yes")) as server:
            body = {"prompt": [[5, 6], [7]], "n": 2, "best_of": 2}
            return server.dispatch, (await server.post(COMPLETE, body))[1]

    dispatch, body = asyncio.run(run())
    assert [request.tokens for request in dispatch.requests] == [[5, 6], [5, 6], [7], [7]]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == 3
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def test_streamed_choices_come_mixed_and_the_usage_once():
    async def run():
        async with served(in_turn(says("a b c"), says("d"), says("e f"))) as server:
            body = ASK | {"stream_options": {"include_usage": True}}
            return events(await server.stream(CHAT, body))

    *chunks, usage, done = asyncio.run(run())
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    texts = ["", "", ""]
    for choice in choices:
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == ["a b c", "d", "e f"]
    assert [it["index"] for it in choices if it["finish_reason"]] == [1, 2, 0]
    assert json.loads(usage)["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    assert done == "[DONE]"


def test_the_official_client_reads_them():
    async def run():
        async with (
            served(says("Hello there")) as server,
            openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0) as api,
        ):
            answer = await api.chat.completions.create(model="demo", **ASK)
            assert [it.message.content for it in answer.choices] == ["Hello there"] * 3

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
def test_one_choice_that_fails_before_a_word_is_the_request_s_failure(stream):
    async def run():
        script = in_turn(says("", reason=""), fails(EngineFailed("broke")), says("", reason=""))
        async with served(script) as server:
            status, body = await server.post(CHAT, ASK | {"stream": stream})
            assert (status, body["error"]["code"]) == (503, "engine_failed")
            await until(lambda: not server.dispatch.running)
            assert sorted(server.dispatch.cancelled) == ["1", "3"]

    asyncio.run(run())


def test_one_choice_that_fails_later_ends_the_stream_with_one_error():
    async def run():
        endless = says("a b c d e f g h", reason="")
        script = in_turn(endless, fails(EngineFailed("broke"), after="x"), endless)
        async with served(script) as server:
            chunks = events(await server.stream(CHAT, ASK))
            assert ["error" in json.loads(chunk) for chunk in chunks].index(True) == len(chunks) - 1
            assert sorted(server.dispatch.cancelled) == ["1", "3"]

    asyncio.run(run())


def test_when_the_client_goes_all_choices_are_cancelled():
    async def run():
        async with served(says("a b c", reason="")) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await send(writer, CHAT, ASK | {"stream": True})
            await until(lambda: len(server.dispatch.running) == 3)
            writer.close()
            await until(lambda: len(server.dispatch.cancelled) == 3)

    asyncio.run(run())
