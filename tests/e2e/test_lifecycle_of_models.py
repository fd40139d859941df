"""Models that are loaded when somebody wants them, and engines that are replaced by fresh ones."""

import asyncio
import json
import urllib.error

import pytest

from mlx_serving.tree import demo_folder
from tests.e2e.server import Server, wait_for
from tests.e2e.streams import request, run_streams
from tests.models import TINY_LLAMA, make_model
from transport.messages.admin import Children, Recycle, Unload, UnloadReply

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]
CONFIG = """
lifecycle: {{max_loaded_models: 1}}
models:
  - {{model: demo}}
  - {{model: demo, alias: second, load: on_demand}}
  - {{model: {broken}, alias: broken, load: on_demand}}
"""
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    broken = make_model(folder / "broken", TINY_LLAMA)
    (broken / "model.safetensors").write_bytes(b"nonsense")
    config = folder / "serving.yaml"
    config.write_text(CONFIG.format(broken=broken), "utf-8")
    with Server("--config", str(config)) as running:
        running.wait_ready()
        yield running


def engines(server):
    return {name for name, child in server.children().items() if child.kind == "engine"}


def refusal(server, model):
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.chat(QUESTION, model=model)
    with caught.value as error:
        return error.code, json.load(error)["error"], int(error.headers.get("Retry-After", 0))


def test_a_lone_engine_is_recycled_under_streams_that_notice_nothing(server):
    bodies = [request(i) for i in range(6)]
    undisturbed = asyncio.run(run_streams(server.url, bodies))

    def recycle(streams):
        wait_for(lambda: sum(len(stream.text) for stream in streams) > 100, what="some text")
        server.admin.call(Recycle("demo"), timeout_s=60)

    streams = asyncio.run(run_streams(server.url, bodies, recycle))
    assert [stream.errors for stream in streams if not stream.complete] == []
    assert [stream.text for stream in streams] == [stream.text for stream in undisturbed]
    assert server.child("engine:demo:0").incarnation == 2
    groups = {g.id: g for g in server.admin.call(Children(), timeout_s=10).groups}
    assert groups["model:demo"].recent_restarts == 0
    wait_for(lambda: server.child("control").facts["registry.recycles"] == 1, what="the count")


def test_a_model_is_loaded_when_it_is_wanted_and_the_idle_one_makes_room(server):
    listed = json.loads(server.get("/v1/models")[1])["data"]
    told = {model["id"]: (model["context_length"], model["created"]) for model in listed}
    assert told.keys() == {"demo", "second", "broken"}
    assert told["second"] == told["demo"]
    config = json.loads((demo_folder() / "config.json").read_text("utf-8"))
    made_time = int((demo_folder() / "config.json").stat().st_mtime)
    assert told["demo"] == (config["max_position_embeddings"], made_time)
    assert engines(server) == {"engine:demo:0"}
    assert "Paris" in server.chat(QUESTION, model="second", temperature=0)
    assert engines(server) == {"engine:second:0"}

    bodies = [request(1) | {"model": "second"}]
    undisturbed = asyncio.run(run_streams(server.url, bodies))

    def want_the_other(streams):
        wait_for(lambda: sum(len(stream.text) for stream in streams) > 50, what="some text")
        assert "Paris" in server.chat(QUESTION, temperature=0)

    (stream,) = asyncio.run(run_streams(server.url, bodies, want_the_other))
    assert (stream.errors, stream.text) == ([], undisturbed[0].text)
    assert engines(server) == {"engine:demo:0"}


def test_one_that_cannot_be_loaded_says_why_and_is_not_tried_for_ever(server):
    for _ in range(2):
        status, error, retry_after_s = refusal(server, "broken")
        assert (status, error["code"]) == (503, "model_load_failed")
        assert "its weights cannot be read" in error["message"]
        assert 1 <= retry_after_s <= 30
    lines = [line for line in server.lines if "engine:broken:0: loading" in line]
    assert len(lines) == 1


def test_one_that_is_not_loaded_can_be_taken_out_until_it_is_loaded(server):
    assert server.admin.call(Unload("broken"), timeout_s=10) == UnloadReply("model:broken")
    wait_for(lambda: states(server).keys() == {"demo", "second"}, what="its end")
    status, error, _ = refusal(server, "broken")
    assert (status, error["code"]) == (404, "model_not_found")


def states(server):
    return json.loads(server.get("/ready")[1])["models"]


def test_one_whose_engine_died_too_often_is_given_a_rest_and_a_fresh_try(tmp_path):
    config = tmp_path / "serving.yaml"
    config.write_text(CONFIG.format(broken=tmp_path), "utf-8")
    limits = {"INTENSITY": "0", "PERIOD_S": "4"}
    env = {f"MLX_SERVING_SUPERVISION__{name}": value for name, value in limits.items()}
    with Server("--config", str(config), env=env) as server:
        server.wait_ready()
        dead = server.kill("engine:demo:0")
        wait_for(lambda: states(server)["demo"] == "failed", what="its failure")
        status, error, retry_after_s = refusal(server, "demo")
        assert (status, error["code"]) == (503, "model_load_failed")
        assert "its engines ended too often" in error["message"]
        assert 1 <= retry_after_s <= 4
        server.wait_successor(dead)
        assert "Paris" in server.chat(QUESTION, temperature=0)
