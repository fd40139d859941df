"""BERT and RoBERTa: the encoder alone, without what is built on it for other tasks.

Our own, because mlx-lm has no encoders, and mlx-vlm, which has them, brings 24 packages that are of
no use here, half a gigabyte of them. Source: Devlin et al., https://arxiv.org/abs/1810.04805, and
the names of transformers' `BertModel`.
"""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import BaseModelArgs

from actors.engine.embedding.attention import attend, join_heads, real_tokens, split_heads

_ROBERTA = frozenset({"camembert", "roberta", "xlm-roberta"})
# What transformers calls it, what it is here; the first that fits counts for each place.
_NAMES = (
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
    ("embeddings.word_embeddings.", "words."),
    ("embeddings.position_embeddings.", "places."),
    ("embeddings.token_type_embeddings.", "types."),
    ("embeddings.LayerNorm.", "norm."),
    ("encoder.layer.", "layers."),
    ("attention.self.", ""),
    ("attention.output.dense.", "seen."),
    ("attention.output.LayerNorm.", "seen_norm."),
    ("intermediate.dense.", "wide."),
    ("output.dense.", "narrow."),
    ("output.LayerNorm.", "narrow_norm."),
)
_ACTIVATIONS = {
    "gelu": nn.gelu,
    "gelu_new": nn.gelu_approx,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "relu": nn.relu,
}


@dataclass
class BertArgs(BaseModelArgs):  # type: ignore[misc]
    """What of config.json counts."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int = 0
    position_embedding_type: str = "absolute"

    def __post_init__(self) -> None:
        """Refuse what the forward pass below does not do."""
        if self.position_embedding_type != "absolute" or self.hidden_act not in _ACTIVATIONS:
            odd = f"{self.position_embedding_type} positions with {self.hidden_act}"
            raise ValueError(f"this kind of BERT is not supported: {odd}")

    @property
    def first_place(self) -> int:
        """RoBERTa counts its positions from behind that of the padding."""
        return self.pad_token_id + 1 if self.model_type in _ROBERTA else 0

    @property
    def max_tokens(self) -> int:
        """For how many tokens there are positions."""
        return self.max_position_embeddings - self.first_place


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then a feed-forward net, each normalised behind its sum."""

    def __init__(self, args: BertArgs) -> None:
        super().__init__()
        width, eps = args.hidden_size, args.layer_norm_eps
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.seen = nn.Linear(width, width)
        self.seen_norm = nn.LayerNorm(width, eps=eps)
        self.wide = nn.Linear(width, args.intermediate_size)
        self.narrow = nn.Linear(args.intermediate_size, width)
        self.narrow_norm = nn.LayerNorm(width, eps=eps)
        self._heads = args.num_attention_heads
        self._act = _ACTIVATIONS[args.hidden_act]

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """(texts, tokens, width) to the same."""
        queries, keys, values = (
            split_heads(part(x), self._heads) for part in (self.query, self.key, self.value)
        )
        x = self.seen_norm(x + self.seen(join_heads(attend(queries, keys, values, mask))))
        found: mx.array = self.narrow_norm(x + self.narrow(self._act(self.wide(x))))
        return found


class Model(nn.Module):  # type: ignore[misc]
    """Tokens to a vector for each of them."""

    def __init__(self, args: BertArgs) -> None:
        super().__init__()
        self.args = args
        self.words = nn.Embedding(args.vocab_size, args.hidden_size)
        self.places = nn.Embedding(args.max_position_embeddings, args.hidden_size)
        self.types = nn.Embedding(args.type_vocab_size, args.hidden_size)
        self.norm = nn.LayerNorm(args.hidden_size, eps=args.layer_norm_eps)
        self.layers = [Layer(args) for _ in range(args.num_hidden_layers)]

    def __call__(self, tokens: mx.array, lengths: mx.array | None) -> mx.array:
        """(texts, tokens) to (texts, tokens, width); with `lengths`, what is behind them is
        padding."""
        count = tokens.shape[1]
        places = mx.arange(count) + self.args.first_place
        first_type = self.types(mx.array([0]))
        x: mx.array = self.norm(self.words(tokens) + self.places(places)[None] + first_type[None])
        mask = None if lengths is None else real_tokens(lengths, count)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
        """The encoder's weights under our names."""
        found = {}
        for name, weight in weights.items():
            if "embeddings." in name or "encoder.layer." in name:
                ours = _renamed(name)
                if ours.partition(".")[0] in ("words", "places", "types", "norm", "layers"):
                    found[ours] = weight
        return found


def _renamed(name: str) -> str:
    for prefix in ("bert.", "roberta.", "model."):
        name = name.removeprefix(prefix)
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return name
