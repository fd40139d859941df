"""Requests as Open WebUI 0.12 sends them to a connection of the kind OpenAI."""

import json
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
CALL = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
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
    question = {"role": "user", "content": "What is the weather in Paris?"}
    _, calls, _ = chat(asked | {"messages": [question]})
    assert "".join(call["function"]["arguments"] for call in calls) == CALL["arguments"]
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": calls[0]["id"], "type": "function", "function": CALL}],
        "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    }
    result = {"role": "tool", "tool_call_id": calls[0]["id"], "content": '{"temperature": 21}'}
    text, calls, _ = chat(asked | {"messages": [question, called, result]})
    assert ("21" in text, calls) == (True, [])


def test_a_title_in_the_background(send):
    body = {"model": "demo", "messages": [QUESTION], "stream": False, "max_tokens": 1000}
    answer = json.loads(send("chat/completions", body))
    assert answer["choices"][0]["message"]["content"]


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


def test_embeddings_of_documents(send):
    body = {"input": ["A cat.", "A dog."], "model": "minilm"}
    vectors = [entry["embedding"] for entry in json.loads(send("embeddings", body))["data"]]
    assert [len(vector) for vector in vectors] == [384, 384]
