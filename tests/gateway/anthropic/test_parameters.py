"""Parameters, as the rest of the gateway knows them."""

import json

import pytest

from config.errors import ContextTooLong, InvalidRequest
from gateway.anthropic.parameters import (
    generation_parameters,
    prompt_parameters,
    told_in_our_names,
)
from gateway.anthropic.schema import read_count, read_messages
from transport.messages.client import GenerationParameters

ASK = {"messages": [{"role": "user", "content": "Hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": SCHEMA}


def parameters(**given) -> GenerationParameters:
    body = ASK | {"max_tokens": 2000} | given
    return generation_parameters(read_messages(json.dumps(body).encode()))


def test_sampling():
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop_sequences": ["a", "b"]}
    assert parameters(**given) == GenerationParameters(
        max_tokens=2000,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop=["a", "b"],
        chat_template_kwargs={"enable_thinking": False},
    )


def test_what_says_nothing_here_is_accepted():
    given = {
        "model": "x",
        "cache_control": {"type": "ephemeral"},
        "service_tier": "auto",
        "metadata": {"user_id": "me"},
        "speed": "standard",
        "mcp_servers": [],
        "container": None,
        "inference_geo": "global",
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    }
    assert parameters(**given) == parameters()


def test_tools():
    more = {"type": "custom", "strict": True, "cache_control": {"type": "ephemeral"}}
    more |= {"allowed_callers": ["direct"], "defer_loading": False, "input_examples": []}
    found = parameters(tools=[TOOL, TOOL | more | {"eager_input_streaming": True}])
    assert found.tools == [
        {"type": "function", "function": FUNCTION},
        {"type": "function", "function": FUNCTION | {"strict": True}},
    ]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_tool_choice(choice, wanted):
    assert parameters(tool_choice=choice).tool_choice == wanted
    assert parameters(tool_choice=choice).parallel_tool_calls is None


def test_parallel_use_can_be_disabled():
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert parameters(tool_choice=choice).parallel_tool_calls is False
    choice["disable_parallel_tool_use"] = False
    assert parameters(tool_choice=choice).parallel_tool_calls is None


@pytest.mark.parametrize(
    ("thinking", "wanted"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, {"enable_thinking": True}),
        ({"type": "adaptive", "display": "omitted"}, {"enable_thinking": True}),
        ({"type": "disabled"}, {"enable_thinking": False}),
        (None, {"enable_thinking": False}),
    ],
)
def test_thinking_is_said_to_the_template(thinking, wanted):
    assert parameters(thinking=thinking).chat_template_kwargs == wanted


@pytest.mark.parametrize(("effort", "wanted"), [("low", "low"), ("max", "high")])
def test_effort_is_said_to_the_template(effort, wanted):
    found = parameters(output_config={"effort": effort}, thinking={"type": "adaptive"})
    assert found.chat_template_kwargs == {"enable_thinking": True, "reasoning_effort": wanted}
    found = parameters(output_config={"effort": effort})
    assert found.chat_template_kwargs == {"enable_thinking": False, "reasoning_effort": wanted}


def test_the_answer_s_form():
    form = {"type": "json_schema", "schema": SCHEMA}
    assert parameters(output_config={"format": form}).response_format == {
        "type": "json_schema",
        "json_schema": {"schema": SCHEMA, "strict": True},
    }


def test_counting_asks_for_what_changes_the_prompt():
    body = ASK | {"tools": [TOOL], "thinking": {"type": "disabled"}}
    found = prompt_parameters(read_count(json.dumps(body).encode()))
    assert found == GenerationParameters(
        tools=[{"type": "function", "function": FUNCTION}],
        chat_template_kwargs={"enable_thinking": False},
    )


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({"max_tokens": None}, "max_tokens", "int"),
        ({"temperature": 1.5}, "temperature", "from 0 to 1"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers", "not supported"),
        ({"container": "x"}, "container", "not supported"),
        ({"speed": "fast"}, "speed", "not supported"),
        ({"output_format": {"type": "json_schema"}}, "output_format", "output_config.format"),
        ({"context_management": {"edits": [{"type": "x"}]}}, "context_management", "supported"),
        ({"max_token": 5}, "max_token", "did you mean 'max_tokens'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type", "we"),
        ({"tools": [{"type": "computer_20250124"}]}, "tools[0].type", "computer_20250124"),
        ({"tools": [TOOL, {"name": "x"}]}, "tools[1].input_schema", "input_schema"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading", "defer_loading"),
        ({"tools": [TOOL | {"allowed_callers": ["x"]}]}, "tools[0].allowed_callers", "allowed"),
        ({"tools": [TOOL | {"input_examples": [{}]}]}, "tools[0].input_examples", "input_"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type", "auto, any, tool or none"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "name the tool"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type", "between_tools"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens", "1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.budget_tokens", "le"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "huge"),
    ],
)
def test_what_is_wrong_is_refused_by_name(given, param, words):
    with pytest.raises(InvalidRequest) as caught:
        parameters(**given)
    assert caught.value.param == param
    assert words in caught.value.message


def test_max_tokens_must_be_said():
    with pytest.raises(InvalidRequest) as caught:
        read_messages(json.dumps(ASK).encode())
    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize(
    ("param", "wanted"),
    [
        ("messages[1].content", "messages[5]"),
        ("messages", "messages"),
        ("stop", "stop_sequences"),
        ("tools[0].function.name", "tools[0].name"),
        ("tools[0].function.parameters.type", "tools[0].input_schema.type"),
        ("response_format.json_schema.schema", "output_config.format.schema"),
        ("response_format", "output_config.format"),
        (None, None),
    ],
)
def test_faults_found_elsewhere_are_told_by_the_names_of_this_api(param, wanted):
    with (
        pytest.raises(InvalidRequest) as caught,
        told_in_our_names(["system", "messages[5]"]),
    ):
        raise InvalidRequest("no", param=param)
    assert caught.value.param == wanted


def test_a_prompt_that_is_too_long_is_told_in_anthropic_s_words():
    with pytest.raises(ContextTooLong, match=r"^prompt is too long: "), told_in_our_names([]):
        raise ContextTooLong("5 of 4", param="messages")
