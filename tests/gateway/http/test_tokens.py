import asyncio

import pytest

from config.settings import ServerSettings
from gateway.tokenizing import MAX_CHARS, MAX_TOKENS
from tests.gateway.scripted import CONTEXT, says, served, tokenizer

TEXT = "Hello there, Ünd 🚀"
ASK = [{"role": "user", "content": "Hello"}]


def posted(path: str, body: dict) -> tuple[int, dict]:
    async def run():
        async with served(says("x")) as server:
            return await server.post(path, body), server.dispatch.requests

    answer, requests = asyncio.run(run())
    assert requests == []
    return answer


def tokens_of(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", [TEXT, "", "long " * 3000])
def test_a_text_becomes_tokens_and_they_become_the_text(text):
    status, found = posted("/tokenize", {"prompt": text, "model": "demo"})
    tokens = tokenizer().encode(text).ids
    assert status == 200
    assert found == {
        "count": len(tokens),
        "max_model_len": CONTEXT,
        "tokens": tokens,
        "token_strs": None,
    }
    assert posted("/detokenize", {"tokens": tokens_of(text)}) == (200, {"prompt": text})


def test_what_each_token_stands_for_is_told_when_asked_for():
    body = {"prompt": "Hello there", "add_special_tokens": False, "return_token_strs": True}
    _, found = posted("/tokenize", body)
    assert "".join(found["token_strs"]) == "Hello there"
    assert len(found["token_strs"]) == found["count"]


def test_a_conversation_is_shown_as_its_engine_gets_it():
    async def run():
        async with served(says("x")) as server:
            await server.post("/v1/chat/completions", {"messages": ASK})
            _, found = await server.post("/tokenize", {"messages": ASK, "return_token_strs": True})
            return found, server.dispatch.requests[0].tokens

    found, tokens = asyncio.run(run())
    assert found["tokens"] == tokens
    assert "Hello" in "".join(found["token_strs"])


def test_a_conversation_over_the_context_is_counted_all_the_same():
    _, found = posted("/tokenize", {"messages": [{"role": "user", "content": "word " * 900}]})
    assert found["count"] > CONTEXT


def test_tools_are_a_part_of_it():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    plain, more = (
        posted("/tokenize", {"messages": ASK} | tools)[1]["count"]
        for tools in ({}, {"tools": [tool]})
    )
    assert more > plain


BAD = [
    ("/tokenize", {}, "prompt"),
    ("/tokenize", {"prompt": "x", "messages": ASK}, "prompt"),
    ("/tokenize", {"prompt": [1]}, "prompt"),
    ("/tokenize", {"prompt": "x" * (MAX_CHARS - 1) + "yz"}, "prompt"),
    ("/tokenize", {"prompt": "x", "tools": [{}]}, "tools"),
    ("/tokenize", {"prompt": "x", "chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
    ("/tokenize", {"messages": ASK, "add_special_tokens": True}, "add_special_tokens"),
    ("/tokenize", {"messages": ASK, "add_generation_prompt": False}, "add_generation_prompt"),
    ("/tokenize", {"messages": ASK, "continue_final_message": True}, "continue_final_message"),
    ("/tokenize", {"messages": ASK, "chat_template": "x"}, "chat_template"),
    ("/tokenize", {"messages": []}, "messages"),
    ("/tokenize", {"text": "x"}, "text"),
    ("/detokenize", {}, "tokens"),
    ("/detokenize", {"tokens": "x"}, "tokens"),
    ("/detokenize", {"tokens": [3072]}, "tokens"),
    ("/detokenize", {"tokens": [-1]}, "tokens"),
    ("/detokenize", {"tokens": [2**70]}, "tokens"),
    ("/detokenize", {"tokens": [1] * (MAX_TOKENS + 1)}, "tokens"),
]


@pytest.mark.parametrize(("path", "body", "param"), BAD)
def test_what_cannot_be_done_is_named(path, body, param):
    async def run():
        settings = ServerSettings(max_body_bytes=8_000_000)
        async with served(says("x"), settings=settings) as server:
            return await server.post(path, body)

    status, answer = asyncio.run(run())
    assert status == 400
    assert answer["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"prompt": "x"}), ("/detokenize", {"tokens": [1]})]
)
def test_an_unknown_model_is_not_found(path, body):
    status, answer = posted(path, body | {"model": "nobody"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
