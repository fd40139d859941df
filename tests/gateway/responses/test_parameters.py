import json

import pytest

from config.errors import ContextTooLong, InvalidRequest
from gateway.responses.parameters import NAMES, generation_parameters
from gateway.responses.schema import MAX_METADATA, read_response_body

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "time"}


def read(**given):
    return read_response_body(json.dumps({"input": "Hi"} | given).encode())


def parameters(**given):
    return generation_parameters(read(**given))


def test_what_chats_have_too_is_passed_on():
    asked = parameters(
        temperature=0.5, top_p=0.9, top_k=5, seed=7, stop=["x"], parallel_tool_calls=False
    )
    assert (asked.temperature, asked.top_p, asked.top_k, asked.seed) == (0.5, 0.9, 5, 7)
    assert (asked.stop, asked.parallel_tool_calls) == (["x"], False)
    assert parameters(max_output_tokens=9).max_completion_tokens == 9
    assert parameters(priority=-7).priority == -7


@pytest.mark.parametrize(
    ("given", "logprobs", "top"),
    [
        ({}, False, None),
        ({"include": ["message.output_text.logprobs"]}, True, None),
        ({"top_logprobs": 3}, True, 3),
        ({"top_logprobs": 0}, False, None),
        ({"include": ["reasoning.encrypted_content"]}, False, None),
    ],
)
def test_log_probabilities_are_asked_for_in_two_ways(given, logprobs, top):
    asked = parameters(**given)
    assert (asked.logprobs, asked.top_logprobs) == (logprobs, top)


def test_forms_become_response_formats():
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert parameters(text={"format": {"type": "text"}}).response_format is None
    assert parameters(text={"format": {"type": "json_object"}}).response_format == {
        "type": "json_object"
    }
    assert parameters(text={"format": schema}).response_format == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }


def test_tools_are_nested_as_in_chats():
    function = {"name": "weather", "parameters": {"type": "object"}, "strict": True}
    assert parameters(tools=[TOOL]).tools == [{"type": "function", "function": function}]
    assert parameters(tools=[]).tools is None
    harmless = {"defer_loading": False, "async": False, "allowed_callers": ["direct"]}
    assert parameters(tools=[TOOL | harmless]).tools == parameters(tools=[TOOL]).tools


@pytest.mark.parametrize(
    ("choice", "names", "left"),
    [
        ("required", "required", ["weather", "time"]),
        (
            {"type": "function", "name": "time"},
            {"type": "function", "function": {"name": "time"}},
            ["weather", "time"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
            "required",
            ["time"],
        ),
    ],
)
def test_tools_are_chosen_from(choice, names, left):
    asked = parameters(tools=[TOOL, OTHER], tool_choice=choice)
    assert asked.tool_choice == names
    assert [tool["function"]["name"] for tool in asked.tools] == left


def test_efforts_are_told_to_the_template():
    assert parameters().chat_template_kwargs is None
    assert parameters(reasoning={"effort": "none"}).chat_template_kwargs == {
        "enable_thinking": False
    }
    told = parameters(reasoning={"effort": "high"}, chat_template_kwargs={"more": 1})
    assert told.chat_template_kwargs == {
        "enable_thinking": True,
        "reasoning_effort": "high",
        "more": 1,
    }


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "mcp", "server_label": "x"}]}, "tools[1].type"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [TOOL | {"async": True}]}, "tools[0].async"),
        ({"tools": [TOOL | {"allowed_callers": ["program"]}]}, "tools[0].allowed_callers"),
        ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "no"}],
                },
            },
            "tool_choice.tools[0]",
        ),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"include": ["everything"]}, "include[0]"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {str(at): "" for at in range(MAX_METADATA + 1)}}, "metadata"),
        ({"background": True, "store": False}, "background"),
        ({"stream_options": {}}, "stream_options"),
        ({"truncation": "maybe"}, "truncation"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ],
)
def test_what_is_not_done_or_wrong_is_refused_by_its_name(given, param):
    with pytest.raises(InvalidRequest) as caught:
        parameters(**given)
    assert caught.value.param == param


def test_input_is_needed():
    with pytest.raises(InvalidRequest) as caught:
        read_response_body(b"{}")
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("found", "message", "told", "said"),
    [
        ("max_completion_tokens", "max_completion_tokens is 0", "max_output_tokens", None),
        ("response_format.json_schema.schema", "x", "text.format.schema", None),
        ("tools[1].function.parameters.type", "x", "tools[1].parameters.type", None),
        ("messages", "messages has too much", "input", None),
        ("messages[1].tool_calls", "messages[1].tool_calls: no", "input[4]", "input[4]: no"),
        (None, "nothing of it", None, None),
    ],
)
def test_faults_are_told_in_the_names_of_this_api(found, message, told, said):
    with pytest.raises(ContextTooLong) as caught, NAMES.told(["instructions", "input[4]"]):
        raise ContextTooLong(message, param=found)
    assert caught.value.param == told
    if said is not None:
        assert caught.value.message == said
