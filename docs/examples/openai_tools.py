"""Let the model call a function of yours, and answer with what it returned.

pip install openai
"""

import json
import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def get_weather(city: str) -> str:
    """Stands for a real one."""
    return json.dumps({"city": city, "temperature": 21})


messages = [{"role": "user", "content": "What is the weather in Paris?"}]
while True:
    answer = client.chat.completions.create(
        model="demo", messages=messages, tools=[WEATHER], temperature=0
    )
    message = answer.choices[0].message
    if not message.tool_calls:
        break
    messages.append(message)
    for call in message.tool_calls:
        print("call:", call.function.name, call.function.arguments)
        result = get_weather(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print(message.content)
