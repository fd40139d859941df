"""`/v1/embeddings` over HTTP, with a dispatcher that follows a script."""

import asyncio
import base64
import json
import struct

import msgspec
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from config.errors import EngineFailed, QueueFull
from gateway.dispatch.types import CompletedEmbedding
from gateway.embeddings import parts
from tests.gateway.scripted import demo_card, demo_view, served, until

WORDS = ["[UNK]", "[CLS]", "[SEP]", "a", "b", "c"]
UNK, CLS, SEP, A, B, C = range(6)
PATH = "/v1/embeddings"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer that knows three words and puts tokens of its own around a text."""
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    around = [("[CLS]", CLS), ("[SEP]", SEP)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=around
    )
    tokenizer.enable_padding(length=9)  # as models' own files have it, and a server must not
    tokenizer.enable_truncation(5)
    place = tmp_path_factory.mktemp("words")
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def view(folder, context_tokens=10):
    card = msgspec.structs.replace(
        demo_card("words", folder),
        kind="embedding",
        dimensions=3,
        vocab_size=len(WORDS),
        context_tokens=context_tokens,
    )
    return msgspec.structs.replace(demo_view("words", folder), card=card)


def vector(tokens, dimensions=3):
    """How many tokens, what they add up to, and a third of it."""
    return [float(len(tokens)), float(sum(tokens)), sum(tokens) / 4][:dimensions]


def embeds(request):
    """A script that gives each text its `vector`."""
    tokens = iter(request.tokens)
    texts = [[next(tokens) for _ in range(length)] for length in request.lengths]
    numbers = [it for text in texts for it in vector(text, request.dimensions or 3)]
    end = CompletedEmbedding(
        reason="stop",
        prompt_tokens=len(request.tokens),
        completion_tokens=0,
        vectors=struct.pack(f"<{len(numbers)}f", *numbers),
    )
    return [end]


def answered(body, folder, script=embeds, status=200, **more):
    """The answer, and the requests that it took."""

    async def live():
        async with served(script, views=[view(folder, **more), demo_view()]) as gateway:
            found, answer = await gateway.post(PATH, {"model": "words"} | body)
            assert found == status, answer
            return answer, gateway.dispatch.requests

    return asyncio.run(live())


def refused(body, folder, **more):
    error = answered(body, folder, status=400, **more)[0]["error"]
    return error["param"], error["code"], error["message"]


def given(answer):
    return [entry["embedding"] for entry in answer["data"]]


def test_a_text_gets_a_vector_in_openai_s_shape(folder):
    answer, (request,) = answered({"input": "a b", "user": "someone"}, folder)
    tokens = [CLS, A, B, SEP]
    entry = {"object": "embedding", "index": 0, "embedding": vector(tokens)}
    assert answer == {
        "object": "list",
        "data": [entry],
        "model": "words",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert (request.tokens, request.endpoint, request.dimensions) == (tokens, "embeddings", 0)
    assert request.timeout_s > 0


def test_several_texts_keep_their_order_whatever_their_length(folder):
    answer, (request,) = answered({"input": ["a b c a", "b", "a c"]}, folder)
    texts = [[CLS, A, B, C, A, SEP], [CLS, B, SEP], [CLS, A, C, SEP]]
    assert given(answer) == [vector(text) for text in texts]
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert request.lengths == [3, 4, 6]
    assert answer["usage"]["prompt_tokens"] == 13


@pytest.mark.parametrize(
    ("given_ids", "texts"), [([A, B], [[A, B]]), ([[A], [B, C]], [[A], [B, C]])]
)
def test_token_ids_are_taken_as_they_are(folder, given_ids, texts):
    answer, _ = answered({"input": given_ids}, folder)
    assert given(answer) == [vector(text) for text in texts]


def test_base64_is_the_same_numbers_as_float32(folder):
    body = {"input": ["a", "b b"], "encoding_format": "base64"}
    found = given(answered(body, folder)[0])
    expected = [vector([CLS, A, SEP]), vector([CLS, B, B, SEP])]
    assert [list(struct.unpack("<3f", base64.b64decode(it))) for it in found] == expected


def test_fewer_dimensions_are_asked_of_the_engine(folder):
    answer, (request,) = answered({"input": "a", "dimensions": 2}, folder)
    assert (given(answer), request.dimensions) == ([vector([CLS, A, SEP], 2)], 2)


def test_a_large_request_goes_out_in_parts_of_like_length(folder, monkeypatch):
    monkeypatch.setattr(parts, "PART_TOKENS", 10)
    texts = ["a b c a", "b", "a c", "c", "b b b"]
    answer, requests = answered({"input": texts}, folder)
    assert [request.lengths for request in requests] == [[3, 3, 4], [5], [6]]
    assert [request.ahead_tokens for request in requests] == [0, 10, 15]
    alone = [answered({"input": text}, folder)[0] for text in texts]
    assert given(answer) == [given(one)[0] for one in alone]


def test_much_text_and_many_vectors_are_worked_on_aside(folder, monkeypatch):
    """Off the event loop, with the same result."""
    from gateway.embeddings import routes

    body = {"input": ["a b", "c"]}
    plain, _ = answered(body, folder)
    monkeypatch.setattr(routes, "LONG_TEXT_CHARS", 0)
    monkeypatch.setattr(routes, "MAX_BYTES_AT_ONCE", 0)
    assert answered(body, folder)[0] == plain


@pytest.mark.parametrize(("cut", "length"), [(-1, 10), (4, 4), (10, 10)])
def test_a_long_input_is_cut_where_that_is_asked_for(folder, cut, length):
    body = {"input": ["a " * 30, "b"], "truncate_prompt_tokens": cut}
    _, (request,) = answered(body, folder)
    assert request.lengths == [3, length]
    assert request.tokens[3:] == [CLS, *[A] * (length - 2), SEP]


def test_a_long_list_of_ids_is_cut_as_well(folder):
    _, (request,) = answered({"input": [A] * 30, "truncate_prompt_tokens": -1}, folder)
    assert request.tokens == [A] * 10


@pytest.mark.parametrize("text", ["a " * 9, "a " * 3000])
def test_a_long_input_is_refused_with_numbers(folder, text):
    param, code, message = refused({"input": ["a", text]}, folder)
    assert (param, code) == ("input", "context_length_exceeded")
    count = "11" if len(text) < 20 else "more than 74"
    assert f"takes up to 10 tokens, and the input at place 1 has {count};" in message
    assert "truncate_prompt_tokens: -1" in message


def test_ids_over_the_context_are_refused_with_numbers(folder):
    _, code, message = refused({"input": [[A], [A] * 12]}, folder)
    assert code == "context_length_exceeded"
    assert "the input at place 1 has 12;" in message


@pytest.mark.parametrize(
    ("body", "param", "reason"),
    [
        ({}, "input", "missing"),
        ({"input": ""}, "input", "empty at place 0"),
        ({"input": []}, "input", "0 entries"),
        ({"input": ["a", "", "b", ""]}, "input", "empty at place 1, 3"),
        ({"input": [[A], []]}, "input", "empty at place 1"),
        ({"input": ["a", [A]]}, "input", "a list of one of these kinds"),
        ({"input": [A, "a"]}, "input", "a list of one of these kinds"),
        ({"input": ["a"] * 2049}, "input", "2049 entries, and may have 1 to 2048"),
        ({"input": 5}, "input", "input"),
        ({"input": [6]}, "input", "token id 6 is not in the model's vocabulary"),
        ({"input": [[A], [-1]]}, "input", "token id -1"),
        ({"input": "a", "dimensions": 0}, "dimensions", "from 1 to 3, not 0"),
        ({"input": "a", "dimensions": 4}, "dimensions", "from 1 to 3, not 4"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "encoding_format"),
        ({"input": "a", "truncate_prompt_tokens": 2}, "truncate_prompt_tokens", "from 3 to 10"),
        ({"input": "a", "truncate_prompt_tokens": 11}, "truncate_prompt_tokens", "from 3 to 10"),
        ({"input": "a", "inputs": "b"}, "inputs", "inputs"),
        ({"input": "a", "priority": 1}, "priority", "not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_parameter(folder, body, param, reason):
    found, code, message = refused(body, folder)
    assert (found, code) == (param, "invalid_request")
    assert reason in message


def test_a_model_that_generates_makes_no_embeddings(folder):
    param, code, message = refused({"input": "a", "model": "demo"}, folder)
    assert (param, code) == ("model", "invalid_request")
    assert "generates text and makes no embeddings" in message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/completions", {"prompt": "a"}),
    ],
)
def test_a_model_that_makes_embeddings_does_not_generate(folder, path, body):
    async def live():
        async with served(embeds, views=[view(folder)]) as gateway:
            return await gateway.post(path, body)

    status, answer = asyncio.run(live())
    assert (status, answer["error"]["param"]) == (400, "model")
    assert "ask it at /v1/embeddings" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (EngineFailed("3 engines in a row failed"), 503, "engine_failed"),
        (QueueFull("full", retry_after_s=3.0), 429, "queue_full"),
    ],
)
def test_a_part_that_fails_fails_the_request_and_takes_the_others_back(
    folder, monkeypatch, error, status, code
):
    monkeypatch.setattr(parts, "PART_TOKENS", 1)

    async def live():
        def script(request):
            return [error] if request.tokens == [B] else []

        async with served(script, views=[view(folder)]) as gateway:
            found, answer = await gateway.post(PATH, {"input": [[A], [B], [C]]})
            return found, answer["error"]["code"], gateway.dispatch.cancelled

    assert asyncio.run(live()) == (status, code, ["1", "3"])


def test_a_client_that_goes_away_takes_its_request_back(folder):
    async def live():
        async with served(lambda request: [], views=[view(folder)]) as gateway:
            asking = asyncio.create_task(gateway.post(PATH, {"input": "a"}))
            await until(lambda: gateway.dispatch.running)
            asking.cancel()
            await until(lambda: gateway.dispatch.cancelled == ["1"])

    asyncio.run(live())


def test_a_reply_s_numbers_are_the_float32_s_own(folder):
    """Nothing is rounded away: reading them as float32 gives the very same bytes."""
    from gateway.embeddings.routes import _reply

    odd = struct.pack("<4f", 0.1, -1e-9, 3.4e38, 1 / 3)
    numbers = json.loads(_reply([odd], "m", 1, None))["data"][0]["embedding"]
    assert struct.pack("<4f", *numbers) == odd
