"""The official OpenAI client, unchanged, against a real server with the demo model."""

import asyncio
import http.client
import json

import openai
import pytest

from tests.e2e.server import wait_for
from tests.e2e.streams import request, run_streams

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, text, **parameters):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(
        model="demo", messages=messages, temperature=0, **parameters
    )


def test_chat(client):
    answer = ask(client, "What is the capital of France?")
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streamed_says_the_same(client):
    question = "Write a short story about a fox."
    stream = ask(client, question, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    whole = ask(client, question)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert whole.usage.prompt_tokens_details.cached_tokens  # the question was stored meanwhile


def test_completions(client):
    answer = client.completions.create(model="demo", prompt="Once upon a time", max_tokens=8)
    assert answer.choices[0].text
    assert answer.usage.completion_tokens <= 8


def test_completions_streamed(client):
    parameters = {"model": "demo", "prompt": "Once upon", "max_tokens": 12, "temperature": 0}
    chunks = list(client.completions.create(**parameters, stream=True))
    whole = client.completions.create(**parameters)
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text


def test_a_seed_repeats(client):
    answers = {
        client.completions.create(
            model="demo", prompt="The", max_tokens=20, temperature=1.2, seed=seed
        )
        .choices[0]
        .text
        for seed in (1, 1, 1, 2)
    }
    assert len(answers) == 2


def test_a_conversation_is_remembered(client):
    messages = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Nice to meet you, Ada!"},
        {"role": "user", "content": "What is my name?"},
    ]
    answer = client.chat.completions.create(model="demo", messages=messages, temperature=0)
    assert "Ada" in answer.choices[0].message.content


def test_stop_text_ends_and_does_not_show(client):
    answer = ask(client, "Count from 1 to 30.", stop=[" 7"])
    assert answer.choices[0].finish_reason == "stop"
    assert "6" in answer.choices[0].message.content
    assert " 7" not in answer.choices[0].message.content


def test_models(client):
    assert [model.id for model in client.models.list()] == ["demo"]


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="nobody"):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "?"}])


def test_a_prompt_over_the_context_is_refused_with_both_numbers(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="demo", prompt=[5] * 5000)
    assert caught.value.code == "context_length_exceeded"
    assert "5000" in str(caught.value)
    assert "2048" in str(caught.value)


def test_100_concurrent_requests_all_succeed(server):
    streams = asyncio.run(run_streams(server.url, [request(i) for i in range(100)]))
    assert [stream.errors for stream in streams if not stream.complete] == []


def wait_idle(server):
    def idle():
        facts = server.child("engine:demo:0").facts
        return facts.get("running") == facts.get("waiting") == 0  # told a moment after the start

    wait_for(idle, 20, "an idle engine")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_stops_its_generation(server, streamed):
    def generated():
        return server.child("engine:demo:0").facts["generated_tokens"]

    wait_idle(server)
    before = generated()
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    asked = {"prompt": "Count", "max_tokens": 1800, "ignore_eos": True, "stream": streamed}
    body = json.dumps({"model": "demo", **asked})
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    wait_for(lambda: generated() > before, what="some tokens")
    connection.close()
    wait_idle(server)
    assert generated() < before + 1800


def test_health_ready_and_metrics(server):
    assert server.get("/health")[0] == 200
    assert server.get("/ready")[0] == 200
    status, text = server.get("/metrics")
    assert status == 200
    assert "mlx_serving_engine_generated_tokens_total" in text
