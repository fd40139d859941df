"""Blocks become the messages that chat templates know."""

import msgspec
import pytest

from config.errors import InvalidRequest
from gateway.anthropic.conversation import conversation
from gateway.anthropic.schema import Block, InputMessage
from gateway.messages import template_messages
from transport.messages.client import ChatMessage, FunctionCall, ToolCall

TEXT = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}, "citations": None}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"a": 1}, "caller": None}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1"}


def said(*messages: dict, system=None):
    given = msgspec.json.decode(msgspec.json.encode(messages), type=list[InputMessage])
    return conversation(msgspec.convert(system, str | list[Block] | None), given)


def user(*content) -> dict:
    return {"role": "user", "content": list(content)}


def assistant(*content) -> dict:
    return {"role": "assistant", "content": list(content)}


@pytest.mark.parametrize("system", ["Be kind.\n\nHi", [{"type": "text", "text": "Be kind."}, TEXT]])
def test_the_system_prompt_comes_first(system):
    found = said({"role": "user", "content": "Hello"}, system=system)
    assert found.messages == [
        ChatMessage("system", content="Be kind.\n\nHi"),
        ChatMessage("user", content="Hello"),
    ]
    assert found.places == ["system", "messages[0]"]


def test_messages_of_one_role_in_a_row_are_one_turn():
    found = said(user(TEXT), {"role": "user", "content": "there"}, user(TEXT, TEXT))
    assert found.messages == [ChatMessage("user", content="Hi\n\nthere\n\nHi\n\nHi")]
    assert found.places == ["messages[0]"]


def test_a_system_message_may_come_in_the_middle():
    later = {"role": "system", "content": "Be brief."}
    found = said(user(TEXT), later, user(TEXT))
    assert [it.role for it in found.messages] == ["user", "system", "user"]


def test_a_round_of_tools():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    found = said(
        user(TEXT),
        assistant(THOUGHT, TEXT, USE, USE | {"id": "toolu_2", "input": {}}),
        user(RESULT | {"content": parts}, RESULT | {"tool_use_id": "toolu_2"}, TEXT),
    )
    calls = [
        ToolCall("toolu_1", FunctionCall("look", '{"a":1}')),
        ToolCall("toolu_2", FunctionCall("look", "{}")),
    ]
    assert found.messages == [
        ChatMessage("user", content="Hi"),
        ChatMessage("assistant", content="Hi", reasoning_content="Hm.", tool_calls=calls),
        ChatMessage("tool", content="one\n\ntwo", tool_call_id="toolu_1"),
        ChatMessage("tool", content="", tool_call_id="toolu_2"),
        ChatMessage("user", content="Hi"),
    ]
    assert found.places == ["messages[0]", "messages[1]", *["messages[2]"] * 3]
    assert template_messages(found.messages)


def test_a_result_that_is_an_error_says_so():
    found = said(user(TEXT), assistant(USE), user(RESULT | {"content": "none", "is_error": True}))
    assert found.messages[-1].content == "Error: none"
    assert found.messages[1].content is None


def test_thoughts_alone_are_a_turn_without_words():
    found = said(user(TEXT), assistant(THOUGHT), user(TEXT))
    assert found.messages[1] == ChatMessage("assistant", content="", reasoning_content="Hm.")


@pytest.mark.parametrize(
    ("message", "param", "words"),
    [
        ({"role": "tool", "content": "x"}, "role", "user, assistant, system"),
        (user(), "content", "needs content"),
        (user({"type": "text"}), "content[0].text", "needs text"),
        (user(TEXT, {"type": "image", "source": {}}), "content[1].type", "'image'"),
        (user({"type": "document", "source": {}}), "content[0].type", "'document'"),
        (user({"type": "search_result", "content": []}), "content[0].type", "'search_result'"),
        (user(USE), "content[0].type", "role 'user'"),
        (user(RESULT), "content[0].tool_use_id", "'toolu_1'"),
        (user({"type": "tool_result"}), "content[0].tool_use_id", "tool_use_id"),
        (assistant(RESULT), "content[0].type", "role 'assistant'"),
        (assistant({"type": "redacted_thinking", "data": "x"}), "content[0].type", "redacted"),
        (assistant({"type": "server_tool_use", "id": "1"}), "content[0].type", "server_tool_use"),
        (assistant(USE | {"id": ""}), "content[0].id", "id"),
        (assistant(USE | {"name": "a b"}), "content[0].name", "'a b'"),
        (assistant({"type": "tool_use", "id": "1", "name": "x"}), "content[0].input", "input"),
        (assistant(USE | {"input": [1]}), "content[0].input", "input"),
        (assistant(TEXT), "role", "prefill"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(message, param, words):
    with pytest.raises(InvalidRequest) as caught:
        said(user(TEXT), message)
    assert caught.value.param == f"messages[1].{param}"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("content", "param"),
    [
        ([TEXT, {"type": "image"}], "content[0].content[1].type"),
        ([RESULT], "content[0].content[0].type"),
        ({"type": "error"}, "content[0].content"),
    ],
)
def test_results_are_texts(content, param):
    with pytest.raises(InvalidRequest) as caught:
        said(user(TEXT), assistant(USE), user(RESULT | {"content": content}))
    assert caught.value.param == f"messages[2].{param}"


def test_the_system_prompt_is_text():
    with pytest.raises(InvalidRequest) as caught:
        said(user(TEXT), system=[TEXT, {"type": "image"}])
    assert caught.value.param == "system[1].type"
