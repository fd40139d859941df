"""What an embedding engine tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

from actors.engine.embedding.work import EmbeddingWork

_BATCH = Histogram(
    "mlx_serving_embedding_batch_seconds",
    "Time to compute one batch of texts.",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
_TOKENS = Counter("mlx_serving_embedding_tokens", "Tokens of texts that were embedded.", ["model"])
_PADDED = Counter(
    "mlx_serving_embedding_padded_tokens", "The same, with the padding of batches.", ["model"]
)
_WAITING = Gauge(
    "mlx_serving_embedding_waiting_tokens",
    "Tokens that are still to be embedded.",
    ["model"],
    multiprocess_mode="livesum",
)


class EmbeddingMetrics:
    """The metrics of one engine; the engine's own thread only."""

    def __init__(self, model: str) -> None:
        self._batch = _BATCH.labels(model)
        self._tokens = _TOKENS.labels(model)
        self._padded = _PADDED.labels(model)
        self._waiting = _WAITING.labels(model)
        self._counted = (0, 0)

    def batch(self, seconds: float) -> None:
        """After each batch."""
        self._batch.observe(seconds)

    def counts(self, work: EmbeddingWork) -> None:
        """Each second."""
        before, self._counted = self._counted, (work.embedded_tokens, work.padded_tokens)
        self._tokens.inc(self._counted[0] - before[0])
        self._padded.inc(self._counted[1] - before[1])
        self._waiting.set(work.waiting_tokens)
