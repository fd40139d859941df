"""Whole answers over HTTP, with the demo model's own tokenizer and template."""

import asyncio
import json

import pytest

from config.errors import EngineFailed, InvalidRequest, QueueFull
from tests.gateway.scripted import demo_view, fails, says, served, thinking_view, tokenizer

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
TURNS = [{"role": "user", "content": "Weather in Paris and Rome?"}]
ASK = {"model": "demo", "max_tokens": 200, "messages": TURNS}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}


def written(*cities: str) -> str:
    calls = [
        f'<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}\n</tool_call>'
        for city in cities
    ]
    return "\n".join(calls)


def exchange(script, body=ASK, path=MESSAGES, view=None):
    """The answer's status and body, and the requests that reached the dispatcher."""

    async def run():
        async with served(script, views=[view or demo_view()]) as server:
            status, answer = await server.post(path, body)
            assert not server.dispatch.running
        return status, answer, server.dispatch.requests

    return asyncio.run(run())


def answer_of(text: str, body=ASK, view=None) -> dict:
    status, answer, _ = exchange(says(text), body, view=view)
    assert status == 200, answer
    return answer


def request_of(body: dict):
    status, answer, requests = exchange(says("x"), body)
    assert status == 200, answer
    return requests[0]


def prompt_of(request) -> str:
    return tokenizer().decode(request.tokens, skip_special_tokens=False)


def refusal(body: dict, path=MESSAGES, view=None) -> dict:
    status, answer, requests = exchange(says("x"), body, path, view)
    assert (status, requests) == (400, [])
    return answer


def test_an_answer():
    status, answer, (request,) = exchange(says("It is sunny."))
    assert status == 200
    assert answer.pop("id").startswith("msg_")
    usage = answer.pop("usage")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [{"type": "text", "text": "It is sunny."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    assert usage == {
        "input_tokens": len(request.tokens) - 1,  # one was found in a store
        "cache_read_input_tokens": 1,
        "cache_creation_input_tokens": 0,
        "output_tokens": 5,
        "service_tier": "standard",
    }


def test_an_answer_without_a_word_has_no_block():
    assert answer_of("")["content"] == []


def test_the_answer_s_length_is_the_reason_when_it_is_cut():
    answer = answer_of("one two three four", ASK | {"max_tokens": 2})
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 2)


def test_the_stop_sequence_that_ended_it_is_told():
    answer = answer_of("one two three", ASK | {"stop_sequences": ["nothing", " two"]})
    assert answer["content"] == [{"type": "text", "text": "one"}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", " two")


def test_tools_that_the_model_uses():
    answer = answer_of("I look.\n" + written("Paris", "Rome"), ASK | {"tools": [TOOL]})
    text, *uses = answer["content"]
    assert text == {"type": "text", "text": "I look."}
    assert len({use.pop("id") for use in uses}) == 2
    assert uses == [
        {"type": "tool_use", "name": "get_weather", "input": {"city": city}}
        for city in ("Paris", "Rome")
    ]
    assert answer["stop_reason"] == "tool_use"


def test_ids_of_tool_uses_look_like_anthropic_s():
    (use,) = answer_of(written("Paris"), ASK | {"tools": [TOOL]})["content"]
    assert use["id"].startswith("toolu_")
    assert len(use["id"]) > 20


def test_a_tool_use_that_was_cut_off_has_no_input():
    (use,) = answer_of(written("Paris")[:60], ASK | {"tools": [TOOL]})["content"]
    assert (use["name"], use["input"]) == ("get_weather", {})


@pytest.mark.parametrize("text", ["\\ud800", str(10**30), "1e5"])
def test_an_input_is_passed_on_as_it_was_written(text):
    call = f'{{"name": "get_weather", "arguments": {{"city": ["{text}", 10{"0" * 30}]}}}}'
    (use,) = answer_of(f"<tool_call>\n{call}\n</tool_call>", ASK | {"tools": [TOOL]})["content"]
    assert use["input"] == {"city": [json.loads(f'"{text}"'), 10**31]}


def test_parallel_use_may_be_disabled():
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    answer = answer_of(written("Paris", "Rome"), ASK | {"tools": [TOOL], "tool_choice": choice})
    assert [use["input"] for use in answer["content"]] == [{"city": "Paris"}]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_that_must_be_used_is_held_to_a_grammar(choice):
    request = request_of(ASK | {"tools": [TOOL], "tool_choice": choice})
    assert "get_weather" in request.grammar.source


def test_the_model_sees_tools_unless_it_may_use_none():
    assert "get_weather" in prompt_of(request_of(ASK | {"tools": [TOOL]}))
    none = ASK | {"tools": [TOOL], "tool_choice": {"type": "none"}}
    assert "get_weather" not in prompt_of(request_of(none))


def test_a_form_is_held_to_a_grammar():
    form = {"type": "json_schema", "schema": SCHEMA}
    assert "city" in request_of(ASK | {"output_config": {"format": form}}).grammar.source


def test_what_is_asked_reaches_the_engine():
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "metadata": {"user_id": "me"}}
    request = request_of(ASK | given)
    assert (request.max_tokens, request.session) == (200, "me")
    used = request.sampling
    assert (used.temperature, used.top_p, used.top_k) == (0.5, 0.9, 5)
    assert request.endpoint == "messages"


@pytest.fixture
def thinker(tmp_path):
    return thinking_view(tmp_path)


THOUGHT = "So be it.\n</think>\n\nYes."
THINK = ASK | {"thinking": {"type": "adaptive"}}
ALWAYS = "{{ messages[0].content }}</think><think>\n"


def test_thoughts_are_a_block_of_their_own(thinker):
    assert answer_of(THOUGHT, THINK, thinker)["content"] == [
        {"type": "thinking", "thinking": "So be it.", "signature": "unsigned"},
        {"type": "text", "text": "Yes."},
    ]


def test_thoughts_may_be_left_out(thinker):
    body = ASK | {"thinking": {"type": "adaptive", "display": "omitted"}}
    first, _ = answer_of(THOUGHT, body, thinker)["content"]
    assert first == {"type": "thinking", "thinking": "", "signature": "unsigned"}


@pytest.mark.parametrize("given", [{"thinking": {"type": "disabled"}}, {}])
def test_a_model_does_not_think_unless_it_is_told_to(thinker, given):
    status, answer, (request,) = exchange(says("Yes."), ASK | given, view=thinker)
    assert (status, answer["content"]) == (200, [{"type": "text", "text": "Yes."}])
    assert prompt_of(request).endswith("</think>")
    counted = exchange(says(""), {"messages": TURNS} | given, COUNT, thinker)[1]
    assert counted == {"input_tokens": len(request.tokens)}


def test_a_model_that_always_thinks_cannot(thinker, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(ALWAYS)
    error = refusal(ASK | {"thinking": {"type": "disabled"}}, view=thinker)["error"]
    assert error["message"] == "thinking.type: the model 'demo' always thinks"


def test_a_model_that_always_thinks_does_so_unasked(thinker, tmp_path):
    (tmp_path / "chat_template.jinja").write_text(ALWAYS)
    kinds = [block["type"] for block in answer_of(THOUGHT, view=thinker)["content"]]
    assert kinds == ["thinking", "text"]


@pytest.mark.parametrize(
    "given",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"output_config": {"effort": "low"}},
    ],
)
def test_a_model_that_does_not_think_says_so(given):
    assert "does not think" in refusal(ASK | given)["error"]["message"]


def test_what_every_model_can_do_of_thinking_is_accepted():
    config = {"effort": "high"}
    for kind in ("adaptive", "disabled"):
        request_of(ASK | {"thinking": {"type": kind}, "output_config": config})


def test_tokens_are_counted_as_they_are_read():
    body = {"messages": TURNS, "tools": [TOOL], "system": "Be kind."}
    status, answer, _ = exchange(says(""), body, COUNT)
    assert (status, answer) == (200, {"input_tokens": len(request_of(ASK | body).tokens)})


def test_all_that_would_be_asked_may_be_sent_to_be_counted():
    """Open WebUI does so."""
    body = {"model": "demo", "messages": TURNS, "system": "Be kind."}
    rest = {"max_tokens": 50, "stream": True, "stop_sequences": ["x"], "temperature": 0, "top_k": 5}
    rest |= {"top_p": 0.9, "metadata": {"user_id": "x"}, "service_tier": "auto"}
    request_of(body | rest | {"stream": False})
    one, other = (exchange(says(""), it, COUNT)[:2] for it in (body, body | rest))
    assert one == other
    told = refusal(body | {"nonsense": 1}, COUNT)
    assert told["error"]["message"] == "unknown parameter 'nonsense'"


def test_tokens_over_the_context_are_counted_too():
    turns = [{"role": "user", "content": "word " * 20_000}]
    status, answer, _ = exchange(says(""), {"messages": turns}, COUNT)
    assert status == 200
    assert answer["input_tokens"] >= 20_000
    told = refusal(ASK | {"messages": turns})
    assert told["error"]["message"].startswith("prompt is too long: ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 2}, "temperature must be from 0 to 1, not 2.0"),
        ({"max_tokens": 0}, "max_tokens must be 1 or more, not 0"),
        ({"stop_sequences": [""]}, "stop_sequences: stop texts have 1 to 1000 characters"),
        ({"messages": []}, "messages must hold 1 to 4096 messages, not 0"),
        ({"mcp_servers": [{}]}, "mcp_servers is not supported by this server; run them yourself "),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages[0].content[0]",
        ),
        ({"tools": [TOOL | {"name": "a b"}]}, "tools[0].name: a function's name has 1 to 128 "),
        ({"tools": [TOOL | {"input_schema": {"type": "string"}}]}, "tools[0].input_schema.type: "),
    ],
)
def test_errors_have_anthropic_s_shape_and_name_the_place(given, message):
    answer = refusal(ASK | given)
    said = answer["error"].pop("message")
    assert answer.pop("request_id").startswith("req_")
    assert answer == {"type": "error", "error": {"type": "invalid_request_error"}}
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (EngineFailed("it broke"), 503, "overloaded_error"),
        (QueueFull("too many"), 429, "rate_limit_error"),
        (InvalidRequest("no", param="response_format"), 400, "invalid_request_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_s_refusal(error, status, kind, stream):
    found, answer, _ = exchange(fails(error), ASK | {"stream": stream})
    assert (found, answer["error"]["type"]) == (status, kind)
    assert "response_format" not in answer["error"]["message"]


def test_headers():
    async def run():
        async with served(says("x")) as server:
            asked = {"X-Request-ID": "mine", "anthropic-version": "2023-06-01"}
            asked |= {"anthropic-beta": "tools-2024-04-04"}
            for body in (ASK, {}):
                url = server.url + MESSAGES + "?beta=true"
                async with server.session.post(url, json=body, headers=asked) as response:
                    assert response.headers["request-id"] == "mine"
                    assert response.status == (200 if body else 400)

    asyncio.run(run())
