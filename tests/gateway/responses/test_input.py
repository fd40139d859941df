import msgspec
import pytest

from config.errors import InvalidRequest
from gateway.messages import MAX_MESSAGES
from gateway.responses.ids import ItemIds, new_response_id, response_of
from gateway.responses.input import InputItem, kept_items, referred_ids
from gateway.responses.items import (
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Refusal,
    SummaryText,
)

RESPONSE = new_response_id(1_000_000_000)


def items_of(given):
    return msgspec.convert(given, list[InputItem])


def kept(*given, known=lambda _: None):
    return kept_items(items_of(given), ItemIds(RESPONSE), known)


def test_a_text_is_a_message_of_the_user():
    (item,) = kept_items("Hello", ItemIds(RESPONSE), lambda _: None)
    assert item == Message(item.id, "user", [InputText("Hello")])
    assert response_of(item.id) == RESPONSE


def test_messages_of_all_kinds_are_kept():
    items = kept(
        {"role": "developer", "content": "Be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "Well", "annotations": [], "logprobs": None},
                {"type": "refusal", "refusal": "no"},
            ],
        },
    )
    assert [it.content for it in items] == [
        [InputText("Be brief")],
        [InputText("Hi")],
        [OutputText("Well"), Refusal("no")],
    ]
    assert [it.role for it in items] == ["developer", "user", "assistant"]
    assert items[2].id == "msg_1"
    assert len({it.id for it in items}) == 3


def test_calls_their_results_and_thoughts_are_kept():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
        "encrypted_content": "xx",
    }
    result = {"type": "function_call_output", "call_id": "c1", "output": "sun"}
    parts = [{"type": "input_text", "text": "r"}, {"type": "input_text", "text": "ain"}]
    thoughts, made, told, told_in_parts = kept(thought, call, result, result | {"output": parts})
    assert thoughts == Reasoning("rs_1", [SummaryText("short")], [ReasoningText("long")], "xx")
    assert made == FunctionCall(made.id, "c1", "f", '{"a":1}')
    assert told == FunctionCallOutput(told.id, "c1", "sun")
    assert told_in_parts.output == "rain"


@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "x"}, {"id": "x"}])
def test_references_are_looked_up(reference):
    found = Message("x", "user", [InputText("Hi")])
    assert referred_ids(items_of([reference, {"role": "user", "content": ""}])) == ["x"]
    assert kept(reference, known={"x": found}.get) == [found]
    with pytest.raises(InvalidRequest, match="no item 'x'") as caught:
        kept(reference)
    assert caught.value.param == "input[0].id"


def test_an_id_that_could_be_anything_is_replaced():
    (item,) = kept({"role": "user", "content": "Hi", "id": "../../etc\n"})
    assert response_of(item.id) == RESPONSE


PARTS = {"role": "user", "content": [{"type": "input_text", "text": "Look:"}]}
IMAGE = {"type": "input_image", "image_url": "https://example.org/x.png"}
FILE = {"type": "input_file", "file_id": "f"}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "user", "content": [*PARTS["content"], IMAGE]}, "input[0].content[1].type"),
        ({"role": "user", "content": [FILE]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "wizard", "content": "Hi"}, "input[0].role"),
        ({"type": "message", "content": "Hi"}, "input[0].role"),
        ({"type": "web_search_call", "id": "ws_1"}, "input[0].type"),
        ({"type": "computer_call_output", "call_id": "c"}, "input[0].type"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[0].name"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "a b"}, "input[0].name"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "input[0].output"),
        (
            {"type": "function_call_output", "call_id": "c", "output": [IMAGE]},
            "input[0].output[0].type",
        ),
        ({"type": "reasoning", "content": [{"type": "text"}]}, "input[0].content[0].type"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(item, param):
    with pytest.raises(InvalidRequest) as caught:
        kept(item)
    assert caught.value.param == param


@pytest.mark.parametrize("count", [0, MAX_MESSAGES + 1])
def test_the_number_of_items_is_bounded(count):
    with pytest.raises(InvalidRequest, match=f"1 to {MAX_MESSAGES} items"):
        kept(*[{"role": "user", "content": "x"}] * count)
