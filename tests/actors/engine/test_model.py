import json
import os

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from actors.engine.model import load
from config.errors import ModelLoadFailed
from tests.models import TINY_LLAMA, make_model

pytestmark = pytest.mark.mlx


def quiet(stage, fraction):
    """Nobody watches."""


def test_the_card_tells_what_the_files_say(tiny, tiny_folder):
    card = tiny.card
    assert (card.name, card.context_tokens, card.eos_token_ids) == ("tiny", 1024, [511])
    assert (card.vocab_size, card.architecture, card.folder) == (512, "llama", str(tiny_folder))
    # 2 layers, keys and values, 2 heads of 16, 4 bytes each
    assert card.kv_bytes_per_token == 2 * 2 * 2 * 16 * 4


def test_its_age_is_that_of_its_files_however_often_it_is_loaded(tmp_path):
    folder = make_model(tmp_path / "m", TINY_LLAMA)
    os.utime(folder / "config.json", (1e9, 1e9))
    assert load(folder, "m", None, quiet).card.created_time == 10**9


def test_a_limit_on_the_context_holds(tiny_folder):
    assert load(tiny_folder, "t", 100, quiet).card.context_tokens == 100
    assert load(tiny_folder, "t", 5000, quiet).card.context_tokens == 1024


def test_ends_of_sequence_come_from_model_and_tokenizer(tmp_path):
    folder = make_model(tmp_path / "m", TINY_LLAMA)
    tokenizer = Tokenizer(WordLevel({"a": 0, "<end>": 9}, unk_token="a"))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    assert load(folder, "m", None, quiet).card.eos_token_ids == [9, 511]


def test_a_damaged_tokenizer_is_one_clear_line(tmp_path):
    folder = make_model(tmp_path / "m", TINY_LLAMA)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    with pytest.raises(ModelLoadFailed, match="model in m: tokenizer: "):
        load(folder, "m", None, quiet)


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_damaged_weights_are_one_clear_line(tmp_path, keep):
    folder = make_model(tmp_path / "broken", TINY_LLAMA)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelLoadFailed, match="model in broken: ") as caught:
        load(folder, "m", None, quiet)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("config", ["{", "[]", '{"model_type": "no_such_model"}', "{}"])
def test_a_bad_config_is_one_clear_line(tmp_path, config):
    folder = make_model(tmp_path / "broken", TINY_LLAMA)
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelLoadFailed, match="model in broken: "):
        load(folder, "m", None, quiet)
