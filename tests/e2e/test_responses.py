"""The Responses API through the official client, on the demo model, with two gateways."""

import json

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.server import Server, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
GATEWAYS = ("gateway:0", "gateway:1")
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": False,
}
NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 500}
LONG = {
    "text": {
        "format": {
            "type": "json_schema",
            "name": "numbers",
            "schema": {"type": "object", "properties": {"n": NUMBERS}, "required": ["n"]},
        }
    },
    "max_output_tokens": 1800,
    "background": True,
}


@pytest.fixture(scope="module")
def server():
    with Server(env={"MLX_SERVING_SERVER__GATEWAYS": "2"}) as running:
        running.wait_ready()
        yield running


def connected(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=2)


@pytest.fixture
def responses(server):
    with connected(server) as client:
        yield client.responses


def ask(responses, given, **more):
    return responses.create(**{"model": "demo", "input": given, "temperature": 0} | more)


def over(responses, response_id):
    """The response, if nobody works on it any more."""
    found = responses.retrieve(response_id)
    return found if found.status != "in_progress" else None


def test_a_question_is_answered_and_the_same_in_a_stream(responses):
    whole = ask(responses, "What is the capital of France?")
    assert (whole.status, "Paris" in whole.output_text) == ("completed", True)
    events = list(ask(responses, "What is the capital of France?", stream=True))
    deltas = [it.delta for it in events if it.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text == events[-1].response.output_text
    assert events[-1].response.usage.total_tokens == whole.usage.total_tokens


def test_a_conversation_goes_on_by_its_id(server, responses):
    first = ask(responses, "My name is Ada.")
    for _ in range(4):  # on connections of their own: any gateway may be asked
        with connected(server) as other:
            second = ask(other.responses, "What is my name?", previous_response_id=first.id)
        assert "Ada" in second.output_text
        assert second.previous_response_id == first.id


def test_a_tool_is_called_and_its_result_told(responses):
    first = ask(responses, "What is the weather in Paris?", tools=[WEATHER])
    (call,) = first.output
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    result = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": '{"temperature": 21}',
    }
    second = ask(responses, [result], tools=[WEATHER], previous_response_id=first.id)
    assert "21" in second.output_text


def test_an_answer_has_the_form_that_was_asked_for(responses):
    class Trip(BaseModel):
        city: str
        days: int

    made = responses.parse(
        model="demo", input="Plan a trip.", text_format=Trip, temperature=0, max_output_tokens=200
    )
    assert isinstance(made.output_parsed, Trip)


def test_what_is_stored_is_listed_and_deleted(responses):
    made = ask(responses, "Hello!")
    assert responses.retrieve(made.id).to_dict() == made.to_dict()
    (item,) = responses.input_items.list(made.id)
    assert item.content[0].text == "Hello!"
    responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        responses.retrieve(made.id)


def test_a_background_response_comes_to_its_end(responses):
    begun = ask(responses, "What is the capital of France?", background=True)
    found = wait_for(lambda: over(responses, begun.id), what="the end")
    assert (found.status, "Paris" in found.output_text) == ("completed", True)


def test_a_background_response_is_cancelled(server, responses):
    begun = ask(responses, "Count.", **LONG)
    assert responses.cancel(begun.id).status == "cancelled"

    def idle():
        facts = server.child("engine:demo:0").facts
        return facts["running"] == 0 and facts["waiting"] == 0

    wait_for(idle, what="an idle engine")
    assert responses.retrieve(begun.id).status == "cancelled"


def test_bad_input_is_refused(responses):
    for given, param in (
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(responses, "Hi", **given)
        assert caught.value.param == param


def test_what_is_stored_outlives_the_gateways_and_what_they_worked_on_fails(server, responses):
    kept = ask(responses, "Hello!")
    begun = ask(responses, "Count.", **LONG)
    for dead in [server.kill(gateway) for gateway in GATEWAYS]:
        server.wait_successor(dead)
    assert responses.retrieve(kept.id).output_text == kept.output_text
    assert responses.retrieve(begun.id).status == "failed"
    assert "Paris" in ask(responses, "What is the capital of France?").output_text
