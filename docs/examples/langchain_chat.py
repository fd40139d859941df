"""Ask with LangChain: the whole answer, a stream, a tool, and an object.

pip install langchain-openai
"""

import os

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

model = ChatOpenAI(
    model="demo",
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),
    temperature=0,
)


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f'{{"city": "{city}", "temperature": 21}}'


class Person(BaseModel):
    """A person."""

    name: str
    age: int


print(model.invoke("What is the capital of France?").content)

for chunk in model.stream("Count from 1 to 10."):
    print(chunk.content, end="", flush=True)
print()

with_tools = model.bind_tools([get_weather])
messages = [HumanMessage("What is the weather in Paris?")]
messages.append(with_tools.invoke(messages))
for call in messages[-1].tool_calls:
    print("call:", call["name"], call["args"])
    messages.append(get_weather.invoke(call))
print(with_tools.invoke(messages).content)

person = model.with_structured_output(Person).invoke(
    "Give me a JSON object with name Bob and age 7"
)
print(f"{person.name} is {person.age}")
