"""Ask a question with OpenAI's own client, for the whole answer and for a stream.

pip install openai
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)

answer = client.chat.completions.create(
    model="demo",
    messages=[{"role": "user", "content": "What is the capital of France?"}],
    temperature=0,
)
print(answer.choices[0].message.content)

stream = client.chat.completions.create(
    model="demo",
    messages=[{"role": "user", "content": "Count from 1 to 10."}],
    temperature=0,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n{chunk.usage.completion_tokens} tokens")
