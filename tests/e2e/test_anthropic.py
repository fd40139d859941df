"""The official Anthropic client, unchanged, against a real server with the demo model."""

import anthropic
import pytest

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "Get the weather.", "input_schema": SCHEMA}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


@pytest.fixture
def client(server):
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def asked(messages, **parameters):
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    greedy = {"temperature": 0}  # newer clients have no parameter for it
    return {
        "model": "demo",
        "max_tokens": 200,
        "messages": messages,
        "extra_body": greedy,
    } | parameters


def test_text(client):
    answer = client.messages.create(**asked("What is the capital of France?"))
    (block,) = answer.content
    assert "Paris" in block.text
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.usage.input_tokens + answer.usage.cache_read_input_tokens > 0
    assert answer.usage.output_tokens > 0


def test_a_stream_says_the_same(client):
    question = "Write a short story about a fox."
    with client.messages.stream(**asked(question)) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    whole = client.messages.create(**asked(question))
    assert text == streamed.content[0].text == whole.content[0].text
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert whole.usage.cache_read_input_tokens  # the question was stored meanwhile


def test_a_system_prompt_and_a_conversation(client):
    messages = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": [{"type": "text", "text": "Nice to meet you, Ada!"}]},
        {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]},
    ]
    system = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
    answer = client.messages.create(**asked(messages, system=system))
    assert "Ada" in answer.content[0].text


def test_a_stop_sequence(client):
    answer = client.messages.create(**asked("Count from 1 to 30.", stop_sequences=[" 7", "x x"]))
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", " 7")
    assert "6" in answer.content[0].text
    assert " 7" not in answer.content[0].text


def test_a_round_of_tools(client):
    answer = client.messages.create(**asked([QUESTION], tools=[WEATHER]))
    assert answer.stop_reason == "tool_use"
    (use,) = [block for block in answer.content if block.type == "tool_use"]
    assert (use.name, use.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny, 21 degrees"}
    turns = [
        QUESTION,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    last = client.messages.create(**asked(turns, tools=[WEATHER]))
    assert last.stop_reason == "end_turn"
    assert "sunny" in last.content[0].text


def test_tools_in_a_stream(client):
    choice = {"type": "tool", "name": "get_weather"}
    with client.messages.stream(**asked([QUESTION], tools=[WEATHER], tool_choice=choice)) as stream:
        parts = [event.partial_json for event in stream if event.type == "input_json"]
        (use,) = stream.get_final_message().content
    assert len(parts) > 1
    assert use.input == {"city": "Paris"}


def test_counted_tokens_are_those_of_the_answer(client):
    parameters = {"messages": [QUESTION], "tools": [WEATHER], "system": "Be kind."}
    count = client.messages.count_tokens(model="demo", **parameters)
    used = client.messages.create(**asked(**parameters)).usage
    assert count.input_tokens == used.input_tokens + used.cache_read_input_tokens


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError, match="nobody") as caught:
        client.messages.create(**asked("?", model="nobody"))
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert caught.value.request_id


def test_what_is_not_done_is_refused_by_name(client):
    search = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type: .*web_search_20250305"):
        client.messages.create(**asked("?", tools=[search]))
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(**asked("word " * 5000))
