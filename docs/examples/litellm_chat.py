"""Ask with LiteLLM, which takes this server for one of OpenAI's kind.

pip install litellm
"""

import os

import litellm

server = {
    "api_base": os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    "api_key": os.environ.get("OPENAI_API_KEY", "none"),
}

answer = litellm.completion(
    model="openai/demo",
    messages=[{"role": "user", "content": "What is the capital of France?"}],
    temperature=0,
    **server,
)
print(answer.choices[0].message.content)

stream = litellm.completion(
    model="openai/demo",
    messages=[{"role": "user", "content": "Count from 1 to 10."}],
    temperature=0,
    stream=True,
    **server,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
