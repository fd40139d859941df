"""Find the text that means most nearly the same, with OpenAI's own client.

pip install openai
mlx-serving serve sentence-transformers/all-MiniLM-L6-v2=minilm
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)
TEXTS = ["The kitten naps on a couch.", "Stock markets fell today.", "It will rain in Oslo."]


def embed(*texts: str) -> list[list[float]]:
    """A vector of length 1 for each."""
    return [one.embedding for one in client.embeddings.create(model="minilm", input=texts).data]


(question,) = embed("A cat sleeps on the sofa.")
for text, vector in zip(TEXTS, embed(*TEXTS), strict=True):
    nearness = sum(a * b for a, b in zip(question, vector, strict=True))
    print(f"{nearness:.2f} {text}")
