"""The forward passes once more, in numpy and for one text at a time, from the files alone."""

import json
import math

import numpy as np
from safetensors.numpy import load_file

_erf = np.vectorize(math.erf)


def reference(folder, tokens, pooling="mean"):
    """The vector of one text, of length 1."""
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    forward = modernbert if config["model_type"] == "modernbert" else bert
    hidden = forward(config, weights, np.array(tokens))
    pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0)}[pooling]
    return pooled / np.linalg.norm(pooled)


def bert(config, weights, tokens):
    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        eps = config["layer_norm_eps"]
        return layer_norm(x, eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    first = 0 if config["model_type"] == "bert" else config["pad_token_id"] + 1
    words, places, types = (
        weights[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    x = words[tokens] + places[first : first + len(tokens)] + types[0]
    x = norm("embeddings.LayerNorm", x)
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        q, k, v = (linear(f"{at}.attention.self.{name}", x) for name in ("query", "key", "value"))
        seen = attention(q, k, v, config["num_attention_heads"])
        x = norm(
            f"{at}.attention.output.LayerNorm", x + linear(f"{at}.attention.output.dense", seen)
        )
        wide = gelu(linear(f"{at}.intermediate.dense", x))
        x = norm(f"{at}.output.LayerNorm", x + linear(f"{at}.output.dense", wide))
    return x


def modernbert(config, weights, tokens):
    def norm(name, x):
        return layer_norm(x, config["norm_eps"]) * weights[f"{name}.weight"]

    places = np.arange(len(tokens))
    near = abs(places[:, None] - places) <= config["local_attention"] // 2
    x = norm("embeddings.norm", weights["embeddings.tok_embeddings.weight"][tokens])
    for i in range(config["num_hidden_layers"]):
        at, local = f"layers.{i}", i % config["global_attn_every_n_layers"] != 0
        theta = config["local_rope_theta" if local else "global_rope_theta"]
        y = norm(f"{at}.attn_norm", x) if i else x
        parts = np.split(y @ weights[f"{at}.attn.Wqkv.weight"].T, 3, axis=-1)
        heads = config["num_attention_heads"]
        q, k = (rotated(part, heads, theta) for part in parts[:2])
        seen = attention(q, k, parts[2], heads, near if local else None)
        x = x + seen @ weights[f"{at}.attn.Wo.weight"].T
        y = norm(f"{at}.mlp_norm", x) @ weights[f"{at}.mlp.Wi.weight"].T
        shown, gate = np.split(y, 2, axis=-1)
        x = x + (gelu(shown) * gate) @ weights[f"{at}.mlp.Wo.weight"].T
    return norm("final_norm", x)


def attention(q, k, v, heads, allowed=None):
    size = q.shape[-1] // heads
    found = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / math.sqrt(size)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        found.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
    return np.concatenate(found, axis=-1)


def rotated(x, heads, theta):
    tokens, width = x.shape
    size = width // heads
    angles = np.arange(tokens)[:, None] * theta ** (-np.arange(0, size, 2) / size)
    cos, sin = (np.tile(f(angles), 2)[:, None] for f in (np.cos, np.sin))
    x = x.reshape(tokens, heads, size)
    turned = np.concatenate([-x[..., size // 2 :], x[..., : size // 2]], axis=-1)
    return (x * cos + turned * sin).reshape(tokens, width)


def layer_norm(x, eps):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


def gelu(x):
    return x * (1 + _erf(x / math.sqrt(2))) / 2
