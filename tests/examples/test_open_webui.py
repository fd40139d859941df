"""Requests as Open WebUI 0.12.4 was seen to send them to a connection of the kind OpenAI."""

import json
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]

QUESTION = {"role": "user", "content": "What is the capital of France?"}
TOOL = {
    "name": "get_weather",
    "description": "Get the current weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city."}},
        "required": ["city"],
    },
}
CALL = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
RESULT = '{"temperature": 21, "condition": "sunny"}'
WEATHER = {"role": "user", "content": "What is the weather in Paris?"}
# Some of its own, which it sends with each chat.
ITS_TOOLS = [
    {
        "name": "get_current_timestamp",
        "description": "Get the current Unix timestamp in seconds.",
        "parameters": {"properties": {}, "type": "object"},
    },
    {
        "name": "ask_user",
        "description": "Ask the user clarifying questions before continuing.",
        "parameters": {
            "properties": {
                "questions": {
                    "description": "1-3 question objects",
                    "items": {"additionalProperties": True, "type": "object"},
                    "type": "array",
                },
                "timeout_ms": {"default": 120000, "type": "integer"},
            },
            "required": ["questions"],
            "type": "object",
        },
    },
    {
        "name": "create_skill",
        "description": "Create a skill.",
        "parameters": {
            "properties": {
                "files": {
                    "items": {
                        "additionalProperties": False,
                        "properties": {
                            "path": {"type": "string"},
                            "encoding": {"const": "base64", "type": "string"},
                        },
                        "required": ["path"],
                        "type": "object",
                    },
                    "type": "array",
                }
            },
            "type": "object",
        },
    },
]
TITLE = """### Task:
Generate a concise title summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: What is the capital of France?
ASSISTANT: \n</chat_history>"""
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
LIKELIEST = {"top_p": 0}, {"temperature": 0}
STREAM = {"model": "demo", "stream": True, "stream_options": {"include_usage": True}}
CONTROLS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.05,
    "max_tokens": 128,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 7,
    "stop": ["END"],
    "logit_bias": {"5": -1},
    "response_format": {"type": "text"},
}


@pytest.fixture
def send(server, key):
    def send(path, body=None):
        """The answer's body."""
        headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "X-OpenWebUI-User-Name": "Ada%20Lovelace",
            "X-OpenWebUI-User-Role": "user",
            "X-OpenWebUI-Chat-Id": "b0f0fd1c",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{server.url}/v1/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read().decode()

    return send


@pytest.fixture
def chat(send):
    def chat(body):
        """Text, calls and usage of a stream, put together as its interface does."""
        *events, last = send("chat/completions", body).split("\n\n")[:-1]
        assert last == "data: [DONE]"
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        text = "".join(delta.get("content") or "" for delta in deltas)
        calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
        return text, calls, chunks[-1]["usage"]

    return chat


def test_the_models(send):
    listed = json.loads(send("models"))["data"]
    assert [(model["id"], model["owned_by"]) for model in listed] == [
        ("demo", "mlx-serving"),
        ("minilm", "mlx-serving"),
    ]


def test_a_chat_with_a_system_prompt_and_what_was_said(chat):
    system = {"role": "system", "content": "User Context:\n\nThe user is in Oslo."}
    said = {"role": "assistant", "content": "The capital of France is Paris."}
    parts = [{"type": "text", "text": "What is the capital of Italy?"}]
    messages = [system, QUESTION, said, {"role": "user", "content": parts}]
    text, _, usage = chat(STREAM | {"messages": messages, "temperature": 0})
    assert "Rome" in text
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_its_controls(chat):
    text, _, usage = chat(STREAM | CONTROLS | {"messages": [QUESTION]})
    assert text
    assert usage["completion_tokens"] <= 128


def test_a_round_of_tools(chat):
    """The call is sent back as text and calls, with what it keeps of a model's thoughts."""
    asked = STREAM | {"tools": [{"type": "function", "function": TOOL}], "temperature": 0}
    _, calls, _ = chat(asked | {"messages": [WEATHER]})
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": calls[0]["id"], "type": "function", "function": CALL}],
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    }
    result = {"role": "tool", "tool_call_id": calls[0]["id"], "content": RESULT}
    text, calls, _ = chat(asked | {"messages": [WEATHER, called, result]})
    assert ("21" in text, calls) == (True, [])


def test_what_was_said_goes_on_without_the_tools(chat):
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "type": "function", "function": CALL}],
    }
    result = {"role": "tool", "tool_call_id": "call_1", "content": RESULT}
    said = {"role": "assistant", "content": "The result is temperature 21, condition sunny."}
    text, calls, _ = chat(
        STREAM | {"messages": [WEATHER, called, result, said, QUESTION], "temperature": 0}
    )
    assert (bool(text), calls) == (True, [])


def test_an_answer_that_it_wants_continued(chat):
    said = {"role": "assistant", "content": "1, 2, 3, 4"}
    question = {"role": "user", "content": "Count from 1 to 20."}
    text, _, _ = chat(STREAM | {"messages": [question, said], "temperature": 0})
    assert "20" in text


def test_its_own_tools(chat):
    tools = [{"type": "function", "function": it} for it in ITS_TOOLS]
    text, calls, _ = chat(STREAM | {"messages": [QUESTION], "tools": tools})
    assert text or calls


def test_no_more_than_the_likeliest_token(chat):
    """The left end of its slider."""
    one, other = (chat(STREAM | {"messages": [QUESTION]} | it)[0] for it in LIKELIEST)
    assert one == other == "The capital of France is Paris."


@pytest.mark.parametrize("more", [{"max_tokens": 1000}, {}], ids=["title", "tags and follow-ups"])
def test_a_task_in_the_background(send, more):
    messages = [{"role": "user", "content": TITLE}]
    body = {"model": "demo", "messages": messages, "stream": False} | more
    answer = json.loads(send("chat/completions", body))
    assert answer["choices"][0]["message"]["content"]


def test_tokens_that_its_own_messages_endpoint_counts(send):
    """It passes on the whole request."""
    body = {
        "model": "demo",
        "max_tokens": 50,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Who are you?"}]}],
        "metadata": {"user_id": "x"},
        "temperature": 0,
        "stream": True,
        "thinking": {"type": "disabled"},
        "top_k": 5,
        "stop_sequences": ["x"],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
    }
    assert json.loads(send("messages/count_tokens", body))["input_tokens"] > 20


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"messages": [{"role": "user", "content": [IMAGE]}]},
            "content of type 'image_url' is not supported; this model reads text",
        ),
        ({"reasoning_effort": "medium"}, "the model 'demo' does not think; leave it out"),
        ({"repeat_penalty": 1.1}, "unknown parameter 'repeat_penalty'; did you mean "),
    ],
)
def test_what_it_shows_of_what_cannot_be_done(send, more, message):
    with pytest.raises(urllib.error.HTTPError) as caught:
        send("chat/completions", STREAM | {"messages": [QUESTION]} | more)
    with caught.value as answer:
        assert answer.code == 400
        assert json.loads(answer.read())["error"]["message"].startswith(message)


def test_a_connection_of_the_kind_responses(send):
    body = {
        "model": "demo",
        "stream": True,
        "instructions": "Be kind.",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": QUESTION["content"]}],
            }
        ],
        "max_output_tokens": 100,
        "temperature": 0,
        "top_p": 0.9,
    }
    assert "Paris" in send("responses", body)


def test_a_round_of_tools_of_the_kind_responses(send):
    question = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": WEATHER["content"]}],
    }
    body = {
        "stream": True,
        "model": "demo",
        "temperature": 0,
        "top_p": 0.9,
        "seed": 7,
        "top_k": 4,
        "tools": [TOOL | {"type": "function", "strict": False}],
        "input": [
            question,
            CALL | {"type": "function_call", "call_id": "call_1"},
            {"type": "function_call_output", "call_id": "call_1", "output": RESULT},
        ],
        "max_output_tokens": 100,
    }
    assert "temperature 21" in send("responses", body)


def test_embeddings_of_documents(send):
    body = {"input": ["A cat.", "A dog."], "model": "minilm"}
    vectors = [entry["embedding"] for entry in json.loads(send("embeddings", body))["data"]]
    assert [len(vector) for vector in vectors] == [384, 384]
