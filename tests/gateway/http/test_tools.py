"""Tools and thoughts over HTTP, with the demo model's own tokenizer and template."""

import asyncio
import json

import openai
import pytest

from tests.gateway.http.test_stream import CHAT, events
from tests.gateway.scripted import demo_view, says, served, thinking_view, tokenizer

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASK = {"messages": [{"role": "user", "content": "Weather in Paris and Rome?"}], "tools": [TOOL]}


def written(*cities: str) -> str:
    calls = [
        f'<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
        for city in cities
    ]
    return "\n".join(calls)


def exchange(text: str, body: dict, view=None):
    """The request that reached the dispatcher, the whole answer and the chunks of a stream."""

    async def run():
        async with served(says(text), views=[view or demo_view()]) as server:
            status, whole = await server.post(CHAT, body)
            assert status == 200, whole
            chunks = events(await server.stream(CHAT, body))
        return server.dispatch.requests[0], whole, [json.loads(it) for it in chunks[:-1]]

    return asyncio.run(run())


def prompt_of(request) -> str:
    return tokenizer().decode(request.tokens, skip_special_tokens=False)


def test_calls_are_given_whole():
    request, whole, _ = exchange("I look.\n" + written("Paris", "Rome"), ASK)
    assert "get_weather" in prompt_of(request)
    assert request.grammar is None
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert message["content"] == "I look."
    cities = [json.loads(it["function"]["arguments"])["city"] for it in message["tool_calls"]]
    assert cities == ["Paris", "Rome"]
    for call in message["tool_calls"]:
        assert call.keys() == {"id", "type", "function"}
        assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    assert len({call["id"] for call in message["tool_calls"]}) == 2


def test_an_answer_of_calls_alone_has_no_content():
    _, whole, chunks = exchange(written("Paris"), ASK)
    assert whole["choices"][0]["message"]["content"] is None
    assert not any(it["choices"][0]["delta"].get("content") for it in chunks)


def test_calls_are_streamed_in_pieces():
    _, _, chunks = exchange(written("Paris", "Rome"), ASK)
    choices = [chunk["choices"][0] for chunk in chunks]
    pieces = [it for choice in choices for it in choice["delta"].get("tool_calls", ())]
    for index, city in enumerate(("Paris", "Rome")):
        first, *rest = [piece for piece in pieces if piece["index"] == index]
        assert first["id"]
        assert first["type"] == "function"
        assert first["function"]["name"] == "get_weather"
        assert all(piece.keys() == {"index", "function"} for piece in rest)
        text = "".join(it["function"].get("arguments", "") for it in (first, *rest))
        assert json.loads(text) == {"city": city}
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_log_probabilities_are_there_for_every_token_of_a_call():
    _, whole, chunks = exchange(written("Paris"), ASK | {"logprobs": True})
    content = whole["choices"][0]["logprobs"]["content"]
    assert bytes(byte for it in content for byte in it["bytes"]).decode() == written("Paris")
    spelled = [it["choices"][0]["logprobs"] for it in chunks]
    assert [it for one in spelled if one for it in one["content"]] == content


@pytest.mark.parametrize("n", [1, 2])
def test_without_parallel_calls_the_answer_ends_with_the_first_one(n):
    body = ASK | {"parallel_tool_calls": False, "n": n}

    async def run():
        async with served(says(written("Paris", "Rome"))) as server:
            status, whole = await server.post(CHAT, body)
            assert (status, server.dispatch.running) == (200, {})
            return whole, len(server.dispatch.cancelled), list(server.dispatch.given.values())

    whole, cancelled, given = asyncio.run(run())
    assert cancelled == n  # there was more to come
    for choice in whole["choices"]:
        (call,) = choice["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    one = len(tokenizer().encode(written("Paris"), add_special_tokens=False).ids)
    assert whole["usage"]["completion_tokens"] == sum(given) <= n * one


def test_plain_words_are_an_ordinary_answer():
    _, whole, chunks = exchange("It is sunny.", ASK)
    (choice,) = whole["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", "It is sunny.")
    assert "tool_calls" not in choice["message"]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == "It is sunny."


def test_with_none_the_model_sees_no_tools_and_calls_none():
    request, whole, _ = exchange("No.", ASK | {"tool_choice": "none"})
    assert "get_weather" not in prompt_of(request)
    assert "tool_calls" not in whole["choices"][0]["message"]


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_calls_that_must_be_made_are_held_to_a_grammar(choice):
    request, _, _ = exchange(written("Paris"), ASK | {"tool_choice": choice, "n": 2})
    assert "get_weather" in request.grammar.source


def allowing(mode: str, *names: str) -> dict:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_the_model_sees_only_the_tools_that_are_allowed():
    other = {"type": "function", "function": {"name": "get_time"}}
    body = ASK | {"tools": [TOOL, other], "tool_choice": allowing("required", "get_weather")}
    request, _, _ = exchange(written("Paris"), body)
    assert "get_weather" in request.grammar.source
    assert "get_time" not in prompt_of(request) + request.grammar.source
    request, _, _ = exchange("No.", body | {"tool_choice": allowing("auto")})
    assert "get_weather" not in prompt_of(request)


@pytest.mark.parametrize(
    ("given", "param", "word"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "web_search"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "custom"),
        (
            {"tool_choice": allowing("auto", "get_weather", "get_time")},
            "tool_choice.allowed_tools.tools[1]",
            "get_time",
        ),
        ({"tool_choice": allowing("required")}, "tool_choice", "without tools"),
    ],
)
def test_what_is_no_tool_here_is_named(given, param, word):
    async def run():
        async with served(says("x")) as server:
            return await server.post(CHAT, ASK | given)

    status, body = asyncio.run(run())
    assert (status, body["error"]["param"]) == (400, param)
    assert word in body["error"]["message"]


def test_where_calls_may_be_made_a_form_is_held_to_else():
    body = ASK | {"response_format": {"type": "json_object"}}
    request, whole, _ = exchange(written("Paris"), body)
    names = [part.get("name") for part in json.loads(request.grammar.source)["grammars"]]
    assert names == [None, "one", "other"]
    assert whole["choices"][0]["finish_reason"] == "tool_calls"


def test_a_conversation_with_calls_and_their_results_is_rendered():
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    turns = [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "done"}]},
        {"role": "assistant", "tool_calls": [calls[0] | {"index": 0}]},
        {"role": "tool", "tool_call_id": "c1", "content": ""},
    ]
    prompt = prompt_of(exchange("Good.", {"messages": turns})[0])
    assert '{"name": "f", "arguments": {"a": 1}}' in prompt
    assert "<tool_response>\ndone\n</tool_response>" in prompt


def test_a_call_that_was_cut_off_may_be_sent_back():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
    turns = [*ASK["messages"], {"role": "assistant", "tool_calls": [call]}]
    assert '{"a' in prompt_of(exchange("Good.", {"messages": turns})[0])


def test_the_official_client_reads_calls_and_sends_them_back():
    async def run():
        async with (
            served(says(written("Paris"))) as server,
            openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0) as api,
        ):
            message = (await api.chat.completions.create(model="demo", **ASK)).choices[0].message
            result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sun"}
            turns = [*ASK["messages"], message.model_dump(), result]
            await api.chat.completions.create(model="demo", messages=turns, tools=[TOOL])
            assert "sun" in prompt_of(server.dispatch.requests[-1])

    asyncio.run(run())


@pytest.fixture
def thinker(tmp_path):
    return thinking_view(tmp_path)


def test_thoughts_are_told_from_the_answer(thinker):
    body = {"messages": ASK["messages"]}
    _, whole, chunks = exchange("So be it.\n</think>\n\nYes.", body, thinker)
    message = whole["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("So be it.", "Yes.")
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(it.get("reasoning_content", "") for it in deltas) == "So be it."
    assert "".join(it.get("content", "") for it in deltas) == "Yes."


def test_the_tokens_of_thoughts_are_told(thinker):
    body = {"messages": ASK["messages"], "stream_options": {"include_usage": True}}

    async def run(view, text):
        async with served(says(text), views=[view]) as server:
            _, whole = await server.post(CHAT, {"messages": ASK["messages"], "n": 2})
            chunks = events(await server.stream(CHAT, body))
            return whole["usage"], json.loads(chunks[-2])["usage"]

    two, one = asyncio.run(run(thinker, "So be it.\n</think>\n\nYes."))
    thoughts = one["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < thoughts < one["completion_tokens"]
    assert two["completion_tokens_details"] == {"reasoning_tokens": 2 * thoughts}
    for usage in asyncio.run(run(demo_view(), "Yes.")):
        assert "completion_tokens_details" not in usage


def test_templates_are_told_what_the_client_says(thinker):
    body = {"messages": ASK["messages"], "chat_template_kwargs": {"enable_thinking": False}}
    request, whole, _ = exchange("Yes.", body, thinker)
    assert prompt_of(request).endswith("</think>")
    assert whole["choices"][0]["message"]["content"] == "Yes."


def test_a_model_without_tools_says_so(thinker):
    async def run():
        async with served(says("x"), views=[thinker]) as server:
            status, body = await server.post(CHAT, ASK)
            assert (status, body["error"]["param"]) == (400, "tools")

    asyncio.run(run())
