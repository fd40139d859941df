"""`POST /v1/responses` with the official client and the demo model's own text side."""

import asyncio
import json

import openai
import pytest
from pydantic import BaseModel

from config.errors import EngineUnavailable, InvalidRequest, QueueFull
from config.limits import Allowance, Left
from tests.gateway.responses.gateways import gateway
from tests.gateway.scripted import demo_view, fails, says, thinking_view, tokenizer, until

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CALLED = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def ask(folder, script, view=None, **given):
    """The response to a request, and what reached the dispatcher."""

    async def run():
        async with gateway(folder, script, view=view) as server:
            response = await server.responses.create(**{"input": "Hi", "model": "demo"} | given)
            return response, server.dispatch.requests[0]

    return asyncio.run(run())


def stream(folder, script, view=None, **given):
    async def run():
        async with gateway(folder, script, view=view) as server:
            given_ = {"input": "Hi", "model": "demo", "stream": True} | given
            return [event async for event in await server.responses.create(**given_)]

    return asyncio.run(run())


def prompt_of(request) -> str:
    return tokenizer().decode(request.tokens, skip_special_tokens=False)


def test_a_response_says_what_was_asked_and_what_came(tmp_path):
    response, request = ask(
        tmp_path,
        says("Hello there."),
        instructions="Be kind.",
        temperature=0.5,
        max_output_tokens=50,
        metadata={"k": "v"},
        user="me",
    )
    assert response.output_text == "Hello there."
    assert (response.status, response.error, response.incomplete_details) == (
        "completed",
        None,
        None,
    )
    assert response.completed_at >= response.created_at
    assert (response.instructions, response.temperature, response.user) == ("Be kind.", 0.5, "me")
    assert (response.max_output_tokens, response.metadata) == (50, {"k": "v"})
    assert (response.tool_choice, response.tools, response.text.format.type) == ("auto", [], "text")
    assert response.usage.input_tokens == len(request.tokens)
    assert response.usage.input_tokens_details.cached_tokens == 1
    assert response.usage.total_tokens == len(request.tokens) + response.usage.output_tokens
    assert (request.max_tokens, request.sampling.temperature) == (50, 0.5)
    assert (request.session, request.endpoint) == ("me", "responses")
    assert "Be kind." in prompt_of(request)


def test_what_is_left_out_has_the_defaults(tmp_path):
    response, _ = ask(tmp_path, says("Hi"), view=demo_view())
    assert (response.temperature, response.top_p, response.truncation) == (1.0, 1.0, "disabled")
    assert (response.store, response.background, response.parallel_tool_calls) == (
        True,
        False,
        True,
    )
    assert response.reasoning.effort is None


def test_a_long_answer_is_incomplete(tmp_path):
    response, _ = ask(tmp_path, says("one two three four five six"), max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert response.output[0].status == "incomplete"
    *_, last = stream(tmp_path, says("one two three four five six"), max_output_tokens=3)
    assert last.type == "response.incomplete"


def test_a_stream_tells_the_same(tmp_path):
    events = stream(tmp_path, says("Hello there."))
    assert [event.type for event in events[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].response.status, events[0].response.output) == ("in_progress", [])
    deltas = [it.delta for it in events if it.type == "response.output_text.delta"]
    assert "".join(deltas) == events[-1].response.output_text == "Hello there."
    assert len(deltas) > 1
    assert events[-1].type == "response.completed"
    assert events[-1].response.id == events[0].response.id
    assert events[-1].response.usage.output_tokens > 1


def test_the_client_s_own_stream_puts_it_together(tmp_path):
    async def run():
        async with (
            gateway(tmp_path, says(f"I look.\n{CALLED}")) as server,
            server.responses.stream(model="demo", input="Paris?", tools=[TOOL]) as events,
        ):
            snapshots = [
                event.snapshot
                async for event in events
                if event.type == "response.function_call_arguments.delta"
            ]
            return snapshots, await events.get_final_response()

    snapshots, final = asyncio.run(run())
    words, call = final.output
    assert words.content[0].text == "I look."
    assert json.loads(snapshots[-1]) == json.loads(call.arguments) == {"city": "Paris"}


def test_calls_and_their_results_go_round(tmp_path):
    async def run():
        async with gateway(tmp_path, says(CALLED)) as server:
            items = [{"role": "user", "content": "Paris?"}]
            first = await server.responses.create(model="demo", input=items, tools=[TOOL])
            (call,) = first.output
            items += [it.model_dump() for it in first.output]
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": "sun"})
            await server.responses.create(model="demo", input=items, tools=[TOOL], store=False)
            return first, call, prompt_of(server.dispatch.requests[1])

    first, call, prompt = asyncio.run(run())
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert json.loads(call.arguments) == {"city": "Paris"}
    assert first.tools[0].name == "get_weather"
    assert '{"city": "Paris"}' in prompt
    assert "<tool_response>\nsun\n</tool_response>" in prompt


def test_calls_that_must_be_made_and_forms_are_held_to(tmp_path):
    choice = {"type": "function", "name": "get_weather"}
    _, request = ask(tmp_path, says(CALLED), tools=[TOOL], tool_choice=choice)
    assert "get_weather" in request.grammar.source
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    response, request = ask(tmp_path, says("{}"), text={"format": form})
    assert request.grammar is not None
    assert (response.text.format.name, response.text.format.schema_) == ("n", {"type": "object"})


def test_forms_are_parsed_by_the_client(tmp_path):
    class Person(BaseModel):
        name: str
        age: int

    async def run():
        async with gateway(tmp_path, says('{"name": "Bob", "age": 7}')) as server:
            return await server.responses.parse(model="demo", input="Bob?", text_format=Person)

    assert asyncio.run(run()).output_parsed == Person(name="Bob", age=7)


def test_thoughts_are_told_and_counted(tmp_path):
    (tmp_path / "model").mkdir()
    view = thinking_view(tmp_path / "model")
    text = "So be it.\n</think>\n\nYes."
    response, _ = ask(tmp_path / "r", says(text), view=view, reasoning={"effort": "low"})
    thoughts, words = response.output
    assert (thoughts.type, thoughts.content[0].text) == ("reasoning", "So be it.")
    assert (words.content[0].text, response.reasoning.effort) == ("Yes.", "low")
    assert 0 < response.usage.output_tokens_details.reasoning_tokens < response.usage.output_tokens
    events = stream(tmp_path / "r", says(text), view=view)
    deltas = [it.delta for it in events if it.type == "response.reasoning_text.delta"]
    assert "".join(deltas) == "So be it."
    _, request = ask(tmp_path / "r", says("Yes."), view=view, reasoning={"effort": "none"})
    assert prompt_of(request).endswith("</think>")


def test_log_probabilities_come_with_the_text(tmp_path):
    response, request = ask(
        tmp_path, says("Hello"), include=["message.output_text.logprobs"], top_logprobs=2
    )
    told = response.output[0].content[0].logprobs
    assert request.logprobs == 2
    assert "".join(it.token for it in told) == "Hello"
    assert len(told[0].top_logprobs) == 2


def test_a_conversation_is_shortened_where_that_is_asked_for(tmp_path):
    items = [{"role": "system", "content": "Be kind."}]
    for number in range(60):
        items.append({"role": "user", "content": f"Question {number}?"})
        items.append({"role": "assistant", "content": "The answer to that is long."})
    items.append({"role": "user", "content": "And now?"})
    _, request = ask(tmp_path, says("Hi"), input=items, truncation="auto")
    prompt = prompt_of(request)
    assert "Be kind." in prompt
    assert "Question 0?" not in prompt
    assert "Question 59?" in prompt
    assert "And now?" in prompt
    assert request.max_tokens >= 128
    with pytest.raises(openai.BadRequestError) as caught:
        ask(tmp_path, says("Hi"), input=items)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL | {"parameters": {"type": "array"}}]}, "tools[0].parameters.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"extra_body": {"n": 2}}, "n"),
        ({"model": "other"}, "model"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "x"}}}},
            "text.format.schema",
        ),
    ],
)
def test_bad_input_is_refused_with_its_name(tmp_path, given, param):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        ask(tmp_path, says("Hi"), **given)
    assert caught.value.param == (param or "input[0].content[0].type")
    assert caught.value.body["type"] == "invalid_request_error"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure_before_the_first_word_is_told_by_the_status(tmp_path, streamed):
    with pytest.raises(openai.RateLimitError):
        ask(tmp_path, fails(QueueFull("too much")), stream=streamed)


def test_a_failure_within_a_stream_is_its_last_event(tmp_path):
    *_, done, last = stream(tmp_path, fails(EngineUnavailable("gone"), after="Hello"))
    assert (done.type, done.item.status) == ("response.output_item.done", "incomplete")
    assert last.type == "response.failed"
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")
    assert last.response.output_text == "Hello"


def test_what_only_the_engine_refuses_has_our_names(tmp_path):
    fault = InvalidRequest("response_format.json_schema.schema: no", param="response_format")
    with pytest.raises(openai.BadRequestError, match=r"text\.format\.schema: no") as caught:
        ask(tmp_path, fails(fault))
    assert caught.value.param == "text.format"


def test_a_client_that_goes_away_ends_the_generation(tmp_path):
    async def run():
        async with gateway(tmp_path, says("Hello", reason="")) as server:
            events = await server.responses.create(model="demo", input="Hi", stream=True)
            async for event in events:
                if event.type == "response.output_text.delta":
                    break
            await events.close()
            await until(lambda: server.dispatch.cancelled)
            assert not list(server.store.folder.glob("*/resp_*"))

    asyncio.run(run())


@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_left_of_the_client_s_limits_is_told(tmp_path, streamed):
    left = Allowance(requests=Left(limit=60, remaining=59, reset_s=1.0))

    async def run():
        async with gateway(tmp_path, says("Hello.")) as server:
            submit = server.dispatch.submit

            def allowed(request, sink):
                sink.on_allowed(left)
                return submit(request, sink)

            server.dispatch.submit = allowed
            raw = server.responses.with_raw_response
            return await raw.create(model="demo", input="Hi", stream=streamed)

    assert asyncio.run(run()).headers["x-ratelimit-remaining-requests"] == "59"
