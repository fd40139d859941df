"""What the gateways tell Prometheus.

With PROMETHEUS_MULTIPROC_DIR set before the first import, values live in files there and any
process answers for all; without it, each for itself.

The gaps between tokens are observed once a request, as its mean (the pace that the client saw) and
its largest (the worst hiccup): an observation costs about as much as the dispatcher spends on a
token, and these two answer the questions that a histogram over all tokens is asked.
"""

import os
from bisect import bisect_left
from collections import defaultdict

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from config.errors import ModelNotFound
from gateway.dispatch.types import Generation

_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_FAST = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_INSTANT = (
    0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01,
    0.025, 0.1, 0.25, 1.0,
)  # fmt: skip

_REQUESTS = Counter(
    "mlx_serving_requests",
    'Sequences asked for, by how they ended: "stop", "length", "cancelled" or an error\'s code.',
    ["model", "endpoint", "code"],
)
_DURATION = Histogram(
    "mlx_serving_request_duration_seconds",
    "From the arrival of a sequence to its end.",
    ["model"],
    buckets=_SLOW,
)
_ROUTE = Histogram(
    "mlx_serving_route_seconds",
    "From asking control for an engine to its lease, waiting for one that is free left out.",
    ["model"],
    buckets=_INSTANT,
)
_FIRST_TOKEN = Histogram(
    "mlx_serving_time_to_first_token_seconds",
    "From the arrival of a sequence to its first token.",
    ["model"],
    buckets=_FAST,
)
_MEAN_GAP = Histogram(
    "mlx_serving_inter_token_seconds",
    "Mean time between the tokens of a sequence.",
    ["model"],
    buckets=_FAST,
)
_MAX_GAP = Histogram(
    "mlx_serving_inter_token_max_seconds",
    "Longest time between two tokens of a sequence from one engine.",
    ["model"],
    buckets=_FAST,
)
_PROMPT_TOKENS = Counter("mlx_serving_prompt_tokens", "Tokens of prompts.", ["model"])
_COMPLETION_TOKENS = Counter("mlx_serving_completion_tokens", "Tokens of answers.", ["model"])
_ACTIVE = Gauge(
    "mlx_serving_active_streams", "Sequences that have not ended.", multiprocess_mode="livesum"
)
_RECOVERIES = Counter(
    "mlx_serving_recoveries", "Sequences that lost their engine and went on.", ["model"]
)
_PAUSE = Histogram(
    "mlx_serving_recovery_pause_seconds",
    "From the last token of the lost engine to the first of the next.",
    ["model"],
    buckets=_FAST,
)


class GatewayMetrics:
    """The dispatcher's observer; event loop only.

    A value in a file costs microseconds, and a sequence changes ten of them. So they are added up
    here and handed over by `flush`.
    """

    def __init__(self) -> None:
        self._active = 0
        self._models: dict[str, _Model] = {}
        self._requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)

    def started(self) -> None:
        """A sequence was taken."""
        self._active += 1

    def recovered(self, model: str, pause_s: float) -> None:
        """A sequence that lost its engine has its next token."""
        counts = self._of(model)
        counts.recoveries += 1
        counts.pause.add(pause_s)

    def ended(self, generation: Generation) -> None:
        """A sequence is over."""
        self._active -= 1
        # Names that clients make up must not become series.
        model = "" if generation.code == ModelNotFound.code else generation.model
        self._requests[model, generation.endpoint, generation.code] += 1
        counts = self._of(model)
        counts.duration.add(generation.duration_s)
        if generation.route_s is not None:
            counts.route.add(generation.route_s)
        if generation.first_token_s is None:
            return
        counts.prompt_tokens += generation.prompt_tokens
        counts.completion_tokens += generation.completion_tokens
        counts.first_token.add(generation.first_token_s)
        if generation.mean_gap_s is not None and generation.max_gap_s is not None:
            counts.mean_gap.add(generation.mean_gap_s)
            counts.max_gap.add(generation.max_gap_s)

    def _of(self, model: str) -> "_Model":
        counts = self._models.get(model)
        if counts is None:
            counts = self._models[model] = _Model(model)
        return counts

    def flush(self) -> None:
        """Hand over what has been counted since the last time."""
        _ACTIVE.set(self._active)
        requests, self._requests = self._requests, defaultdict(int)
        for labels, count in requests.items():
            _REQUESTS.labels(*labels).inc(count)
        for model in self._models.values():
            model.flush()


class _Model:
    """What is counted of one model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.prompt_tokens = self.completion_tokens = self.recoveries = 0
        self.duration = _Tally(_DURATION, _SLOW, name)
        self.route = _Tally(_ROUTE, _INSTANT, name)
        self.first_token = _Tally(_FIRST_TOKEN, _FAST, name)
        self.mean_gap = _Tally(_MEAN_GAP, _FAST, name)
        self.max_gap = _Tally(_MAX_GAP, _FAST, name)
        self.pause = _Tally(_PAUSE, _FAST, name)

    def flush(self) -> None:
        for counter, count in (
            (_PROMPT_TOKENS, self.prompt_tokens),
            (_COMPLETION_TOKENS, self.completion_tokens),
            (_RECOVERIES, self.recoveries),
        ):
            if count:
                counter.labels(self._name).inc(count)
        self.prompt_tokens = self.completion_tokens = self.recoveries = 0
        for tally in (
            self.duration,
            self.route,
            self.first_token,
            self.mean_gap,
            self.max_gap,
            self.pause,
        ):
            tally.flush()


class _Tally:
    """Observations of one series of a histogram."""

    def __init__(self, histogram: Histogram, bounds: tuple[float, ...], model: str) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._model = model
        self._reset()

    def _reset(self) -> None:
        self._sum = 0.0
        self._counts = [0] * (len(self._bounds) + 1)
        self._empty = True

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._empty = False

    def flush(self) -> None:
        """prometheus_client has no public way to add many observations; the tests hold its inner
        ones to what they are."""
        if self._empty:
            return
        series = self._histogram.labels(self._model)
        series._sum.inc(self._sum)
        for bucket, count in zip(series._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)
        self._reset()


def render() -> bytes:
    """All metrics in Prometheus' text format; reads files, so not on an event loop."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    registry = REGISTRY
    if folder:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)
    return bytes(generate_latest(registry))
