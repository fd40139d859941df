"""What is told of models before they were loaded."""

import json
import os

import pytest

from actors.registry.outlook import Outlook, outlook
from actors.registry.policy import Catalogue
from actors.registry.store import InProcessRegistry
from transport.messages.topology import ModelStatus


@pytest.fixture
def model(tmp_path):
    def make(text, name="m"):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "config.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        os.utime(path, (1e9, 1e9))
        return str(folder)

    return make


@pytest.mark.parametrize(
    ("config", "limit", "context_tokens"),
    [
        ({"max_position_embeddings": 512}, None, 512),
        ({"max_position_embeddings": 512}, 100, 100),
        ({"max_position_embeddings": 512}, 1000, 512),
        ({"text_config": {"max_position_embeddings": 256}}, None, 256),
        ({}, 100, None),
        ({"max_position_embeddings": "512"}, None, None),
        ({"max_position_embeddings": -1}, None, None),
        ({"model_type": "bert", "max_position_embeddings": 512}, None, None),
        ({"text_config": 3}, None, None),
        ("[]", None, None),
        ("{", None, None),
    ],
)
def test_a_folder_tells_its_context_and_its_age(model, config, limit, context_tokens):
    assert outlook(model(config), limit) == Outlook(context_tokens, 10**9)


def test_one_that_is_for_vectors_by_its_name_has_limits_of_its_own(model):
    source = model({"max_position_embeddings": 512}, "some-embed-model")
    assert outlook(source, None) == Outlook(None, 10**9)


@pytest.mark.parametrize("source", ["/nowhere/at/all", "somebody/not-downloaded", "~nobody/x", ""])
def test_of_one_that_is_not_here_nothing_is_told(tmp_path, monkeypatch, source):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert outlook(source, None) == Outlook()


def test_one_in_the_hub_s_cache_tells_it_too(tmp_path, monkeypatch, model):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshots = tmp_path / "models--somebody--model" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "abc").symlink_to(model({"max_position_embeddings": 512}))
    assert outlook("somebody/model", None) == Outlook(512, 10**9)


def test_everybody_is_told_of_it_with_the_state():
    catalogue = Catalogue(InProcessRegistry(), 1, 0.0, {"m"}, outlooks={"m": Outlook(512, 9)})
    unloaded = ModelStatus("m", "unloaded", 0, 0, context_tokens=512, created_time=9)
    assert catalogue.rebuild(0.0) == [unloaded]
    assert catalogue.rebuild(1.0) == []
