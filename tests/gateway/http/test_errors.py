import asyncio

import pytest

from config.errors import (
    BY_CODE,
    ActorDied,
    Cancelled,
    Draining,
    EngineFailed,
    EngineUnavailable,
    ModelLoadFailed,
    QueueFull,
    RequestTimeout,
    ServingError,
)
from config.settings import ServerSettings
from gateway.dispatch.types import ModelView
from gateway.http.errors import told
from tests.gateway.scripted import demo_view, fails, says, served

ASK = {"messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"


def answer_to(error: ServingError, *, stream: bool) -> tuple[int, dict, dict]:
    async def run():
        async with served(fails(error)) as server:
            url = server.url + CHAT
            async with server.session.post(url, json=ASK | {"stream": stream}) as response:
                return response.status, dict(response.headers), (await response.json())["error"]

    return asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (EngineUnavailable("no engine"), 503, "1"),
        (EngineUnavailable("no engine", retry_after_s=2.5), 503, "3"),
        (Draining("stopping"), 503, "1"),
        (QueueFull("full", retry_after_s=7), 429, "7"),
        (RequestTimeout("late"), 504, None),
        (EngineFailed("broke"), 503, "1"),
        (ModelLoadFailed("damaged"), 503, None),
        (ActorDied("gone"), 503, "1"),
    ],
)
def test_before_the_first_byte_an_error_is_a_status(error, status, retry_after, stream):
    got, headers, body = answer_to(error, stream=stream)
    assert got == status
    assert headers.get("Retry-After") == retry_after
    assert body == {
        "message": error.message,
        "type": told(error)[1],
        "param": None,
        "code": error.code,
    }


def test_every_error_has_a_status():
    for kind in BY_CODE.values():
        assert 400 <= told(kind("x"))[0] < 600
    assert told(Cancelled("x"))[0] == 499


def test_what_goes_wrong_inside_stays_inside(caplog):
    def script(request):
        raise ValueError("/secret/path")

    async def run():
        async with served(script) as server:
            status, body = await server.post(CHAT, ASK)
            assert status == 500
            assert body["error"]["code"] == "internal_error"
            assert "secret" not in str(body)

    asyncio.run(run())
    assert "req_" in caplog.text
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 50_000,
        b'{"messages": "\xff"}',
        b'{"messages": "\\ud800"}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "temperature": 1e999}',
        b'{"prompt": "x"} trailing',
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_what_is_no_request_is_refused(path, raw):
    async def run():
        async with served(says("x")) as server:
            status, body = await server.post(path, data=raw)
            assert status == 400
            assert body["error"]["type"] == "invalid_request_error"

    asyncio.run(run())


def test_the_content_type_does_not_matter():
    async def run():
        async with served(says("x")) as server:
            headers = {"Content-Type": "text/plain"}
            status, _ = await server.post(
                "/v1/completions", data=b'{"prompt": "x"}', headers=headers
            )
            assert status == 200

    asyncio.run(run())


def test_a_lone_surrogate_does_no_harm():
    async def run():
        async with served(says("x")) as server:
            status, _ = await server.post("/v1/completions", data=b'{"prompt": "\\udc00 x"}')
            assert status in {200, 400}

    asyncio.run(run())


def test_a_large_body_is_refused():
    async def run():
        async with served(says("x"), settings=ServerSettings(max_body_bytes=1000)) as server:
            status, body = await server.post("/v1/completions", {"prompt": "x" * 2000})
            assert status == 413
            assert body["error"]["message"] == "the request body is too large"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/rerank", 404),
        ("GET", "/v1/models/unknown", 404),
    ],
)
def test_wrong_routes_and_methods_have_the_same_shape(method, path, status):
    async def run():
        async with (
            served(says("x")) as server,
            server.session.request(method, server.url + path) as response,
        ):
            assert response.status == status
            error = (await response.json())["error"]
            assert error["type"] == "invalid_request_error"

    asyncio.run(run())


def test_an_unknown_model_is_not_found():
    async def run():
        async with served(says("x")) as server:
            status, body = await server.post(CHAT, ASK | {"model": "gpt-5"})
            assert status == 404
            assert body["error"]["code"] == "model_not_found"
            assert body["error"]["param"] == "model"

    asyncio.run(run())


LOADING = ModelView(name="demo", state="loading", replicas=1, ready_replicas=0, card=None)


def test_a_model_that_is_loading_is_waited_for():
    async def run():
        async with served(says("x"), views=[LOADING]) as server:
            answer = asyncio.ensure_future(server.post(CHAT, ASK))
            await asyncio.sleep(0.1)
            assert not answer.done()
            server.dispatch.views[:] = [demo_view()]
            assert (await answer)[0] == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("views", "status", "code"),
    [
        ([], 503, "engine_unavailable"),
        ([LOADING], 503, "engine_unavailable"),
        (
            [ModelView(name="demo", state="failed", replicas=1, ready_replicas=0, card=None)],
            503,
            "model_load_failed",
        ),
    ],
)
def test_a_model_that_is_not_there_yet_is_unavailable(views, status, code):
    async def run():
        soon = ServerSettings(request_timeout_s=0.2)
        async with served(says("x"), views=views, settings=soon) as server:
            got, body = await server.post(CHAT, ASK)
            assert (got, body["error"]["code"]) == (status, code)
            assert (await server.get("/ready"))[0] == 503
            assert (await server.get("/health"))[0] == 200

    asyncio.run(run())


def test_a_model_without_a_tokenizer_says_so(tmp_path):
    async def run():
        async with served(says("x"), views=[demo_view("m", tmp_path)]) as server:
            status, body = await server.post(CHAT, ASK)
            assert status == 503
            assert "no tokenizer.json" in body["error"]["message"]
            assert str(tmp_path) not in str(body)

    asyncio.run(run())


def test_while_draining_new_requests_are_refused_and_the_connection_closes():
    async def run():
        async with served(says("x")) as server:
            server.service.drain()
            async with server.session.post(server.url + CHAT, json=ASK) as response:
                assert response.status == 503
                assert response.headers["Connection"] == "close"
                assert response.headers["Retry-After"] == "1"
            assert (await server.get("/ready"))[0] == 503
            assert (await server.get("/health"))[0] == 200

    asyncio.run(run())
