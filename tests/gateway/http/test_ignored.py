"""Parameters that docs/api.md calls ignored change nothing, whatever they are."""

import asyncio

import pytest
from msgspec.structs import replace

from gateway.anthropic.schema import MessagesBody
from gateway.http.body import READERS
from gateway.http.schema import ChatBody, CompletionBody
from gateway.responses.schema import ResponseBody
from tests.gateway.scripted import says, served

ASK = [{"role": "user", "content": "Hello"}]
BODIES = {
    ChatBody: ("/v1/chat/completions", {"messages": ASK}),
    CompletionBody: ("/v1/completions", {"prompt": "Hello"}),
    ResponseBody: ("/v1/responses", {"input": "Hello", "store": False}),
    MessagesBody: (
        "/v1/messages",
        {"messages": ASK, "max_tokens": 5000, "temperature": 0, "thinking": {"type": "adaptive"}},
    ),
}
VALUES = {
    "metadata": {"a": "b"},
    "store": True,
    "safety_identifier": "me",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"ttl": "1h"},
    "prediction": {"type": "content", "content": "Hi"},
    "stream_options.include_obfuscation": True,
    "max_tool_calls": 1,
    "service_tier": "flex",
    "reasoning.summary": "auto",
    "reasoning.generate_summary": "auto",
    "cache_control": {"type": "ephemeral"},
    "thinking.budget_tokens": 4096,
}
CASES = [(kind, name) for kind in BODIES for name in sorted(READERS[kind].ignored)]


def asked(path: str, body: dict) -> object:
    """What reaches the engine."""

    async def run():
        async with served(says("Hi")) as server:
            async with server.session.post(server.url + path, json=body) as response:
                assert response.status == 200, await response.text()
                await response.read()
            return server.dispatch.requests[0]

    request = asyncio.run(run())
    sampling = replace(request.sampling, seed=0)
    return replace(request, arrived_at=None, sampling=sampling)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_it_is_as_if_it_were_not_there(kind, name):
    path, body = BODIES[kind]
    outer, _, inner = name.partition(".")
    more = {outer: body.get(outer, {}) | {inner: VALUES[name]} if inner else VALUES[name]}
    if outer == "stream_options":
        more["stream"] = True
    assert asked(path, body | more) == asked(path, body)
