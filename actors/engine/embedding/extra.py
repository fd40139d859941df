"""Model kinds that are not ours, by mlx-vlm's loaders, which the extra `embeddings` installs."""

from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from config.errors import ModelLoadFailed

REMEDY = "install it with: pip install 'mlx-serving[embeddings]'"


def load_with_extra(folder: Path, model_type: str) -> nn.Module:
    """A model of any kind that mlx-vlm knows; takes seconds to import.

    Raises:
        ModelLoadFailed: mlx-vlm is not installed; names the extra.
        ValueError: it does not know this kind, and others of its errors for damaged files.
    """
    try:
        from mlx_vlm.embedding_loader import load_embedding_model
    except ImportError as error:
        text = f"embedding models of the kind {model_type!r} need the extra 'embeddings'; {REMEDY}"
        raise ModelLoadFailed(f"model in {folder.name}: {text}", fault="package") from error
    return load_embedding_model(folder, lazy=True)


class ExtraForward:
    """Tokens to a vector for each of them. What mlx-vlm does beyond that is not computed: mlx is
    lazy, and pooling is ours for every kind."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - mlx-vlm's
        self._model = model

    def __call__(self, tokens: mx.array, lengths: mx.array | None) -> mx.array:
        """(texts, tokens) to (texts, tokens, width)."""
        texts, count = tokens.shape
        whole = mx.full((texts,), count) if lengths is None else lengths
        mask = (mx.arange(count)[None] < whole[:, None]).astype(mx.int32)
        hidden: mx.array = self._model(tokens, attention_mask=mask).last_hidden_state
        return hidden
