"""Vectors of the real model and of small ones, against numpy."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from actors.engine.embedding import attention
from actors.engine.embedding.model import load_embedder
from config.errors import ModelLoadFailed
from tests.actors.engine.embedding.reference import reference
from tests.embedding_models import (
    TINY_BERT,
    TINY_MODERNBERT,
    TINY_QWEN3,
    TINY_ROBERTA,
    make_embedding_model,
    minilm,
)

pytestmark = pytest.mark.mlx
TEXTS = [
    "That is a happy person",
    "That is a very happy person",
    "That is a happy dog",
    "Interest rates rose again in the third quarter, and the board expects them to stay where they "
    "are until inflation has come down to what the treaty asks for.",
    "Yes",
]


def load(folder, max_context=None):
    return load_embedder(folder, "m", max_context, lambda stage, share: None)


def arrays(*texts):
    return [np.array(text, np.int32) for text in texts]


def random_texts(*sizes, vocabulary=100):
    rng = np.random.default_rng(1)
    return arrays(*(rng.integers(2, vocabulary, size) for size in sizes))


@pytest.fixture(scope="module")
def real():
    return load(minilm())


@pytest.fixture(scope="module")
def real_texts():
    tokenizer = Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tokenizer.no_padding()
    return arrays(*(tokenizer.encode(text).ids for text in TEXTS))


def test_the_real_model_gives_the_reference_s_vectors_in_one_padded_batch(real, real_texts):
    vectors = real.embed(real_texts)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    for vector, text in zip(vectors, real_texts, strict=True):
        assert abs(vector - reference(minilm(), text)).max() < 1e-4


def test_similar_sentences_are_nearer_than_others(real, real_texts):
    near = real.embed(real_texts) @ real.embed(real_texts[:1])[0]
    person, very_happy, dog, rates, yes = near
    assert person > very_happy > dog > max(rates, yes)
    # As the model's card has them.
    assert (very_happy, dog) == (pytest.approx(0.943, abs=1e-3), pytest.approx(0.695, abs=1e-3))


def test_the_card_says_what_the_model_s_files_do(real):
    card = real.card
    assert (card.kind, card.dimensions, card.architecture) == ("embedding", 384, "bert")
    assert card.context_tokens == 256  # of 512 positions; so it was trained
    assert load(minilm(), 100).card.context_tokens == 100


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("config", [TINY_BERT, TINY_ROBERTA, TINY_MODERNBERT])
def test_every_encoder_gives_the_reference_s_vectors(tmp_path, config, pooling):
    key = {"mean": "mean_tokens", "cls": "cls_token", "max": "max_tokens"}[pooling]
    told = {"1_Pooling__config": {f"pooling_mode_{key}": True}}
    folder = make_embedding_model(tmp_path / "m", config, **told)
    texts = random_texts(3, 17, 60, 17, 1)
    for vector, text in zip(load(folder).embed(texts), texts, strict=True):
        assert abs(vector - reference(folder, text, pooling)).max() < 1e-4


def test_roberta_has_fewer_places_for_tokens_than_it_says(tmp_path):
    folder = make_embedding_model(tmp_path / "m", TINY_ROBERTA)
    embedder = load(folder)
    assert embedder.card.context_tokens == 62
    (text,) = random_texts(62)
    assert abs(embedder.embed([text])[0] - reference(folder, text)).max() < 1e-4


@pytest.mark.parametrize("config", [TINY_BERT, TINY_MODERNBERT, TINY_QWEN3])
def test_a_long_text_in_pieces_gives_the_same_vector(tmp_path, monkeypatch, config):
    embedder = load(make_embedding_model(tmp_path / "m", config))
    texts = random_texts(64, 50)
    whole = embedder.embed(texts)
    monkeypatch.setattr(attention, "MAX_SCORES", 1)
    monkeypatch.setattr(attention, "FEWEST_ROWS", 5)
    assert attention.rows_at_once(2, 4, 64) == 5
    assert abs(embedder.embed(texts) - whole).max() < 1e-5


def test_a_decoder_s_last_token_counts_whatever_pads_the_text(tmp_path):
    """Its checkpoint has no head and names no outer model, as that of Qwen3-Embedding."""
    embedder = load(make_embedding_model(tmp_path / "m", TINY_QWEN3))
    texts = random_texts(3, 20, 9)
    together = embedder.embed(texts)
    for vector, text in zip(together, texts, strict=True):
        hidden = np.array(embedder._forward(np_to_mx(text[None]), None))[0]
        last = hidden[-1] / np.linalg.norm(hidden[-1])
        assert abs(vector - last).max() < 1e-5
    assert abs(embedder.embed(arrays(texts[0][::-1]))[0] - together[0]).max() > 0.01


def np_to_mx(array):
    import mlx.core as mx

    return mx.array(array)


def test_fewer_dimensions_are_the_first_ones_of_length_one(real, real_texts):
    whole = real.embed(real_texts)
    cut = real.cut(whole, 64)
    assert cut.shape == (5, 64)
    assert np.linalg.norm(cut, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert cut[0] / cut[0, 0] == pytest.approx(whole[0, :64] / whole[0, 0], rel=1e-4)


def test_steps_behind_the_pooling_are_done(tmp_path):
    """A dense layer, and no normalising."""
    steps = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    dense = {"activation_function": "torch.nn.modules.activation.Tanh"}
    plain = load(make_embedding_model(tmp_path / "plain", TINY_BERT, modules=steps[:2]))
    folder = make_embedding_model(
        tmp_path / "m", TINY_BERT, modules=steps, **{"2_Dense__config": dense}
    )
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(8, 32)).astype("f"), rng.normal(size=8).astype("f")
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense/model.safetensors")
    embedder = load(folder)
    assert embedder.card.dimensions == 8
    texts = random_texts(5, 9)
    expected = np.tanh(plain.embed(texts) @ weight.T + bias)
    assert abs(embedder.embed(texts) - expected).max() < 1e-5
    assert np.array_equal(embedder.cut(expected, 3), expected[:, :3])


def test_a_kind_that_needs_the_extra_is_refused_with_its_name(tmp_path, monkeypatch):
    folder = make_embedding_model(tmp_path / "m", TINY_BERT | {"model_type": "gemma3_text"})
    monkeypatch.setitem(sys.modules, "mlx_vlm.embedding_loader", None)
    with pytest.raises(ModelLoadFailed, match=r"'gemma3_text' need.*pip install 'mlx-serving\[emb"):
        load(folder)


def test_what_looks_both_ways_is_not_taken_for_a_decoder(tmp_path, monkeypatch):
    folder = make_embedding_model(tmp_path / "m", TINY_QWEN3 | {"is_causal": False})
    monkeypatch.setitem(sys.modules, "mlx_vlm.embedding_loader", None)
    with pytest.raises(ModelLoadFailed, match="'qwen3' need the extra 'embeddings'"):
        load(folder)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "sorts texts into classes"),
        ({"hidden_act": "silu"}, "this kind of BERT is not supported"),
        ({"hidden_size": 31}, "m: "),
        ({"hidden_size": None}, r"config\.json has no hidden_size"),
    ],
)
def test_what_cannot_be_served_says_why(tmp_path, changed, reason):
    folder = make_embedding_model(tmp_path / "m", TINY_BERT)
    (folder / "config.json").write_text(json.dumps(TINY_BERT | changed))
    with pytest.raises(ModelLoadFailed, match=reason):
        load(folder)
