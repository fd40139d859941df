"""What only shows with a real engine behind the gateway's text path."""

import json

import openai
import pytest

from tests.e2e.test_features import WEATHER

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
TWO_CITIES = "What is the weather in Paris and Rome?"
STRANGER = "start: <|no_token_of_this_model|>"


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, text, **parameters):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(
        model="demo", messages=messages, temperature=0, **parameters
    )


def cities(choice):
    calls = choice.message.tool_calls
    return [json.loads(call.function.arguments)["city"] for call in calls]


def test_with_one_call_allowed_the_engine_writes_no_second_one(client):
    several = ask(client, TWO_CITIES, tools=[WEATHER])
    single = ask(client, TWO_CITIES, tools=[WEATHER], parallel_tool_calls=False)
    assert cities(several.choices[0]) == ["Paris", "Rome"]
    assert cities(single.choices[0]) == ["Paris"]
    assert single.choices[0].finish_reason == "tool_calls"
    assert 0 < single.usage.completion_tokens <= several.usage.completion_tokens / 2


def test_a_stream_with_one_call_allowed_ends_with_it(client):
    *chunks, last = ask(
        client,
        TWO_CITIES,
        tools=[WEATHER],
        parallel_tool_calls=False,
        stream=True,
        stream_options={"include_usage": True},
    )
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert {delta.index for delta in deltas} == {0}
    assert json.loads("".join(it.function.arguments or "" for it in deltas)) == {"city": "Paris"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    whole = ask(client, TWO_CITIES, tools=[WEATHER], parallel_tool_calls=False)
    assert last.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"guided_grammar": STRANGER}, "guided_grammar"),
        ({"structured_outputs": {"grammar": STRANGER}}, "structured_outputs.grammar"),
    ],
)
def test_what_only_the_engine_can_refuse_is_named_as_the_client_did(client, extra, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "Hello!", extra_body=extra)
    assert caught.value.param == param
