"""Ask over ZeroMQ, from a program on the same machine: whole answers, streams, tokens.

pip install mlx-serving
"""

import sys

from mlx_serving import Client

# The server's --runtime-dir; nothing for the default one.
with Client(*sys.argv[1:]) as client:
    print("models:", *(model.name for model in client.models()))

    question = [{"role": "user", "content": "What is the capital of France?"}]
    print(client.chat(question, "demo", temperature=0).text)

    question = [{"role": "user", "content": "Count from 1 to 10."}]
    for chunk in client.chat(question, "demo", temperature=0, stream=True):
        print(chunk.text, end="", flush=True)
    print()

    tokens = client.tokenize("Once upon a time", "demo")
    print(f"{len(tokens.tokens)} tokens:", *tokens.texts, sep="|")
