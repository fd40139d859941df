"""Models come and go while the server runs; the admin command line as a person uses it."""

import asyncio
import json
import subprocess
import sys
import urllib.error

import pytest

from config.errors import ModelLoadFailed, UnknownChild
from tests.e2e.server import wait_for
from tests.e2e.streams import request, run_streams
from tests.models import TINY_LLAMA, make_model
from transport.messages.admin import Load, Restart, Unload

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]


def names(server):
    return [model["id"] for model in json.loads(server.get("/v1/models")[1])["data"]]


def admin(server, *words):
    command = [sys.executable, "-m", "mlx_serving", "admin", *words]
    place = ["--runtime-dir", str(server.runtime.path)]
    return subprocess.run([*command, *place], capture_output=True, text=True, timeout=60)


def test_status_as_json_has_the_promised_fields(server):
    status = json.loads(admin(server, "status", "--json").stdout)
    assert set(status) == {"node", "uptime_s", "children", "failed"}
    fields = {"id", "kind", "state", "pid", "incarnation", "restarts", "ready_at", "facts"}
    assert all(set(child) == fields for child in status["children"])
    assert {c["id"] for c in status["children"]} == {"control", "engine:demo:0", "gateway:0"}


@pytest.mark.parametrize("verb", ["status", "children", "events", "config", "version"])
def test_every_reading_verb_prints_something(server, verb):
    done = admin(server, verb)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_a_model_is_loaded_beside_the_first_and_unloaded(server):
    server.admin.call(Load(model="demo", alias="second"), timeout_s=60)
    wait_for(lambda: names(server) == ["demo", "second"], what="both models")
    assert server.chat("What is the capital of France?", model="second", temperature=0)
    server.admin.call(Unload(name="second"), timeout_s=60)
    wait_for(lambda: names(server) == ["demo"], what="one model")
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        server.chat("Hello!", model="second")
    caught.value.close()


def test_running_streams_finish_before_their_model_is_unloaded(server):
    server.admin.call(Load(model="demo", alias="leaving"), timeout_s=60)
    wait_for(lambda: "leaving" in names(server), what="the model")
    bodies = [request(i) | {"model": "leaving"} for i in range(4)]

    def unload(streams):
        wait_for(lambda: sum(len(s.text) for s in streams) > 100, what="some text")
        server.admin.call(Unload(name="leaving"), timeout_s=60)

    streams = asyncio.run(run_streams(server.url, bodies, unload))
    assert [stream.errors for stream in streams if not stream.complete] == []
    wait_for(lambda: names(server) == ["demo"], what="one model")


def test_a_model_that_cannot_be_loaded_is_refused_and_the_rest_lives(server, tmp_path):
    folder = make_model(tmp_path / "broken", TINY_LLAMA)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelLoadFailed, match="model in broken: "):
        server.admin.call(Load(model=str(folder), alias="broken"), timeout_s=60)
    assert server.chat("Hello!")
    assert names(server) == ["demo"]


def test_an_engine_is_restarted_on_demand(server):
    before = server.child("engine:demo:0")
    server.admin.call(Restart(name="engine:demo:0"), timeout_s=60)
    assert server.child("engine:demo:0").incarnation > before.incarnation
    assert server.chat("Hello!")


def test_a_name_that_is_unknown_is_said_with_those_that_are(server):
    with pytest.raises(UnknownChild, match="engine:demo:0"):
        server.admin.call(Restart(name="engine:nobody:0"), timeout_s=10)


def test_the_last_model_may_go_and_come_back(server):
    server.admin.call(Unload(name="demo"), timeout_s=60)
    wait_for(lambda: names(server) == [], what="no model")
    assert server.get("/ready")[0] == 503
    done = admin(server, "load", "demo")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: names(server) == ["demo"], what="the model")
    assert server.chat("Hello!")
