"""`reasoning_effort`, as chat templates are told of it."""

import asyncio

import pytest

from tests.gateway.http.test_parameters import ASK, CHAT
from tests.gateway.scripted import demo_view, says, served, thinking_view, tokenizer

TEMPLATE = "{{ reasoning_effort }} {{ enable_thinking }}{# <think></think> #}"
ALWAYS = "{{ messages[0].content }}{# <think></think> #}"


def asked(view, body: dict) -> tuple[int, dict, str]:
    """Status and body of the answer, and the prompt that the engine got."""

    async def run():
        async with served(says("x"), views=[view]) as server:
            status, answer = await server.post(CHAT, {"messages": ASK} | body)
            prompts = [tokenizer().decode(it.tokens) for it in server.dispatch.requests]
            return status, answer, "".join(prompts)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("effort", "prompt"),
    [
        ("none", " False"),
        ("minimal", "low True"),
        ("low", "low True"),
        ("medium", "medium True"),
        ("high", "high True"),
        ("xhigh", "high True"),
        ("max", "high True"),
        (None, " "),
    ],
)
def test_the_template_is_told_the_effort(tmp_path, effort, prompt):
    view = thinking_view(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert asked(view, {"reasoning_effort": effort})[2] == prompt


def test_what_the_client_tells_the_template_itself_counts(tmp_path):
    view = thinking_view(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    body = {"reasoning_effort": "low", "chat_template_kwargs": {"reasoning_effort": "least"}}
    assert asked(view, body)[2] == "least True"


def test_a_model_that_always_thinks_cannot_be_told_not_to(tmp_path):
    view = thinking_view(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(ALWAYS)
    status, answer, prompt = asked(view, {"reasoning_effort": "none"})
    assert (status, answer["error"]["param"], prompt) == (400, "reasoning_effort", "")
    assert asked(view, {"reasoning_effort": "low"})[0] == 200


def test_a_model_that_never_thinks_takes_no_effort_but_none():
    assert asked(demo_view(), {"reasoning_effort": "none"})[0] == 200
    status, answer, _ = asked(demo_view(), {"reasoning_effort": "low"})
    assert (status, answer["error"]["param"]) == (400, "reasoning_effort")
