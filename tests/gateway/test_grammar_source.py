"""Where an answer's grammar comes from, how often it is made, and what it is called in errors."""

import asyncio

import pytest

from config.errors import InvalidRequest
from gateway import service
from gateway.constraints import constraint
from gateway.tools import tool_use
from tests.gateway.scripted import says, served
from tests.gateway.text.families import tool
from transport.messages.client import GenerationParameters

CHAT, COMPLETE = "/v1/chat/completions", "/v1/completions"
FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
ASK = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool("f")]}


def requests_of(path, body):
    async def run():
        async with served(says("x")) as server:
            status, answer = await server.post(path, body)
            assert status == 200, answer
            return server.dispatch.requests

    return asyncio.run(run())


def test_it_is_made_once_for_all_prompts_and_choices(monkeypatch):
    made = []

    def counted(form, max_bytes):
        made.append(form)
        return grammar_of(form, max_bytes)

    grammar_of = service.grammar_of
    monkeypatch.setattr(service, "grammar_of", counted)
    body = {"prompt": ["a", [5, 6], "b", "c"], "n": 3, "guided_regex": "[ab]+"}
    requests = requests_of(COMPLETE, body)
    assert len(made) == 1
    assert len(requests) == 12
    assert all(request.grammar is requests[0].grammar for request in requests)
    assert [request.tokens for request in requests[3:6]] == [[5, 6]] * 3
    assert len({request.sampling.seed for request in requests}) == 12


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"guided_regex": "[ab]"}, "guided_regex"),
        ({"guided_choice": ["a"]}, "guided_choice"),
        ({"guided_grammar": 'start: "a"'}, "guided_grammar"),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": FORM}, "response_format.json_schema.schema"),
        ({}, None),
    ],
)
def test_it_is_called_as_the_client_did(asked, param):
    (request,) = requests_of(COMPLETE, {"prompt": "x"} | asked)
    assert request.grammar_param == param
    (request,) = requests_of(CHAT, ASK | asked)
    assert request.grammar_param == param
    (request,) = requests_of(CHAT, ASK | asked | {"tool_choice": "required"})
    assert request.grammar_param == "tools"


def tools(size):
    """Four tools; the schema of the last one has `size` bytes."""
    last = tool("f3", title="")
    last["function"]["parameters"]["title"] = "x" * (size - EMPTY)
    return [*(tool(f"f{place}") for place in range(3)), last]


EMPTY = len('{"type":"object","properties":{},"title":""}')


@pytest.mark.parametrize("choice", [None, "auto", "required"])
def test_a_tool_s_schema_has_the_size_of_others_at_most(choice):
    asked = GenerationParameters(tools=tools(1000), tool_choice=choice)
    assert len(tool_use(asked, 1000).tools) == 4
    with pytest.raises(InvalidRequest, match=r"1000 bytes, and up to 999 .*max_schema") as caught:
        tool_use(asked, 999)
    assert caught.value.param == "tools[3].function.parameters"


def test_the_limit_is_the_setting():
    async def run():
        async with served(says("x")) as server:
            return [await server.post(CHAT, ASK | {"tools": tools(32 * 1024 + i)}) for i in (0, 1)]

    (_, largest), (_, larger) = asyncio.run(run())
    assert largest["error"]["code"] == "context_length_exceeded"  # it was rendered
    assert larger["error"]["param"] == "tools[3].function.parameters"


def test_tools_that_nobody_may_call_may_be_of_any_size():
    asked = GenerationParameters(tools=tools(1000), tool_choice="none")
    assert tool_use(asked, 10) is None
    assert constraint(asked) is None
