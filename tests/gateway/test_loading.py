"""Questions to models that are not loaded."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from config.errors import EngineUnavailable, ModelLoadFailed, QueueFull
from config.settings import ServerSettings
from gateway.dispatch.types import ModelView
from gateway.service import Caller, Service
from tests.gateway.scripted import ScriptedDispatch, demo_view, says, served


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
