"""Loads an embedding model, and turns batches of texts into vectors. Engine thread only."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model

from actors.engine.damage import loading
from actors.engine.embedding import bert, causal, modernbert
from actors.engine.embedding.extra import ExtraForward, load_with_extra
from actors.engine.embedding.files import ENCODERS, longest_input, read_json, read_recipe
from actors.engine.embedding.pooling import Pooler
from config.errors import ModelLoadFailed
from transport.messages.topology import ModelCard

Report = Callable[[str, float | None], None]
Forward = Callable[[mx.array, mx.array | None], mx.array]
Tokens = np.ndarray[Any, np.dtype[np.int32]]
Vectors = np.ndarray[Any, np.dtype[np.float32]]

WORKING_BYTES = 256 * 1024 * 1024  # what a batch may take while it is computed, about
MIN_BATCH_TOKENS, MAX_BATCH_TOKENS = 512, 16_384
MAX_CPU_BATCH_TOKENS = 512  # larger ones are no faster there, and others wait for them
_FALLBACK_CONTEXT_TOKENS = 512
_ENCODERS = {"modernbert": (modernbert.Model, modernbert.ModernBertArgs)}  # the others are BERTs


class Embedder:
    """A model in memory. `batch_tokens` is how many it may be given at once, padding counted."""

    def __init__(
        self, forward: Forward, pooler: Pooler, card: ModelCard, batch_tokens: int
    ) -> None:
        self._forward = forward
        self._pooler = pooler
        self.card = card
        self.batch_tokens = batch_tokens

    def embed(self, texts: Sequence[Tokens]) -> Vectors:
        """The vectors of texts, which have one token at least; (texts, dimensions)."""
        sizes = [len(text) for text in texts]
        longest = max(sizes)
        padded = np.zeros((len(texts), longest), np.int32)
        for row, text in zip(padded, texts, strict=True):
            row[: len(text)] = text
        lengths = mx.array(sizes)
        ragged = min(sizes) < longest
        hidden = self._forward(mx.array(padded), lengths if ragged else None)
        return np.array(self._pooler(hidden, lengths), np.float32)

    def cut(self, vectors: Vectors, dimensions: int) -> Vectors:
        """The first `dimensions` of each vector, again of length 1 where the whole one is."""
        vectors = vectors[:, :dimensions]
        if not self._pooler.normalises:
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def load_embedder(folder: Path, name: str, max_context: int | None, report: Report) -> Embedder:
    """Load the weights and what the files say of pooling.

    Raises:
        ModelLoadFailed: damaged or missing files, or a kind of model that is not supported here.
    """
    report("loading weights", None)
    config = read_json(folder / "config.json")
    config = (config.get("text_config") or {}) | config
    _check_task(folder, config)
    encoder = config.get("model_type") in ENCODERS
    recipe = read_recipe(folder, "mean" if encoder else "lasttoken")
    width = _number(folder, config, "hidden_size")
    vocab_size = _number(folder, config, "vocab_size")
    model, forward, positions = _read(folder, config)
    pooler = Pooler(recipe)
    limits = [positions, longest_input(folder), max_context or positions]
    card = ModelCard(
        name=name,
        folder=str(folder),
        context_tokens=min(limits),
        eos_token_ids=[],
        vocab_size=vocab_size,
        architecture=str(config.get("model_type", "unknown")),
        batching="batch",
        weights_bytes=sum(weight.nbytes for _, weight in tree_flatten(model.parameters())),
        kv_bytes_per_token=0,
        created_time=int((folder / "config.json").stat().st_mtime),
        kind="embedding",
        dimensions=int(pooler.dense[-1].weight.shape[0]) if pooler.dense else width,
    )
    return Embedder(forward, pooler, card, _batch_tokens(config))


def _number(folder: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int):
        text = f"model in {folder.name}: config.json has no {key}"
        raise ModelLoadFailed(text, fault="config")
    return value


def _read(folder: Path, config: dict[str, Any]) -> tuple[Any, Forward, int]:
    """The model, its forward pass, and how many tokens it has positions for."""
    with loading(folder):
        model, forward, positions = _make(folder, config)
        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        if on_cpu and "quantization" not in config:
            model.set_dtype(mx.float32)  # 16-bit arithmetic is many times slower there
        mx.eval(model.parameters())
    return model, forward, positions


def _make(folder: Path, config: dict[str, Any]) -> tuple[Any, Forward, int]:
    kind = str(config.get("model_type", ""))
    if kind in ENCODERS:
        classes = _ENCODERS.get(kind, (bert.Model, bert.BertArgs))
        model, _ = load_model(folder, lazy=True, get_model_classes=lambda config: classes)
        return model, model, model.args.max_tokens
    positions = int(config.get("max_position_embeddings") or _FALLBACK_CONTEXT_TOKENS)
    if causal.is_causal(config):
        model, _ = load_model(
            folder, lazy=True, model_config=causal.CONFIG, get_model_classes=causal.classes
        )
        return model, causal.CausalForward(model), positions
    model = load_with_extra(folder, kind)
    return model, ExtraForward(model), positions


def _check_task(folder: Path, config: dict[str, Any]) -> None:
    for name in config.get("architectures") or ():
        if str(name).endswith("Classification"):
            text = f"{name} sorts texts into classes; it makes no embeddings"
            raise ModelLoadFailed(f"model in {folder.name}: {text}", fault="unsupported")


def _batch_tokens(config: dict[str, Any]) -> int:
    """By what a token takes while a layer is computed: some of its width, two of the net's."""
    width = int(config["hidden_size"])
    token_bytes = 4 * (8 * width + 2 * int(config.get("intermediate_size") or 4 * width))
    on_cpu = mx.default_device().type == mx.DeviceType.cpu
    most = MAX_CPU_BATCH_TOKENS if on_cpu else MAX_BATCH_TOKENS
    return max(MIN_BATCH_TOKENS, min(most, WORKING_BYTES // token_bytes))
