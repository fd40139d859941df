"""What the files of a model say of its kind and of its vectors."""

import json

import pytest

from actors.engine.embedding.files import (
    Recipe,
    is_embedding_model,
    longest_input,
    read_recipe,
)
from config.errors import ModelLoadFailed

TRANSFORMER = {"path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
NORMALIZE = {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return put


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "modernbert", "camembert"])
def test_an_encoder_is_for_embeddings(write, kind):
    assert is_embedding_model(write("config", {"model_type": kind}), "some/model")


def test_a_decoder_is_when_it_has_the_files_or_the_name(write):
    folder = write("config", {"model_type": "qwen3"})
    assert not is_embedding_model(folder, "Qwen/Qwen3-4B")
    assert not is_embedding_model(folder, "/data/embeddings/Qwen3-4B")
    assert is_embedding_model(folder, "mlx-community/Qwen3-Embedding-0.6B-4bit-DWQ")
    assert is_embedding_model(folder, "/data/qwen3-embedding/")
    assert is_embedding_model(write("modules", [TRANSFORMER]), "Qwen/Qwen3-4B")


def test_a_pooling_alone_makes_an_embedding_model(write):
    write("config", {"model_type": "qwen3"})
    assert is_embedding_model(write("1_Pooling/config", {}), "Qwen/Qwen3-4B")


@pytest.mark.parametrize(
    ("told", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "lasttoken"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"word_embedding_dimension": 384}, "mean"),
    ],
)
def test_the_pooling_is_read(write, told, pooling):
    write("modules", [TRANSFORMER, POOLING, NORMALIZE])
    folder = write("1_Pooling/config", told)
    assert read_recipe(folder, "mean") == Recipe(pooling, normalise=True)


def test_vectors_are_normalised_where_the_files_say_so_or_nothing(write, tmp_path):
    assert read_recipe(tmp_path, "lasttoken") == Recipe("lasttoken", normalise=True)
    folder = write("modules", [TRANSFORMER, POOLING])
    assert read_recipe(folder, "mean") == Recipe("mean", normalise=False)


@pytest.mark.parametrize(
    "told",
    [
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode_mean_tokens": True, "include_prompt": False},
    ],
)
def test_another_pooling_is_refused(write, told):
    write("modules", [TRANSFORMER, POOLING])
    with pytest.raises(ModelLoadFailed, match=r"pooling .* is not supported"):
        read_recipe(write("1_Pooling/config", told), "mean")


def test_an_unknown_step_is_refused(write):
    steps = [TRANSFORMER, POOLING, {"path": "2_CNN", "type": "sentence_transformers.models.CNN"}]
    with pytest.raises(ModelLoadFailed, match=r"unknown step CNN in modules\.json"):
        read_recipe(write("modules", steps), "mean")


@pytest.mark.parametrize("damaged", ["{", "{}", "[3]"])
def test_damaged_files_are_named(write, damaged):
    with pytest.raises(ModelLoadFailed, match=r"modules\.json"):
        read_recipe(write("modules", damaged), "mean")
    with pytest.raises(ModelLoadFailed, match=r"config\.json"):
        is_embedding_model(write("other/config", "[]") / "other", "m")


def test_the_shortest_limit_of_the_files_counts(write, tmp_path):
    assert longest_input(tmp_path) == 10**9
    assert longest_input(write("tokenizer_config", {"model_max_length": 512})) == 512
    assert longest_input(write("sentence_bert_config", {"max_seq_length": 256})) == 256
    assert longest_input(write("sentence_bert_config", {"max_seq_length": None})) == 512
    assert longest_input(write("tokenizer_config", {"model_max_length": 1e30})) == 10**9
