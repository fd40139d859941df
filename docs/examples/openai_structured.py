"""Get an object instead of text: the answer is held to the schema of a pydantic model.

pip install openai
"""

import os

from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
)


class Person(BaseModel):
    """What the answer must be."""

    name: str
    age: int


answer = client.chat.completions.parse(
    model="demo",
    messages=[{"role": "user", "content": "Give me a JSON object with name Bob and age 7"}],
    response_format=Person,
    temperature=0,
)
person = answer.choices[0].message.parsed
print(f"{person.name} is {person.age}")
