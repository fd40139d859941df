"""Ask with Anthropic's client: the whole answer, a stream, a tool, and how long a prompt is.

pip install anthropic
"""

import os

from anthropic import Anthropic

client = Anthropic(
    base_url=os.environ.get("ANTHROPIC_BASE_URL", "http://127.0.0.1:8080"),
    api_key=os.environ.get("ANTHROPIC_API_KEY", "none"),
)
WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
GREEDY = {"temperature": 0}  # goes in extra_body: the client has no parameter for it any more

question = {"role": "user", "content": "What is the capital of France?"}
count = client.messages.count_tokens(model="demo", messages=[question])
answer = client.messages.create(
    model="demo", max_tokens=100, messages=[question], extra_body=GREEDY
)
print(f"{count.input_tokens} tokens asked:", answer.content[0].text)

with client.messages.stream(
    model="demo",
    max_tokens=200,
    messages=[{"role": "user", "content": "Count from 1 to 10."}],
    extra_body=GREEDY,
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()

messages = [{"role": "user", "content": "What is the weather in Paris?"}]
asked = {"model": "demo", "max_tokens": 200, "tools": [WEATHER], "extra_body": GREEDY}
answer = client.messages.create(messages=messages, **asked)
calls = [block for block in answer.content if block.type == "tool_use"]
for call in calls:
    print("call:", call.name, call.input)
results = [
    {"type": "tool_result", "tool_use_id": call.id, "content": '{"temperature": 21}'}
    for call in calls
]
messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
print(client.messages.create(messages=messages, **asked).content[0].text)
