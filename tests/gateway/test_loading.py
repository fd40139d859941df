"""Questions to models that are not loaded."""

import asyncio
import contextlib
import json
import time

import pytest
from msgspec.structs import replace

from config.errors import EngineUnavailable, ModelLoadFailed, QueueFull
from config.settings import ServerSettings
from gateway.dispatch.types import ModelView
from gateway.http import sse
from gateway.service import Caller, Service
from tests.gateway.scripted import ScriptedDispatch, demo_view, fails, says, served


def view(state, **more):
    return ModelView(name="m", state=state, replicas=0, ready_replicas=0, card=None, **more)


class Wishing(ScriptedDispatch):
    """Each wish brings the next of the model's states."""

    def __init__(self, *views):
        super().__init__(says("x"), [views[0]])
        self.coming = list(views[1:])
        self.wishes = []

    def want(self, name):
        self.wishes.append(name)
        if self.coming:
            self.views = [self.coming.pop(0)]


def card(dispatch, timeout_s=5.0):
    caller = Caller("chat", timeout_s=timeout_s)
    return asyncio.run(Service(dispatch, ServerSettings()).card("m", caller))


def test_it_is_wanted_and_waited_for():
    there = demo_view()
    ready = ModelView(name="m", state="ready", replicas=1, ready_replicas=1, card=there.card)
    dispatch = Wishing(view("unloaded"), view("unloaded"), ready)
    assert card(dispatch) == there.card
    assert dispatch.wishes == ["m", "m"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/completions", {"prompt": "Hi"}),
    ],
)
def test_the_time_in_which_it_is_loaded_is_the_request_s_own(path, body):
    loaded_at = []

    class Loading(Wishing):
        def want(self, name):
            loaded_at.append(time.monotonic())
            super().want(name)

    async def run():
        dispatch = Loading(view("unloaded"), demo_view("m"))
        async with served(dispatch=dispatch) as server:
            status, _ = await server.post(path, body | {"model": "m"})
            assert status == 200
        return dispatch.requests

    (request,) = asyncio.run(run())
    assert request.arrived_at < loaded_at[0]


MESSAGES = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
STREAMS = {
    "/v1/chat/completions": MESSAGES,
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": MESSAGES,
}


@contextlib.asynccontextmanager
async def heard(path, dispatch):
    """A stream for a model that is loaded on demand, once its client heard that it goes on."""
    async with served(dispatch=dispatch) as server:
        body = STREAMS[path] | {"model": "m", "stream": True}
        async with server.session.post(server.url + path, json=body) as response:
            for _ in range(2):
                assert await response.content.readuntil(b"\n\n") == b": keep-alive\n\n"
            assert (response.status, response.content_type) == (200, "text/event-stream")
            yield response


@pytest.mark.parametrize("path", STREAMS)
def test_who_wants_a_stream_hears_that_its_model_is_being_loaded(monkeypatch, path):
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    dispatch = Wishing(view("unloaded"))

    async def run():
        async with heard(path, dispatch) as response:
            monkeypatch.setattr(sse, "KEEP_ALIVE_S", 10.0)
            dispatch.views = [demo_view("m")]
            rest = await response.text()
        assert "error" not in [event["type"] for event in events(rest) if "type" in event]
        assert '"x"' in rest
        assert rest.count("[DONE]") == ("completions" in path)

    asyncio.run(run())


def events(text):
    data = [line for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in data]


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("late", [False, True])
def test_and_when_it_fails_then_that_is_an_event_as_its_api_has_it(monkeypatch, path, late):
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    dispatch = Wishing(view("unloaded"))
    dispatch.script = fails(QueueFull("we are full"))

    async def run():
        async with heard(path, dispatch) as response:
            monkeypatch.setattr(sse, "KEEP_ALIVE_S", 10.0)
            failure = view("failed", reason="we are full")
            dispatch.views = [demo_view("m") if late else failure]
            *_, rest = (await response.text()).split(": keep-alive\n\n")
        (error,) = events(rest)
        if "completions" in path:
            assert rest.startswith("data: ")
            assert error["error"]["code"] == ("queue_full" if late else "model_load_failed")
        else:
            assert rest.startswith("event: error\ndata: ")
            assert error["type"] == "error"
        assert "we are full" in rest

    asyncio.run(run())


@pytest.mark.parametrize("path", STREAMS)
def test_before_that_and_for_whoever_waits_for_the_whole_it_has_a_status(monkeypatch, path):
    async def status(stream, more):
        dispatch = Wishing(view("unloaded"), *more, view("failed", reason="no config.json"))
        async with served(dispatch=dispatch) as server:
            body = STREAMS[path] | {"model": "m", "stream": stream}
            return (await server.post(path, body))[0]

    assert asyncio.run(status(True, [])) == 503
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    assert asyncio.run(status(False, [view("unloaded")] * 3)) == 503


def test_one_that_cannot_be_loaded_says_why():
    dispatch = Wishing(view("unloaded"), view("failed", reason="no config.json"))
    with pytest.raises(ModelLoadFailed, match="'m' could not be loaded: no config"):
        card(dispatch)


def test_without_room_it_is_refused_and_when_to_come_again_is_said():
    dispatch = Wishing(
        view("unloaded"), view("unloaded", reason="all are at work", retry_after_s=2.0)
    )
    with pytest.raises(QueueFull, match="no room to load the model 'm': all are at work") as caught:
        card(dispatch)
    assert caught.value.retry_after_s == 2.0


def test_it_is_waited_for_no_longer_than_the_request_may_take():
    with pytest.raises(EngineUnavailable, match="is unloaded"):
        card(Wishing(view("unloaded")), timeout_s=0.01)


@pytest.mark.parametrize(
    ("states", "ready"),
    [(("unloaded",), True), (("failed", "unloaded"), True), (("loading", "unloaded"), False)],
)
def test_a_server_whose_models_can_be_loaded_is_ready(states, ready):
    async def run():
        views = [replace(view(state), name=state) for state in states]
        async with served(says("x"), views=views) as server:
            return (await server.get("/ready"))[0]

    assert asyncio.run(run()) == (200 if ready else 503)
