import pytest

from config.errors import InvalidRequest
from gateway.messages import template_messages
from gateway.responses.conversation import conversation
from gateway.responses.items import (
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Refusal,
)

USER = Message("u", "user", [InputText("Weather in "), InputText("Paris?")])
SAID = Message("a", "assistant", [OutputText("It is "), Refusal("sunny.")])
THOUGHT = Reasoning("r", content=[ReasoningText("I look.")])
CALL = FunctionCall("f", "c1", "weather", '{"city": "Paris"}')
OTHER = FunctionCall("g", "c2", "weather", '{"city": "Rome"}')
RESULT = FunctionCallOutput("o", "c1", "sun")
OTHER_RESULT = FunctionCallOutput("p", "c2", "rain")


def said(*given, instructions=None, history=()):
    """The roles with what is told, as templates get it."""
    found = conversation(instructions, history, given)
    turns = template_messages(found.messages)
    assert len(found.places) == len(turns)
    return turns


def test_thoughts_words_and_calls_in_a_row_are_one_turn():
    question, turn, one, other, last = said(
        USER, THOUGHT, SAID, CALL, OTHER, RESULT, OTHER_RESULT, SAID
    )
    assert question == {"role": "user", "content": "Weather in Paris?"}
    assert (turn["content"], turn["reasoning_content"]) == ("It is sunny.", "I look.")
    assert [call["id"] for call in turn["tool_calls"]] == ["c1", "c2"]
    assert turn["tool_calls"][0]["function"]["arguments"] == {"city": "Paris"}
    assert one == {"role": "tool", "content": "sun", "tool_call_id": "c1"}
    assert other["tool_call_id"] == "c2"
    assert last == {"role": "assistant", "content": "It is sunny."}


def test_what_cannot_be_of_the_same_turn_begins_another():
    turns = said(USER, SAID, SAID, THOUGHT, CALL, RESULT)
    assert [turn["role"] for turn in turns] == ["user", *["assistant"] * 3, "tool"]
    assert turns[3]["reasoning_content"] == "I look."
    assert said(USER, CALL, SAID, RESULT)[1]["tool_calls"]


def test_thoughts_without_an_answer_are_a_turn_without_words():
    assert said(USER, THOUGHT)[1] == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "I look.",
    }


def test_system_messages_at_the_beginning_become_one():
    brief = Message("d", "developer", [InputText("Be brief.")])
    turns = said(brief, USER, brief, instructions="Be kind.")
    assert [turn["role"] for turn in turns] == ["system", "user", "system"]
    assert turns[0]["content"] == "Be kind.\n\nBe brief."


def test_history_comes_after_the_instructions_and_before_the_input():
    found = conversation("Be kind.", [USER, CALL], [RESULT, USER])
    assert [it.role for it in found.messages] == ["system", "user", "assistant", "tool", "user"]
    assert found.places == [
        "instructions",
        "previous_response_id",
        "previous_response_id",
        "input[0]",
        "input[1]",
    ]


def test_a_result_needs_its_call():
    with pytest.raises(InvalidRequest) as caught:
        conversation(None, [USER], [USER, RESULT])
    assert caught.value.param == "input[1].call_id"
