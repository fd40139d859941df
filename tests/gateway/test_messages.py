import msgspec
import pytest

from config.errors import InvalidRequest
from gateway.messages import template_messages
from transport.messages.client import ChatMessage

THOUGHTS = "Rain, I think."
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}
NONE = {"refusal": None, "annotations": None, "audio": None, "function_call": None}
# An assistant's message as each of them gives it to its user.
SAID = {
    "vllm": NONE
    | {"content": None, "tool_calls": [CALL], "reasoning": THOUGHTS, "reasoning_content": THOUGHTS},
    "openai": NONE
    | {
        "content": "I look.",
        "tool_calls": [
            CALL | {"index": 0, "function": CALL["function"] | {"parsed_arguments": {}}}
        ],
        "parsed": {"city": "Paris"},
        "reasoning_content": THOUGHTS,
    },
    "litellm": {
        "content": "I look.",
        "tool_calls": [CALL],
        "function_call": None,
        "provider_specific_fields": {"refusal": None},
        "reasoning_content": THOUGHTS,
        "thinking_blocks": [{"type": "thinking", "thinking": THOUGHTS, "signature": "x"}],
        "reasoning_items": None,
        "annotations": [],
        "images": [],
    },
    "openrouter": {
        "content": "",
        "refusal": None,
        "tool_calls": [CALL],
        "reasoning": THOUGHTS,
        "reasoning_details": [{"type": "reasoning.text", "text": THOUGHTS, "format": None}],
    },
    "langchain": {"content": None, "tool_calls": [CALL], "name": "bob", "reasoning": THOUGHTS},
}


def turns(*messages):
    return template_messages(
        msgspec.convert([{"role": "user", "content": "?"}, *messages], list[ChatMessage])
    )


def turn(**message):
    """What the template is given of an assistant's message."""
    return turns({"role": "assistant"} | message)[-1]


def refused(**message):
    """The field that is at fault."""
    with pytest.raises(InvalidRequest) as caught:
        turns(message)
    return caught.value.param


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_an_answer_goes_back_whole_with_its_thoughts_and_calls(said):
    answer = {"role": "tool", "tool_call_id": "call_1", "name": "get_weather", "content": "21"}
    _, assistant, tool = turns({"role": "assistant"} | said, answer)
    assert assistant["content"] == (said["content"] or "")
    assert assistant["reasoning_content"] == THOUGHTS
    [call] = assistant["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": {"city": "Paris"}}
    assert (tool["tool_call_id"], tool["content"]) == ("call_1", "21")


def test_thoughts_have_two_names():
    said = [
        ChatMessage(role="assistant", content="a", reasoning="why"),
        ChatMessage(role="assistant", content="a", reasoning_content="why", reasoning="other"),
    ]
    assert [turn["reasoning_content"] for turn in template_messages(said)] == ["why", "why"]


def test_an_answer_that_was_cut_off_in_its_thoughts_has_no_content():
    assert turn(content=None, reasoning="why") == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "why",
    }


def test_a_refusal_is_what_was_said():
    part = {"type": "refusal", "refusal": "I will not."}
    for said in ({"content": None, "refusal": "I will not."}, {"content": [part]}):
        assert turn(**said) == {"role": "assistant", "content": "I will not."}
    assert turn(content="Well.", refusal="No.")["content"] == "Well."


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "assistant", "content": None}, "content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "content"),
        ({"role": "assistant", "content": "a", "images": [{"type": "image_url"}]}, "images"),
        ({"role": "assistant", "content": "a", "audio": {"id": "a"}}, "audio"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f"}}, "function_call"),
        ({"role": "user", "content": "a", "refusal": "b"}, "refusal"),
        ({"role": "user", "content": "a", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "assistant", "content": [{"type": "refusal"}]}, "content[0].refusal"),
        ({"role": "assistant", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "assistant", "content": [{"type": "audio"}]}, "content[0].type"),
    ],
)
def test_what_cannot_be_shown_to_a_model_is_named(message, param):
    assert refused(**message) == f"messages[1].{param}"
