"""ModernBERT: rotary positions, gated nets, and in most layers a window instead of all tokens.

Source: Warner et al., https://arxiv.org/abs/2412.13663, and the names of transformers'
`ModernBertModel`.
"""

from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import BaseModelArgs

from actors.engine.embedding.attention import attend, join_heads, real_tokens

_PARTS = ("embeddings", "layers", "final_norm")


@dataclass
class ModernBertArgs(BaseModelArgs):  # type: ignore[misc]
    """What of config.json counts."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    local_attention: int = 128
    global_attn_every_n_layers: int = 3
    global_rope_theta: float = 160_000.0
    local_rope_theta: float | None = 10_000.0
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    hidden_activation: str = "gelu"
    rope_parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """transformers 5 writes the rotary bases by kind of layer."""
        if self.hidden_activation != "gelu":
            raise ValueError(f"ModernBERT with {self.hidden_activation} is not supported")
        given = self.rope_parameters
        self.global_rope_theta = _theta(given, "full_attention", self.global_rope_theta)
        local = self.global_rope_theta if self.local_rope_theta is None else self.local_rope_theta
        self.local_rope_theta = _theta(given, "sliding_attention", local)

    @property
    def max_tokens(self) -> int:
        """For how many tokens it was trained."""
        return self.max_position_embeddings

    def is_local(self, layer: int) -> bool:
        """Whether a layer looks through the window."""
        return layer % self.global_attn_every_n_layers != 0


def _theta(given: dict[str, Any], kind: str, default: float) -> float:
    return float((given.get(kind) or {}).get("rope_theta", default))


class Embeddings(nn.Module):  # type: ignore[misc]
    """A vector for each token."""

    def __init__(self, args: ModernBertArgs) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(args.vocab_size, args.hidden_size)
        self.norm = nn.LayerNorm(args.hidden_size, eps=args.norm_eps, bias=args.norm_bias)


class Attention(nn.Module):  # type: ignore[misc]
    """One layer's; all heads' queries, keys and values in one matrix."""

    def __init__(self, args: ModernBertArgs, layer: int) -> None:
        super().__init__()
        width, theta = args.hidden_size, args.global_rope_theta
        self.Wqkv = nn.Linear(width, 3 * width, bias=args.attention_bias)
        self.Wo = nn.Linear(width, width, bias=args.attention_bias)
        if args.is_local(layer) and args.local_rope_theta is not None:
            theta = args.local_rope_theta
        self._heads = args.num_attention_heads
        self._rope = nn.RoPE(width // self._heads, base=theta)

    def __call__(self, x: mx.array, mask: mx.array | None) -> mx.array:
        """(texts, tokens, width) to the same."""
        texts, tokens, width = x.shape
        parts = self.Wqkv(x).reshape(texts, tokens, 3, self._heads, width // self._heads)
        queries, keys, values = (parts[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        seen = attend(self._rope(queries), self._rope(keys), values, mask)
        found: mx.array = self.Wo(join_heads(seen))
        return found


class Net(nn.Module):  # type: ignore[misc]
    """A gated feed-forward net."""

    def __init__(self, args: ModernBertArgs) -> None:
        super().__init__()
        self.Wi = nn.Linear(args.hidden_size, 2 * args.intermediate_size, bias=args.mlp_bias)
        self.Wo = nn.Linear(args.intermediate_size, args.hidden_size, bias=args.mlp_bias)

    def __call__(self, x: mx.array) -> mx.array:
        """(texts, tokens, width) to the same."""
        shown, gate = mx.split(self.Wi(x), 2, axis=-1)
        found: mx.array = self.Wo(nn.gelu(shown) * gate)
        return found


class Layer(nn.Module):  # type: ignore[misc]
    """Attention, then a net, each normalised in front; the embeddings are already for the first."""

    def __init__(self, args: ModernBertArgs, layer: int) -> None:
        super().__init__()
        norm = (args.hidden_size, args.norm_eps)
        first = layer == 0
        self.attn_norm = nn.Identity() if first else nn.LayerNorm(*norm, bias=args.norm_bias)
        self.attn = Attention(args, layer)
        self.mlp_norm = nn.LayerNorm(*norm, bias=args.norm_bias)
        self.mlp = Net(args)
        self._local = args.is_local(layer)

    def __call__(self, x: mx.array, everywhere: mx.array | None, near: mx.array | None) -> mx.array:
        """(texts, tokens, width) to the same; both masks, of which it needs one."""
        x = x + self.attn(self.attn_norm(x), near if self._local else everywhere)
        return x + self.mlp(self.mlp_norm(x))


class Model(nn.Module):  # type: ignore[misc]
    """Tokens to a vector for each of them."""

    def __init__(self, args: ModernBertArgs) -> None:
        super().__init__()
        self.args = args
        self.embeddings = Embeddings(args)
        self.layers = [Layer(args, i) for i in range(args.num_hidden_layers)]
        self.final_norm = nn.LayerNorm(args.hidden_size, eps=args.norm_eps, bias=args.norm_bias)

    def __call__(self, tokens: mx.array, lengths: mx.array | None) -> mx.array:
        """(texts, tokens) to (texts, tokens, width); with `lengths`, what is behind them is
        padding."""
        count = tokens.shape[1]
        everywhere = None if lengths is None else real_tokens(lengths, count)[:, None, None, :]
        near = self._near(count, everywhere)
        x = self.embeddings.norm(self.embeddings.tok_embeddings(tokens))
        for layer in self.layers:
            x = layer(x, everywhere, near)
        found: mx.array = self.final_norm(x)
        return found

    def _near(self, count: int, everywhere: mx.array | None) -> mx.array | None:
        reach = self.args.local_attention // 2
        if count <= reach + 1:
            return everywhere
        places = mx.arange(count)
        near = (mx.abs(places[:, None] - places[None]) <= reach)[None, None]
        return near if everywhere is None else near & everywhere

    def sanitize(self, weights: dict[str, Any]) -> dict[str, Any]:
        """The encoder's weights."""
        named = {name.removeprefix("model."): weight for name, weight in weights.items()}
        return {name: it for name, it in named.items() if name.partition(".")[0] in _PARTS}
