"""Completions that begin with their prompt."""

import asyncio
import json

import openai
import pytest

from tests.gateway.http.test_stream import COMPLETE, events
from tests.gateway.scripted import says, served, tokenizer

TOKENS = tokenizer().encode("One two", add_special_tokens=False).ids
PROMPTS = [
    ("One two", ["One two"]),
    (["One two", "Ünd"], ["One two", "Ünd"]),
    (TOKENS, ["One two"]),
    ([TOKENS, [*TOKENS, 2]], ["One two", "One two" + tokenizer().decode([2], False)]),
]


@pytest.mark.parametrize(("prompt", "echoes"), PROMPTS)
def test_each_choice_begins_with_its_prompt(prompt, echoes):
    async def run():
        body = {"prompt": prompt, "echo": True, "n": 2}
        async with served(says(" three")) as server:
            status, whole = await server.post(COMPLETE, body)
            assert status == 200, whole
            return whole, events(await server.stream(COMPLETE, body))[:-1]

    whole, chunks = asyncio.run(run())
    expected = [f"{echo} three" for echo in echoes for _ in range(2)]
    assert [choice["text"] for choice in whole["choices"]] == expected
    streamed = [""] * len(expected)
    for choice in (json.loads(chunk)["choices"][0] for chunk in chunks):
        streamed[choice["index"]] += choice["text"]
    assert streamed == expected
    assert whole["usage"]["completion_tokens"] < 4 * len(expected)  # echoes are none


def test_without_it_there_is_none():
    async def run():
        async with served(says("three")) as server:
            for echo in (None, False):
                _, body = await server.post(COMPLETE, {"prompt": "One", "echo": echo})
                assert body["choices"][0]["text"] == "three"

    asyncio.run(run())


def test_the_official_client_gets_it():
    async def run():
        async with (
            served(says(" three")) as server,
            openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0) as api,
        ):
            stream = await api.completions.create(
                model="demo", prompt="One two", echo=True, stream=True
            )
            return "".join([chunk.choices[0].text async for chunk in stream])

    assert asyncio.run(run()) == "One two three"
