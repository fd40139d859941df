"""The Responses API: the server remembers the conversation, you send only what is new.

pip install openai
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)

first = client.responses.create(model="demo", input="My name is Ada.", temperature=0)
print(first.output_text)

with client.responses.stream(
    model="demo",
    input="What is my name?",
    previous_response_id=first.id,
    temperature=0,
) as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    last = stream.get_final_response()
print(f"\n{last.status}, {last.usage.output_tokens} tokens")

client.responses.delete(first.id)
client.responses.delete(last.id)
