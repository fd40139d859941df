"""Who asks decides what there is, whose stored prompts are used and whose limits count."""

import asyncio
from contextlib import contextmanager

import pytest

from config.errors import EngineUnavailable, InvalidRequest, ModelNotFound
from config.limits import Allowance, KeyLimits, Left
from config.settings import LimitsSettings, ServerSettings
from gateway.auth.identity import LOCAL, Identity
from gateway.http.buffered import BufferedChoice
from gateway.service import Caller, Service
from tests.gateway.scripted import ScriptedDispatch, demo_view, says
from transport.messages.client import ChatMessage, GenerationParameters

ONLY_DEMO = Identity(name="n", models=frozenset({"demo"}))
NEITHER = Identity(name="n", models=frozenset({"other"}))
BOTH = [demo_view("demo"), demo_view("hidden")]
LEFT = Allowance(Left(5, 4, 1.0))


@contextmanager
def opened(views=None, limits=LimitsSettings()):  # noqa: B008 - frozen
    dispatch = ScriptedDispatch(says("x"), views)
    service = Service(dispatch, ServerSettings(), limits=limits)
    service.dispatch = dispatch
    yield service
    service.close()


def message_of(kind, ask):
    with pytest.raises(kind) as raised:
        ask()
    return raised.value.message


def test_models_are_those_that_may_be_used():
    with opened(BOTH) as service:
        assert [view.name for view in service.models()] == ["demo", "hidden"]
        assert [view.name for view in service.models(ONLY_DEMO)] == ["demo"]
        assert service.model(None, ONLY_DEMO).name == "demo"
        message_of(InvalidRequest, lambda: service.model(None))


def test_a_model_that_may_not_be_used_is_like_one_that_is_not_there():
    with opened(BOTH) as service:
        hidden = message_of(ModelNotFound, lambda: service.model("hidden", ONLY_DEMO))
        absent = message_of(ModelNotFound, lambda: service.model("absent", ONLY_DEMO))
        assert hidden.replace("hidden", "absent") == absent
        caller = Caller("chat", identity=ONLY_DEMO)
        with pytest.raises(ModelNotFound):
            asyncio.run(service.card("hidden", caller))


def test_who_may_use_none_of_the_models_hears_no_names():
    with opened(BOTH) as service:
        text = message_of(ModelNotFound, lambda: service.model(None, NEITHER))
        assert not any(name in text for name in ("demo", "hidden", "other"))
    with opened([]) as service:
        message_of(EngineUnavailable, lambda: service.model("other", NEITHER))


async def prepare(service, identity, **asked):
    parameters = GenerationParameters(**asked)
    caller = Caller("chat", identity=identity)
    chat = [ChatMessage("user", "Hi")]
    return await service.prepare_chat(chat, "demo", parameters, caller)


def test_prompts_are_stored_for_the_tenant():
    with opened() as service:
        [ours] = asyncio.run(prepare(service, Identity(tenant="t"))).requests
        [local] = asyncio.run(prepare(service, LOCAL)).requests
    assert (ours.salt, local.salt) == ("t", "")


def test_without_limits_requests_have_no_charge():
    with opened() as service:
        [request] = asyncio.run(prepare(service, Identity(key_id="k", tenant="t"))).requests
    assert request.charge is None


async def begin(service, identity, **asked):
    prepared = await prepare(service, identity, **asked)
    outputs = [BufferedChoice() for _ in prepared.requests]
    answers = service.begin([prepared], outputs)
    before = answers.allowance
    for sink in list(service.dispatch.running.values()):
        sink.on_allowed(LEFT)
    for output in outputs:
        await output.end
    return before, answers.allowance


def test_several_answers_go_as_one_request_and_tell_what_is_left():
    limited = Identity(key_id="k", limits=KeyLimits(5))
    with opened() as service:
        told = asyncio.run(begin(service, limited, n=2))
        first, second = [request.charge for request in service.dispatch.requests]
    assert told == (None, LEFT)
    assert (first.key, first.requests, second.requests) == ("k", 1, 0)
    assert first.group == second.group != 0


def test_limits_of_the_settings_are_for_everybody():
    limits = LimitsSettings(key=KeyLimits(tokens_per_minute=9))
    with opened(limits=limits) as service:
        asyncio.run(begin(service, LOCAL))
        [request] = service.dispatch.requests
    assert (request.charge.key, request.charge.key_limits) == ("local", limits.key)
