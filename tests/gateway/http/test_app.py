import asyncio

import openai
import pytest
from msgspec.structs import replace

from gateway.dispatch.types import ModelView
from gateway.http.server.connection import Limits
from gateway.models import model_info
from tests.gateway.scripted import WAIT_S, demo_view, says, served, thinking_view

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "Hello"}]


TEXT = {
    "chat": True,
    "completions": True,
    "tools": True,
    "reasoning": False,
    "structured_output": True,
    "embeddings": False,
}


def told(view: ModelView) -> dict:
    """The model that is shown for a view."""

    async def run():
        async with served(views=[view]) as server:
            return (await server.get(f"/v1/models/{view.name}"))[1]

    return asyncio.run(run())


def test_models_say_what_they_can_do(tmp_path):
    assert told(thinking_view(tmp_path))["capabilities"] == TEXT | {
        "reasoning": True,
        "tools": False,
    }
    (tmp_path / "chat_template.jinja").unlink()
    view = demo_view("demo", tmp_path)
    assert told(view)["capabilities"] == TEXT | {"chat": False, "tools": False}
    card = replace(view.card, kind="embedding")
    only = dict.fromkeys(TEXT, False) | {"embeddings": True}
    assert told(replace(view, card=card))["capabilities"] == only


def test_what_is_not_known_of_a_model_is_null(tmp_path):
    unloaded = ModelView(name="m", state="unloaded", replicas=1, ready_replicas=0, card=None)
    shown = told(unloaded)
    assert (shown["state"], shown["context_length"], shown["capabilities"]) == (
        "unloaded",
        None,
        None,
    )
    assert shown["created"] == 0
    assert told(demo_view("m", tmp_path))["capabilities"] is None  # no tokenizer is there


def test_what_its_files_say_is_told_before_it_is_loaded():
    unloaded = ModelView(
        name="m",
        state="unloaded",
        replicas=0,
        ready_replicas=0,
        card=None,
        context_tokens=7,
        created_time=9,
    )
    shown = told(unloaded)
    assert (shown["context_length"], shown["created"]) == (7, 9)
    info = model_info(unloaded)
    assert (info.context_tokens, info.created_time) == (7, 9)


def test_models_are_listed_and_found():
    views = [demo_view("demo"), demo_view("org/model")]

    async def run():
        async with served(says("x"), views=views) as server:
            models = {"object": "model", "owned_by": "mlx-serving", "created": 1_700_000_000}
            card = views[0].card
            models |= {"state": "ready", "batching": "batch"}
            models |= {"context_length": card.context_tokens, "capabilities": TEXT}
            status, body = await server.get("/v1/models")
            assert status == 200
            assert body == {
                "object": "list",
                "data": [models | {"id": "demo"}, models | {"id": "org/model"}],
            }
            assert (await server.get("/v1/models/org/model"))[1] == models | {"id": "org/model"}

    asyncio.run(run())


def test_ready_tells_what_is():
    async def run():
        async with served(says("x")) as server:
            assert await server.get("/ready") == (
                200,
                {"status": "ready", "reason": None, "models": {"demo": "ready"}},
            )

    asyncio.run(run())


def test_metrics_are_prometheus_text():
    async def run():
        async with (
            served(says("x")) as server,
            server.session.get(server.url + "/metrics") as response,
        ):
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert await response.text() == "metrics 1\n"

    asyncio.run(run())


@pytest.mark.parametrize("given", ["", "ungefähr", "x" * 129, "two words"])
def test_an_unusable_request_id_is_replaced(given):
    async def run():
        async with served(says("x")) as server:
            headers = {"X-Request-ID": given}
            async with server.session.get(server.url + "/health", headers=headers) as response:
                assert response.headers["X-Request-ID"].startswith("req_")

    asyncio.run(run())


def test_errors_carry_the_request_id_too():
    async def run():
        async with served(says("x")) as server:
            headers = {"X-Request-ID": "mine"}
            async with server.session.get(server.url + "/nowhere", headers=headers) as response:
                assert response.headers["X-Request-ID"] == "mine"

    asyncio.run(run())


def test_official_client_knows_our_errors():
    async def run():
        async with served(says("x")) as server:
            base = server.url + "/v1"
            async with openai.AsyncOpenAI(base_url=base, api_key="x", max_retries=0) as api:
                with pytest.raises(openai.NotFoundError):
                    await api.chat.completions.create(model="gpt", messages=ASK)
                with pytest.raises(openai.BadRequestError) as caught:
                    await api.chat.completions.create(model="demo", messages=ASK, temperature=9)
                assert caught.value.param == "temperature"
                answer = await api.completions.create(model="demo", prompt="x")
                assert answer.choices[0].text == "x"
                assert [model.id for model in (await api.models.list()).data] == ["demo"]

    asyncio.run(run())


def test_a_body_that_does_not_come_is_not_waited_for():
    async def run():
        limits = Limits(body_bytes=10_000, body_s=0.05)
        async with served(says("x"), limits=limits) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
            assert head.startswith(b"HTTP/1.1 408")
            writer.close()

    asyncio.run(run())


def test_versions_are_not_told():
    async def run():
        async with served(says("x")) as server:
            for path in ("/health", "/nowhere"):
                async with server.session.get(server.url + path) as response:
                    assert response.headers["Server"] == "mlx-serving"

    asyncio.run(run())
