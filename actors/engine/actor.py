"""The actor that owns a model: loads it, and steps itself while there is work.

All mlx calls are made in this actor's thread. When a step fails, the state of the batch is
unknown, so the process ends and its successor starts clean; the gateways carry the streams over.
"""

import contextlib
import gc
import logging
import time
from pathlib import Path

import mlx.core as mx
import msgspec

from actors.engine.args import STORE_CLOSE_S
from actors.engine.generator import StepGenerator
from actors.engine.grammar.grammars import Grammars
from actors.engine.inlet import Received, Unwanted
from actors.engine.io import NewControl, Send
from actors.engine.life import EngineLife
from actors.engine.memory import EngineMemory, device_limit_bytes, room_for
from actors.engine.metrics import EngineMetrics
from actors.engine.model import LoadedModel, load
from actors.engine.place import EXPIRE_S, REPORT_S, TICK_S, Own, Place, is_resource_error
from actors.engine.reading_plan import Pace
from actors.engine.reports import Reports
from actors.engine.request import Outputs, failed
from actors.engine.store.disk import DiskTier
from actors.engine.store.spill import model_identity
from actors.engine.store.store import PrefixStore, stored_bits
from actors.engine.warm_up import WarmUp
from actors.engine.work import Work
from config.errors import ActorDied, InvalidRequest
from config.settings import Bits, KVCacheSettings
from transport.messages.control import (
    Budget,
    Warm,
    Warmed,
)
from transport.messages.data import Cancel, Embed, Item, Pin, StepOutput
from transport.prefix import BLOCK_TOKENS

log = logging.getLogger(__name__)

FIRST_SHARE = 4
CHUNK_TOKENS = 2048
CPU_CHUNK_TOKENS = 512  # larger ones leave its caches: 1,500 tokens took 1.4 times as long at 2048


class EngineActor(EngineLife):
    """One model, one thread."""

    _requests: Work

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._window_s = place.args.batch_window_ms / 1000
        self._warm_up: WarmUp | None = None

    def on_start(self) -> None:
        """Load the model, open the sockets, say that we are ready.

        Raises:
            ModelLoadFailed: ends the process with this reason.
        """
        args = self._place.args
        folder = Path(args.source)
        loaded = load(folder, args.model, args.max_context_tokens, self._lifeline.loading)
        self._build(loaded)
        self._idle_from = time.monotonic()
        self._place.open(self._card, self.address)
        self.after(TICK_S, Own.TICK)

    def _build(self, loaded: LoadedModel) -> None:
        """What works with the model."""
        args, card, cache = self._place.args, loaded.card, self._place.args.kv_cache
        limit_bytes = device_limit_bytes(args.wired_limit_bytes)
        room = room_for(
            loaded,
            int(
                (limit_bytes * args.budget_fraction - card.weights_bytes) * cache.promised_fraction
            ),
            args.max_concurrent,
        )
        self._store = _make_store(loaded, cache) if cache.stored_fraction else None
        block_tokens = BLOCK_TOKENS if self._store is not None else 0
        self._card = msgspec.structs.replace(card, block_tokens=block_tokens)
        self._grammars = Grammars(Path(card.folder), card.vocab_size, card.eos_token_ids)
        on_cpu = mx.default_device().type == mx.DeviceType.cpu
        chunk_tokens = args.prefill_chunk_tokens or (CPU_CHUNK_TOKENS if on_cpu else CHUNK_TOKENS)
        pace = Pace(chunk_tokens, args.max_decode_stall_ms / 1000)
        self._requests = Work(
            StepGenerator(loaded, pace, self._store, self._grammars.words),
            card,
            room,
            args.max_waiting,
            self._grammars,
            bits=cache.bits,
            on_compiled=self._say_compiled,
        )
        # Others on this node may be starting too; the governor's first word comes in a moment.
        first_bytes = room.budget_bytes // FIRST_SHARE
        self._requests.room = msgspec.structs.replace(room, budget_bytes=first_bytes)
        self._memory = EngineMemory(self._requests, self._store, cache.stored_fraction)
        self._metrics = EngineMetrics(args.model)
        self._reports = Reports(
            self._lifeline,
            self._requests,
            self._store,
            self._memory,
            self._metrics,
            weights_bytes=card.weights_bytes,
            device_limit_bytes=limit_bytes,
        )

    def _say_compiled(self) -> None:
        """In a thread that compiles, or in this one."""
        with contextlib.suppress(ActorDied):  # nobody waits for it any more
            self.address.insist(Own.COMPILED)

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
            case Budget():
                self._memory.apply(message)
            case Warm():
                self._warm_up = WarmUp(message, self._grammars, time.monotonic())
            case Own.COMPILED:
                self._requests.compiled()
            case NewControl():
                self._reports.say_all()
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
        if not self._requests.can_step:
            return
        began = time.monotonic()
        try:
            self._requests.step(began, out)
        except RuntimeError as error:
            if not is_resource_error(error):
                raise
            self._give_up(error, out)
            return
        self._memory.make_room()
        self._metrics.step(time.monotonic() - began, self._requests.running)
        self._lifeline.progress()
        self._recycle_when_due(self._requests.generated_tokens, "generated")

    def _take(self, gateway: bytes, items: list[Item], out: Outputs) -> None:
        now = time.monotonic()
        for item in items:
            if isinstance(item, Cancel):
                self._cancel(gateway, item.request_id, out)
            elif isinstance(item, Pin):
                self._requests.pins.want(item.tokens, item.salt)
            elif (refusal := self._refusal(item.incarnation)) is not None:
                out.end(gateway, failed(item.request_id, refusal))
            elif isinstance(item, Embed):
                no_vectors = InvalidRequest("this model makes no embeddings", param="model")
                out.end(gateway, failed(item.request_id, no_vectors))
            else:
                self._requests.accept(item, gateway, now, out)

    def _cancel(self, gateway: bytes, request_id: str, out: Outputs) -> None:
        self._requests.cancel(gateway, request_id, time.monotonic(), out)

    def _tick(self, out: Outputs) -> None:
        now = time.monotonic()
        if now - self._expired_at >= EXPIRE_S:
            self._expired_at = now
            self._requests.expire(now, out)
        self._go_on_warming(now)
        self._report(now, out)
        self.after(TICK_S, Own.TICK)

    def _go_on_warming(self, now: float) -> None:
        """Asked to warm up: do it as soon as there is nothing else to do."""
        warm_up = self._warm_up
        if self._requests.busy or warm_up is None or warm_up.go_on(self._requests):
            return
        life, took_s = self._lifeline, now - warm_up.asked_at
        self._tell_control(Warmed(life.child_id, life.incarnation, took_s))
        self._warm_up = None

    def _report(self, now: float, out: Outputs) -> None:
        report = self._reports.load(now - self._idle_from)
        due = now - self._reported_at >= REPORT_S
        if due or report != self._last_report:
            self._tell_control(report)
        if due:
            self._reported_at = now
            self._tell_control(self._reports.memory())
            self._requests.sign_of_life(out)
            if not self._requests.busy:
                mx.clear_cache()  # what the last rows used is of no use to an idle engine
        for blocks in self._reports.blocks():
            self._tell_control(blocks)
        self._last_report = report

    def _drain(self) -> None:
        self._warm_up = None
        self._requests.pins.stop()
        super()._drain()

    def on_stop(self) -> None:
        """Let go of the model, so that its memory is free before the process ends."""
        self._grammars.close()
        if self._store is not None:
            self._store.close(STORE_CLOSE_S)
        del self._requests, self._memory, self._reports, self._store
        gc.collect()
        mx.clear_cache()

    def _send(self, out: Outputs) -> None:
        life = self._lifeline
        for gateway, (deltas, ended) in out.by_gateway.items():
            output = StepOutput(life.child_id, life.incarnation, deltas, ended)
            self._place.outbox.put(Send(gateway, output))

    def _go_on(self) -> None:
        # What only waits for memory is woken by the next message; no step could do anything.
        can_step = self._requests.can_step
        self._lifeline.busy(can_step)
        if can_step and not self._stepping:
            self._stepping = True
            # Company is waited for only when nothing runs.
            idle = not self._requests.running and self._requests.waiting
            self.after(self._window_s if idle else 0, Own.STEP)
        if self._requests.busy:
            self._idle_from = time.monotonic()
        elif self._draining and not self._drained:
            self._drained = True
            self._lifeline.drained()


def _make_store(loaded: LoadedModel, settings: KVCacheSettings) -> PrefixStore:
    disk, folder = settings.disk, Path(loaded.card.folder)
    tier = None
    if disk is not None:
        place = Path(disk.directory).expanduser()
        tier = DiskTier(place, disk.max_bytes, model_identity(folder))
    bits: Bits = settings.stored_bits
    if bits == "auto" and mx.default_device().type == mx.DeviceType.cpu:
        bits = 16  # a CPU takes ten times as long to fetch quantised blocks
    return PrefixStore(loaded.model, bits=stored_bits(str(bits)), disk=tier)
