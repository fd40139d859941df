"""Models that cannot be loaded: clients hear what is wrong, operators the whole of it."""

import json
import urllib.error

import pytest

from config.load_faults import public_reason
from tests.e2e.server import Server
from tests.models import TINY_LLAMA, make_model
from transport.messages.admin import Status

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]


def make_dangling(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "gone")


def make_folder(folder):
    (folder / "generation_config.json").mkdir()


def make_incomplete(folder):
    config = {key: value for key, value in TINY_LLAMA.items() if key != "rms_norm_eps"}
    (folder / "config.json").write_text(json.dumps(config))


def take_away(folder):
    (folder / "tokenizer.json").unlink()


# How it is broken, what clients are told, and a part of what the library said.
BROKEN = {
    "dangling": (make_dangling, "weights", "/dangling/model.safetensors"),
    "folder": (make_folder, "config", "Is a directory: "),
    "incomplete": (make_incomplete, "config", "rms_norm_eps"),
    "missing": (take_away, "missing", "/missing: the folder has no tokenizer.json"),
    "far": (None, "hub", "HF_HUB_OFFLINE"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    models = [{"model": "demo"}, {"model": "somebody/far-away", "alias": "far"}]
    for name, (breaks, *_) in BROKEN.items():
        if breaks is not None:
            breaks(make_model(place / name, TINY_LLAMA))
            models.append({"model": str(place / name), "alias": name})
    config = place / "serving.json"
    models = [models[0], *(model | {"load": "on_demand"} for model in models[1:])]
    config.write_text(json.dumps({"models": models}))
    env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hf")}
    with Server("--config", str(config), env=env) as running:
        running.wait_ready()
        yield running


@pytest.mark.parametrize("name", BROKEN)
def test_clients_are_told_what_is_wrong_and_operators_the_whole_of_it(server, name):
    _, fault, words = BROKEN[name]
    told = []
    for _ in range(2):  # who waited for it, and who came after it failed
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.chat("Hello!", model=name)
        with caught.value as error:
            assert error.code == 503
            told.append(json.load(error)["error"])
    expected = f"the model '{name}' could not be loaded: {public_reason(fault)}"
    assert [(it["code"], it["message"]) for it in told] == [("model_load_failed", expected)] * 2
    failed = server.admin.call(Status(), timeout_s=10).status.failed
    assert words in failed[name]
    assert [line for line in server.lines if words in line] != []
