"""Attention over whole texts, in pieces where its scores would take too much memory."""

import mlx.core as mx

MAX_SCORES = 1 << 26  # 256 MB of float32, where mlx keeps them at all
FEWEST_ROWS = 32


def rows_at_once(texts: int, heads: int, tokens: int) -> int:
    """How many tokens of each text may look at all others at the same time."""
    return max(FEWEST_ROWS, min(tokens, MAX_SCORES // max(1, texts * heads * tokens)))


def attend(queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None) -> mx.array:
    """Each token looks at those that `mask` allows; None: at all.

    Shapes are (texts, heads, tokens, size of a head); the mask's are the same but for what is 1.
    """
    texts, heads, tokens, size = queries.shape
    rows = rows_at_once(texts, heads, tokens)
    parts = []
    for start in range(0, tokens, rows):
        piece = slice(start, start + rows)
        allowed = mask if mask is None or mask.shape[2] == 1 else mask[:, :, piece]
        parts.append(
            mx.fast.scaled_dot_product_attention(
                queries[:, :, piece], keys, values, scale=size**-0.5, mask=allowed
            )
        )
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=2)


def split_heads(x: mx.array, heads: int) -> mx.array:
    """(texts, tokens, width) to (texts, heads, tokens, size of a head)."""
    texts, tokens, width = x.shape
    return x.reshape(texts, tokens, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(x: mx.array) -> mx.array:
    """The way back."""
    texts, heads, tokens, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(texts, tokens, heads * size)


def real_tokens(lengths: mx.array, tokens: int) -> mx.array:
    """(texts, tokens): False where a text is only padded."""
    return mx.arange(tokens)[None] < lengths[:, None]
