"""Embeddings from a real server with a real model, and the death of its engines."""

import asyncio
import json

import aiohttp
import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from tests.actors.engine.embedding.reference import reference
from tests.e2e.server import Server, wait_for
from tests.embedding_models import minilm

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
TEXTS = ["A cat sleeps on the sofa.", "The kitten naps on a couch.", "Stock markets fell today."]


@pytest.fixture(scope="module")
def server():
    with Server(f"{minilm()}=minilm", "--replicas", "2") as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def embedded(client, texts, **more):
    answer = client.embeddings.create(model="minilm", input=texts, **more)
    assert [entry.index for entry in answer.data] == list(range(len(texts)))
    return np.array([entry.embedding for entry in answer.data])


def test_vectors_are_the_reference_s_and_similar_texts_are_nearer(client):
    vectors = embedded(client, TEXTS)
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    for text, vector in zip(TEXTS, vectors, strict=True):
        assert abs(vector - reference(minilm(), tokenizer.encode(text).ids)).max() < 1e-4
    cat, kitten, stocks = vectors @ vectors[0]
    assert cat > kitten > 0.5 > 0.2 > stocks


def test_numbers_and_base64_are_the_same(client):
    """The official client asks for base64 when nothing is said."""
    numbers = embedded(client, TEXTS, encoding_format="float")
    assert np.array_equal(numbers.astype("f"), embedded(client, TEXTS).astype("f"))


def test_fewer_dimensions_point_the_same_way(client):
    whole, cut = embedded(client, TEXTS), embedded(client, TEXTS, dimensions=100)
    assert np.linalg.norm(cut, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    first = whole[:, :100]
    assert cut == pytest.approx(first / np.linalg.norm(first, axis=1, keepdims=True), abs=1e-5)


def test_long_texts_are_refused_or_cut(client):
    long = "word " * 300
    with pytest.raises(openai.BadRequestError, match=r"takes up to 256 tokens.* has 302") as caught:
        embedded(client, [long])
    assert caught.value.code == "context_length_exceeded"
    cut = embedded(client, [long], extra_body={"truncate_prompt_tokens": -1})
    assert abs(cut - embedded(client, ["word " * 254])).max() < 1e-5


def test_a_chat_with_it_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="ask it at /v1/embeddings"):
        client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "?"}])


def test_no_request_is_lost_when_one_engine_dies_and_then_the_other(server, client):
    lengths = [1 + place % 7 for place in range(24)]
    texts = [[f"sentence {i} of many " * length for length in lengths] for i in range(24)]
    undisturbed = embedded(client, texts[7])

    async def ask(session, given):
        body = {"model": "minilm", "input": given}
        async with session.post(f"{server.url}/v1/embeddings", json=body) as answer:
            return answer.status, json.loads(await answer.read())

    async def all_of_them():
        async with aiohttp.ClientSession() as session:
            asking = [asyncio.create_task(ask(session, given)) for given in texts]
            await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            dead = await asyncio.to_thread(server.kill, "engine:minilm:0")
            await asyncio.to_thread(server.wait_successor, dead)
            await asyncio.to_thread(server.kill, "engine:minilm:1")
            return await asyncio.gather(*asking)

    answers = asyncio.run(all_of_them())
    assert {status for status, _ in answers} == {200}
    seventh = np.array([entry["embedding"] for entry in answers[7][1]["data"]])
    assert abs(seventh - undisturbed).max() < 1e-5
    wait_for(lambda: server.child("engine:minilm:1").state == "ready", what="the last engine")
