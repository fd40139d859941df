"""The actor that owns an embedding model: loads it, and computes batches while texts wait.

All mlx calls are made in this actor's thread. When a batch fails the process ends, as with models
that generate; the gateways send its requests to another engine.
"""

import gc
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx

from actors.engine.embedding.metrics import EmbeddingMetrics
from actors.engine.embedding.model import WORKING_BYTES, load_embedder
from actors.engine.embedding.work import EmbeddingWork
from actors.engine.inlet import Received, Unwanted
from actors.engine.io import Send
from actors.engine.life import EngineLife
from actors.engine.memory import device_limit_bytes
from actors.engine.place import EXPIRE_S, REPORT_S, TICK_S, Own, Place, is_resource_error
from actors.engine.request import Outputs, failed
from config.errors import InvalidRequest
from transport.messages.control import (
    LoadReport,
    MemoryReport,
    Warm,
    Warmed,
)
from transport.messages.data import Cancel, Embedded, Ended, Generate, Item, Pin, StepOutput

MAX_OUTPUT_BYTES = 16 * 1024 * 1024  # of vectors in one message, far below the limit of a frame
log = logging.getLogger(__name__)


class EmbeddingActor(EngineLife):
    """One model, one thread."""

    _requests: EmbeddingWork

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._warm: Warm | None = None
        self._warm_asked_at = 0.0

    def on_start(self) -> None:
        """Load the model, open the sockets, say that we are ready.

        Raises:
            ModelLoadFailed: ends the process with this reason.
        """
        args = self._place.args
        # Every shape of batch would leave buffers of its own behind.
        mx.set_cache_limit(WORKING_BYTES)
        embedder = load_embedder(
            Path(args.source), args.model, args.max_context_tokens, self._lifeline.loading
        )
        self._card = embedder.card
        self._requests = EmbeddingWork(embedder, args.max_waiting)
        self._metrics = EmbeddingMetrics(args.model)
        self._limit_bytes = device_limit_bytes(args.wired_limit_bytes)
        self._idle_from = time.monotonic()
        self._place.open(self._card, self.address)
        self.after(TICK_S, Own.TICK)

    def receive(self, message: object) -> None:
        """What the I/O thread, control and the actor's own timers send."""
        out = Outputs()
        match message:
            case Own.STEP:
                self._step(out)
            case Received(gateway, batch):
                self._take(gateway, batch.items, out)
            case Own.TICK:
                self._tick(out)
            case Warm():
                self._warm, self._warm_asked_at = message, time.monotonic()
            case Unwanted():
                self._let_go(message, out)
            case Own.DRAIN:
                self._drain()
            case Own.STOP:
                self._end_all(out)
        self._send(out)
        self._go_on()

    def _step(self, out: Outputs) -> None:
        self._stepping = False
        began = time.monotonic()
        try:
            computed = self._requests.step(time.monotonic, out)
        except RuntimeError as error:
            if not is_resource_error(error):
                raise
            self._give_up(error, out)
            return
        if computed:
            self._metrics.batch(time.monotonic() - began)
            self._lifeline.progress()
            self._recycle_when_due(self._requests.embedded_tokens, "embedded")

    def _take(self, gateway: bytes, items: list[Item], out: Outputs) -> None:
        now = time.monotonic()
        for item in items:
            if isinstance(item, Cancel):
                self._cancel(gateway, item.request_id, out)
            elif isinstance(item, Pin):
                continue  # nothing is stored here
            elif (refusal := self._refusal(item.incarnation)) is not None:
                out.end(gateway, failed(item.request_id, refusal))
            elif isinstance(item, Generate):
                no_words = InvalidRequest("this model only makes embeddings", param="model")
                out.end(gateway, failed(item.request_id, no_words))
            else:
                self._requests.accept(item, gateway, now, out)

    def _cancel(self, gateway: bytes, request_id: str, out: Outputs) -> None:
        self._requests.cancel(gateway, request_id, out)

    def _tick(self, out: Outputs) -> None:
        now = time.monotonic()
        if now - self._expired_at >= EXPIRE_S:
            self._expired_at = now
            self._requests.expire(now, out)
        self._warm_up()
        self._report(now, out)
        self.after(TICK_S, Own.TICK)

    def _warm_up(self) -> None:
        """Asked to warm up: do it as soon as there is nothing else to do."""
        warm = self._warm
        if warm is None or self._requests.busy:
            return
        for rows in warm.widths:
            self._requests.warm(rows, warm.prompt_tokens)
        self._warm = None
        life, took_s = self._lifeline, time.monotonic() - self._warm_asked_at
        self._tell_control(Warmed(life.child_id, life.incarnation, took_s))

    def _report(self, now: float, out: Outputs) -> None:
        report = self._load(now)
        due = now - self._reported_at >= REPORT_S
        if due or report != self._last_report:
            self._tell_control(report)
        if due:
            self._reported_at = now
            self._tell_control(self._memory())
            self._metrics.counts(self._requests)
            self._requests.sign_of_life(out)
            if not self._requests.busy:
                mx.clear_cache()  # what the last batches used is of no use to an idle engine
        self._last_report = report

    def _load(self, now: float) -> LoadReport:
        life, work = self._lifeline, self._requests
        return LoadReport(
            engine_id=life.child_id,
            incarnation=life.incarnation,
            running=work.running,
            waiting=work.waiting,
            running_tokens=0,
            waiting_tokens=work.waiting_tokens,
            generated_tokens=work.embedded_tokens,
            # Whole seconds: an idle engine has news once a second, not with every tick.
            idle_s=0.0 if work.busy else float(int(now - self._idle_from)),
        )

    def _memory(self) -> MemoryReport:
        """No caches: what a batch takes comes and goes, and is kept free as if it were weights."""
        life, active_bytes = self._lifeline, mx.get_active_memory()
        peak_bytes = mx.get_peak_memory()
        life.facts(
            active_bytes=active_bytes,
            peak_bytes=peak_bytes,
            running=self._requests.running,
            waiting=self._requests.waiting,
            embedded_tokens=self._requests.embedded_tokens,
        )
        return MemoryReport(
            engine_id=life.child_id,
            incarnation=life.incarnation,
            weights_bytes=self._card.weights_bytes + WORKING_BYTES,
            kv_bytes=0,
            reserved_kv_bytes=0,
            active_bytes=active_bytes,
            peak_bytes=peak_bytes,
            device_limit_bytes=self._limit_bytes,
        )

    def _drain(self) -> None:
        self._warm = None
        super()._drain()

    def on_stop(self) -> None:
        """Let go of the model, so that its memory is free before the process ends."""
        del self._requests
        gc.collect()
        mx.clear_cache()

    def _send(self, out: Outputs) -> None:
        life = self._lifeline
        for gateway, (_, ended) in out.by_gateway.items():
            for part in pieces(ended):
                output = StepOutput(life.child_id, life.incarnation, [], part)
                self._place.outbox.put(Send(gateway, output))

    def _go_on(self) -> None:
        busy = self._requests.busy
        self._lifeline.busy(busy)
        if busy:
            self._idle_from = time.monotonic()
            if not self._stepping:
                self._stepping = True
                self.after(0, Own.STEP)
        elif self._draining and not self._drained:
            self._drained = True
            self._lifeline.drained()


def pieces(ended: list[Ended]) -> Iterator[list[Ended]]:
    """What ended, cut so that each piece fits a message; one piece at least."""
    piece: list[Ended] = []
    size = 0
    for end in ended:
        more = len(end.vectors) if isinstance(end, Embedded) else 0
        if piece and size + more > MAX_OUTPUT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(end)
        size += more
    yield piece
