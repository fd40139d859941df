"""What clients make of an answer may be sent back whole, with thoughts and calls."""

import asyncio
import contextlib
import shutil

import openai
import pydantic
import pytest

from tests.gateway.scripted import DEMO_FOLDER, demo_view, says, served, tokenizer

TEMPLATE = """
{%- for it in messages -%}
<|{{ it.role }}|>
{%- if it.reasoning_content %}<think>{{ it.reasoning_content }}</think>{% endif -%}
{{ it.content }}
{%- for call in it.tool_calls or [] %}<tool_call>{{ call | tojson }}</tool_call>{% endfor -%}
{%- endfor -%}
{{ tools | tojson }}<think>
"""
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "parameters": CITY, "strict": True}
ASK = {
    "model": "demo",
    "messages": [{"role": "user", "content": "Weather?"}],
    "tools": [{"type": "function", "function": FUNCTION}],
}
ANSWER = """A city is named.
</think>
I look.
<tool_call>
{"name": "get_weather", "arguments": {"city": "Paris"}}
</tool_call>"""


class City(pydantic.BaseModel):
    city: str


@pytest.fixture
def thinker(tmp_path):
    """Thinks and calls, and shows what it thought and called before."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO_FOLDER / name, tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return demo_view("demo", tmp_path)


@contextlib.asynccontextmanager
async def client_of(text, view):
    """The official client's chats, and the gateway."""
    async with (
        served(says(text), views=[view]) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
    ):
        yield client.chat.completions, server


async def created(chats):
    return await chats.create(**ASK)


async def parsed(chats):
    return await chats.parse(**ASK)


async def streamed(chats):
    async with chats.stream(**ASK) as stream:
        return await stream.get_final_completion()


@pytest.mark.parametrize("answered", [created, parsed, streamed])
@pytest.mark.parametrize(
    "shape", [lambda it: it, lambda it: it.model_dump(), lambda it: it.to_dict()]
)
def test_a_message_of_the_official_client(thinker, answered, shape):
    async def run():
        async with client_of(ANSWER, thinker) as (chats, server):
            message = (await answered(chats)).choices[0].message
            (call,) = message.tool_calls
            result = {"role": "tool", "tool_call_id": call.id, "content": "21"}
            messages = [*ASK["messages"], shape(message), result]
            await chats.create(**ASK | {"messages": messages})
            return server.dispatch.requests[-1].tokens

    prompt = tokenizer().decode(asyncio.run(run()), skip_special_tokens=False)
    assert "<think>A city is named.</think>I look." in prompt
    assert '"city": "Paris"' in prompt


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # the client's own, of what it parsed
def test_an_object_of_the_official_client(thinker):
    async def run():
        asked = {"model": "demo", "messages": ASK["messages"]}
        async with client_of('</think>{"city": "Rome"}', thinker) as (chats, server):
            message = (await chats.parse(**asked, response_format=City)).choices[0].message
            assert message.parsed == City(city="Rome")
            for said in (message, message.model_dump()):
                await chats.create(**asked | {"messages": [*ASK["messages"], said]})
            return [request.tokens for request in server.dispatch.requests[1:]]

    one, other = asyncio.run(run())
    assert one == other
    assert '<|assistant|>{"city": "Rome"}' in tokenizer().decode(one, skip_special_tokens=False)
