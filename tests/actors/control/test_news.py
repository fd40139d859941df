"""What engines store and what gateways want, through the whole control process."""

import pytest

from actors.control import process
from actors.registry import actor as registry
from config.load_faults import public_reason
from config.settings import LifecycleSettings, ModelSettings, Settings, SupervisionSettings
from tests.actors.control.rig import Rig, eventually
from tests.actors.samples import announce, engine_id, hello, memory, route
from transport.messages.control import LeaseBatch, RouteBatch, Wanted
from transport.messages.lifeline import Heartbeat, LoadModel, ModelAbsent, Removed, UnloadModel
from transport.messages.topology import ModelStatus, PrefixBlocks

SETTINGS = Settings(
    models=tuple(ModelSettings(model=name, load="on_demand") for name in "mn"),
    lifecycle=LifecycleSettings(max_loaded_models=1),
)
WEIGHTS = {"m": 1000, "n": 30_000}


@pytest.fixture
def rig(monkeypatch, request):
    monkeypatch.setattr(registry, "TICK_S", 0.05)
    monkeypatch.setattr(process, "BEAT_S", 0.05)
    monkeypatch.setattr("actors.registry.residence.MIN_IDLE_S", 0.0)
    monkeypatch.setattr("actors.registry.policy.SETTLE_S", 0.1)
    monkeypatch.setattr(process, "estimated_bytes", WEIGHTS.__getitem__)
    rig = Rig(getattr(request, "param", SETTINGS))
    yield rig
    rig.close()


def facts(rig):
    beats = rig.supervisor.heard(Heartbeat)
    return beats[-1].facts if beats else {}


def test_stored_blocks_are_passed_on_and_known_to_the_router(rig):
    watcher, engine = rig.watcher(), rig.peer("engine:m:0#1")
    watcher.receive(object)
    stored = PrefixBlocks(engine_id(), 1, [1, 2, 3], [])
    engine.send(stored)
    assert watcher.receive(PrefixBlocks) == stored
    eventually(lambda: facts(rig).get("router.prefix_blocks") == 3)


def test_models_come_when_they_are_wanted_and_go_for_others(rig):
    watcher, gateway, engine = rig.watcher(), rig.peer("gateway:0#1"), rig.peer("engine:m:0#1")
    gateway.send(Wanted("m"))
    eventually(lambda: rig.supervisor.heard(LoadModel) == [LoadModel("m")])
    rig.supervisor.tell(announce())
    engine.send(hello())
    eventually(lambda: "model.m.idle_s" in facts(rig))
    gateway.send(RouteBatch([route(model="n")]))
    (refusal,) = gateway.receive(LeaseBatch).answers
    assert (refusal.code, refusal.retryable) == ("engine_unavailable", True)
    eventually(lambda: rig.supervisor.heard(UnloadModel) == [UnloadModel("m")])
    for news in (ModelAbsent("m", "freed"), Removed(engine_id())):
        rig.supervisor.tell(news)
    eventually(lambda: rig.supervisor.heard(LoadModel)[1:] == [LoadModel("n")])
    rig.supervisor.tell(ModelAbsent("n", "failed", "model_load_failed", "no folder /x", "missing"))
    failed = ModelStatus("n", "failed", 0, 0, public_reason("missing"), 30.0)
    eventually(lambda: watcher.receive(ModelStatus) == failed)
    eventually(lambda: facts(rig).get("model.m.idle_s") is None)


@pytest.mark.parametrize("rig", [Settings(models=SETTINGS.models)], indirect=True)
def test_a_model_is_loaded_once_the_caches_of_others_leave_room_for_it(rig, monkeypatch):
    monkeypatch.setattr("actors.registry.residence.GRANT_PATIENCE_S", 0.0)
    gateway, engine = rig.peer("gateway:0#1"), rig.peer("engine:m:0#1")
    rig.supervisor.tell(announce())
    engine.send(hello())
    eventually(lambda: holding(engine, rig, 60_000).get("kv.budget_bytes") == 79_000)
    refused = eventually(lambda: refusal(rig, gateway, "n", "queue_full"))
    assert "caches of running requests" in refused.message
    eventually(lambda: holding(engine, rig, 60_000).get("kv.coming_bytes") == WEIGHTS["n"])
    assert (facts(rig)["kv.budget_bytes"], facts(rig)["kv.admits"]) == (49_000, False)
    assert rig.supervisor.heard(LoadModel) == []
    gateway.send(Wanted("n"))
    loaded = [LoadModel("n")]
    eventually(lambda: holding(engine, rig, 20_000) and rig.supervisor.heard(LoadModel) == loaded)


def holding(engine, rig, reserved_bytes):
    """The facts after one more report of the engine."""
    engine.send(memory(device_limit_bytes=100_000, reserved_kv_bytes=reserved_bytes))
    return facts(rig)


def refusal(rig, gateway, model, code):
    gateway.send(RouteBatch([route(model=model)]))
    (answer,) = gateway.receive(LeaseBatch).answers
    return answer if getattr(answer, "code", "") == code else None


QUICK = Settings(models=SETTINGS.models, supervision=SupervisionSettings(period_s=0.5))


@pytest.mark.parametrize("rig", [QUICK], indirect=True)
def test_a_model_whose_engines_are_given_up_is_tried_again_when_it_has_rested(rig):
    gateway = rig.peer("gateway:0#1")
    rig.supervisor.tell(announce())
    rig.supervisor.tell(announce(state="failed"))
    refused = eventually(lambda: refusal(rig, gateway, "m", "model_load_failed"))
    assert (refused.retry_after_s, "too often" in refused.message) == (1.0, True)
    eventually(lambda: refusal(rig, gateway, "m", "engine_unavailable"))
    eventually(lambda: rig.supervisor.heard(LoadModel) == [LoadModel("m")])
