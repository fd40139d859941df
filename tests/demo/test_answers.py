"""The demo model answers held-out questions of all its kinds, through the real server."""

import asyncio
import json
from itertools import count

import aiohttp
import pytest

from demo.generate import KINDS, held_out
from tests.e2e.server import Server

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
EACH = 6


def as_clients_send_them(messages):
    """The calls with ids and their arguments as text, each result with the id of its call."""
    given, answered = count(), count()
    for message in messages:
        calls = [
            {
                "id": f"call_{next(given)}",
                "type": "function",
                "function": called["function"]
                | {"arguments": json.dumps(called["function"]["arguments"], ensure_ascii=False)},
            }
            for called in message.get("tool_calls", ())
        ]
        if calls:
            yield message | {"tool_calls": calls}
        elif message["role"] == "tool":
            yield message | {"tool_call_id": f"call_{next(answered)}"}
        else:
            yield message


def as_the_model_wrote_it(message):
    """The answer's own words, then its calls in their tags."""
    calls = [
        {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
        for call in message.get("tool_calls", ())
    ]
    tagged = [f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls]
    return "\n".join([message["content"] or "", *tagged])


async def ask(session, url, question):
    body = {
        "model": "demo",
        "messages": list(as_clients_send_them(question.messages)),
        "tools": question.tools or None,
        "temperature": 0,
        "max_tokens": 400,
    }
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return as_the_model_wrote_it(answer["choices"][0]["message"])


async def right(url, questions):
    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(session, url, q) for q in questions))
    return [q.accepts(answer) for q, answer in zip(questions, answers, strict=True)]


def test_nine_of_ten_held_out_questions_are_answered_right():
    questions = [q for kind in KINDS for q in held_out(kind, EACH)]
    with Server() as server:
        marks = asyncio.run(right(server.wait_ready(), questions))
    assert sum(marks) >= 0.9 * len(marks)
    for kind in ("tool call", "tool result", "tool not needed"):
        of_kind = [mark for q, mark in zip(questions, marks, strict=True) if q.kind == kind]
        assert sum(of_kind) >= EACH - 1, kind
