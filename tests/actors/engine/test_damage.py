"""Folders that are really broken, and what is made of them for clients."""

import json

import pytest

from actors.engine.damage import loading
from actors.engine.embedding.model import load_embedder
from actors.engine.model import load
from config.errors import ModelLoadFailed
from tests.embedding_models import TINY_BERT, make_embedding_model
from tests.models import TINY_LLAMA, make_model

pytestmark = pytest.mark.mlx


def dangle(folder):
    weights = folder / "model.safetensors"
    weights.unlink()
    weights.symlink_to(folder / "gone")


def put_a_folder_there(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def configured(**changes):
    def change(folder):
        path = folder / "config.json"
        config = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return change


def put_a_folder_beside(folder):
    (folder / "generation_config.json").mkdir()


BROKEN = [
    (dangle, "weights"),
    (put_a_folder_there, "weights"),
    (cut, "weights"),
    (configured(hidden_size=None), "config"),
    (configured(hidden_size=48), "config"),
    (put_a_folder_beside, "config"),
]


@pytest.mark.parametrize(
    ("breaks", "fault"), [*BROKEN, (configured(model_type="no_such_kind"), "unsupported")]
)
def test_what_is_wrong_is_sorted_and_the_whole_of_it_kept(tmp_path, breaks, fault):
    folder = make_model(tmp_path / "m", TINY_LLAMA)
    breaks(folder)
    with pytest.raises(ModelLoadFailed, match=r"model in m: .") as caught:
        load(folder, "m", None, lambda stage, share: None)
    assert caught.value.fault == fault


@pytest.mark.parametrize(("breaks", "fault"), BROKEN)
def test_so_it_is_with_embedding_models(tmp_path, breaks, fault):
    folder = make_embedding_model(tmp_path / "m", TINY_BERT)
    breaks(folder)
    with pytest.raises(ModelLoadFailed, match=r"model in m: .") as caught:
        load_embedder(folder, "m", None, lambda stage, share: None)
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[metal::malloc] Attempting to allocate 9 bytes")]
)
def test_too_little_memory_is_no_damage(tmp_path, error):
    with pytest.raises(ModelLoadFailed, match=r"model in m: .") as caught, loading(tmp_path / "m"):
        raise error
    assert caught.value.fault == "memory"
