"""Decoders that were trained to make vectors, such as Qwen3-Embedding: mlx-lm's models, read to
the last layer but not to words.

They look back only, so what pads a text behind its end changes nothing.
"""

import importlib
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache

from actors.engine.embedding.attention import rows_at_once

# Our model types, and in which of mlx-lm's modules they are.
CAUSAL = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
# No head that makes words: checkpoints of embedding models lack it.
CONFIG = {"tie_word_embeddings": True}


def is_causal(config: dict[str, Any]) -> bool:
    """Whether this is a decoder of ours; some are trained to look both ways, which is not one."""
    both_ways = config.get("is_causal") is False or config.get("use_bidirectional_attention")
    return config.get("model_type") in CAUSAL and not both_ways


def classes(config: dict[str, Any]) -> tuple[type[Any], type[Any]]:
    """The model and its arguments, for mlx-lm's `load_model`."""
    module = importlib.import_module(f"mlx_lm.models.{CAUSAL[config['model_type']]}")

    class Decoder(module.Model):  # type: ignore[misc, name-defined]
        """Checkpoints name the weights with or without what is around them."""

        def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
            whole = {
                name if name.startswith("model.") else f"model.{name}": weight
                for name, weight in weights.items()
                if not name.startswith("lm_head.")
            }
            sanitized: dict[str, Any] = super().sanitize(whole)
            return sanitized

    return Decoder, module.ModelArgs


class CausalForward:
    """Tokens to a vector for each of them; a long text in pieces, for the memory of its scores."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - mlx-lm's
        self._model = model
        self._heads = int(model.args.num_attention_heads)

    def __call__(self, tokens: mx.array, lengths: mx.array | None) -> mx.array:
        """(texts, tokens) to (texts, tokens, width)."""
        texts, count = tokens.shape
        rows = rows_at_once(texts, self._heads, count)
        if rows >= count:
            whole: mx.array = self._model.model(tokens)
            return whole
        cache, parts = make_prompt_cache(self._model), []
        for start in range(0, count, rows):
            parts.append(self._model.model(tokens[:, start : start + rows], cache=cache))
            mx.eval(parts[-1])
        return mx.concatenate(parts, axis=1)
