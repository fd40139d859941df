"""From the vectors of a text's tokens to the one of the text.

Source: the modules Pooling, Dense and Normalize of https://github.com/UKPLab/sentence-transformers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx

from actors.engine.embedding.attention import real_tokens
from actors.engine.embedding.files import Pooling, Recipe, read_json
from config.errors import ModelLoadFailed

SMALLEST_NORM = 1e-12
_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "Identity": lambda x: x,
    "Tanh": mx.tanh,
}


class Dense:
    """One linear layer behind the pooling."""

    def __init__(self, folder: Path) -> None:
        """Read it from its folder.

        Raises:
            ModelLoadFailed: files that are missing or damaged, or an unknown activation.
        """
        config = read_json(folder / "config.json")
        name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if name not in _ACTIVATIONS:
            raise ModelLoadFailed(f"{folder.parent.name}: {folder.name}: unknown activation {name}")
        try:
            weights: Any = mx.load(str(folder / "model.safetensors"))
            self.weight: mx.array = weights["linear.weight"].astype(mx.float32)
        except (OSError, RuntimeError, KeyError) as error:
            text = f"{folder.parent.name}: the weights of {folder.name} cannot be read: {error}"
            raise ModelLoadFailed(text, fault="weights") from error
        bias = weights.get("linear.bias")
        self._bias = mx.zeros(1) if bias is None else bias.astype(mx.float32)
        self._act = _ACTIVATIONS[name]

    def __call__(self, x: mx.array) -> mx.array:
        """(texts, width in) to (texts, width out)."""
        return self._act(x @ self.weight.T + self._bias)


class Pooler:
    """What a `Recipe` says, done; in float32, whatever the model computes in."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.dense = [Dense(folder) for folder in recipe.dense]

    @property
    def normalises(self) -> bool:
        """Whether its vectors have the length 1."""
        return self._recipe.normalise

    def __call__(self, hidden: mx.array, lengths: mx.array) -> mx.array:
        """(texts, tokens, width) and the texts' lengths in tokens to (texts, dimensions)."""
        x = _pool(hidden.astype(mx.float32), lengths, self._recipe.pooling)
        for layer in self.dense:
            x = layer(x)
        if not self._recipe.normalise:
            return x
        norm = mx.sqrt(mx.sum(x * x, axis=-1, keepdims=True))
        return x / mx.maximum(norm, SMALLEST_NORM)


def _pool(hidden: mx.array, lengths: mx.array, pooling: Pooling) -> mx.array:
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        return hidden[mx.arange(hidden.shape[0]), lengths - 1]
    real = real_tokens(lengths, hidden.shape[1])[:, :, None]
    if pooling == "max":
        return mx.max(mx.where(real, hidden, -mx.inf), axis=1)
    return mx.sum(mx.where(real, hidden, 0), axis=1) / lengths[:, None]
