"""An engine without a model."""

import contextlib
import itertools
import struct
import time
from collections import deque
from collections.abc import Callable
from zlib import crc32

import zmq
from msgspec import Struct

from config.errors import ProtocolError
from transport.codec import Codec
from transport.fake.thread import Socket, SocketThread
from transport.messages.control import EngineHello, LoadReport, ToControl
from transport.messages.data import (
    Batch,
    Cancel,
    Delta,
    Embed,
    Embedded,
    Ended,
    Failed,
    Finished,
    FinishReason,
    FromEngine,
    Generate,
    Pin,
    StepOutput,
    ToEngine,
)
from transport.messages.topology import ModelCard
from transport.sockets import dealer, peer_name, router

VOCABULARY = 256
EOS = 255
REPORT_S = 0.2

_to_engine: Codec[ToEngine] = Codec(ToEngine)
_from_engine: Codec[FromEngine] = Codec(FromEngine)
_to_control: Codec[ToControl] = Codec(ToControl)


def fake_token(seed: int, position: int) -> int:
    """The token at this position of a sequence, the prompt counted; never the end of it."""
    return crc32(b"%d %d" % (seed, position)) % EOS


def fake_tokens(seed: int, start: int, count: int) -> list[int]:
    """What an undisturbed engine generates after a prompt of `start` tokens."""
    return [fake_token(seed, position) for position in range(start, start + count)]


def fake_vector(tokens: list[int]) -> bytes:
    """The vector of a text: how many tokens it has, and what they add up to."""
    return struct.pack("<2f", len(tokens), sum(tokens))


def fake_card(name: str = "fake") -> ModelCard:
    """A model that only a fake engine has."""
    return ModelCard(
        name=name,
        folder="",
        context_tokens=1_000_000,
        eos_token_ids=[EOS],
        vocab_size=VOCABULARY,
        architecture="fake",
        batching="batch",
        weights_bytes=0,
        kv_bytes_per_token=0,
        created_time=0,
    )


class _Running(Struct):
    peer: bytes
    request: Generate | Embed
    deadline_at: float
    read_at: float  # when it has read the prompt
    produced: int = 0


def _embedded(embed: Embed) -> Embedded:
    tokens = iter(embed.tokens)
    texts = [list(itertools.islice(tokens, length)) for length in embed.lengths]
    vectors = b"".join(map(fake_vector, texts))
    return Embedded(embed.request_id, vectors, len(embed.tokens))


class FakeEngine(SocketThread):
    """Generates a token for every request each `step_s` seconds (0: as fast as it can).

    It works from its construction on. It reads a prompt for `prefill_s` seconds, and tells
    gateways with requests here at least every `beat_s` seconds that it is alive. `poison` names
    requests whose arrival kills it, `refuses` is the code with which it refuses all that comes.
    Its vectors, given when it has read their texts, are what `fake_vector` says.
    `received` holds the last batches, `peers` the gateways heard of.
    """

    def __init__(
        self,
        engine_id: str,
        incarnation: int,
        endpoint: str,
        *,
        control: str | None = None,
        card: ModelCard | None = None,
        step_s: float = 0.0,
        prefill_s: float = 0.0,
        beat_s: float = 1.0,
        refuses: str | None = None,
        poison: Callable[[Generate | Embed], bool] = lambda _: False,
    ) -> None:
        super().__init__(peer_name(engine_id, incarnation))
        self.engine_id = engine_id
        self.incarnation = incarnation
        self.endpoint = endpoint
        self.card = card or fake_card()
        self.received: deque[Batch] = deque(maxlen=1000)
        self.peers: set[bytes] = set()
        self._step_s = step_s
        self._step_at = 0.0
        self._prefill_s = prefill_s
        self._beat_s = beat_s
        self._beat_at = 0.0
        self.refuses = refuses
        self._report_at = 0.0
        self._poison = poison
        self._hung = False
        self._generated = 0
        self._running: dict[str, _Running] = {}
        self._router = router(self._context, endpoint)
        self._control: Socket | None = None
        if control is not None:
            self._join(control)
        self._start(self._router)

    def join(self, control_endpoint: str) -> None:
        """Say hello to a (new) control."""
        self.call(lambda: self._join(control_endpoint))

    def hang(self) -> None:
        """Do nothing more, with open sockets, until `resume`."""

        def stop() -> None:
            self._hung = True
            self._poller.unregister(self._router)

        self.call(stop)

    def resume(self) -> None:
        """End of `hang`."""

        def go() -> None:
            self._hung = False
            self._poller.register(self._router, zmq.POLLIN)

        self.call(go)

    def fail(self, code: str = "engine_failed", *, retryable: bool = True) -> None:
        """End everything that runs with `Failed`."""

        def end() -> None:
            text = "made to fail"
            failed: dict[str, Ended] = {
                request_id: Failed(request_id, code, text, retryable)
                for request_id in self._running
            }
            self._send_step({}, failed)

        self.call(end)

    def inject(self, frame: bytes) -> None:
        """Send these bytes to every gateway, whatever they are."""

        def send() -> None:
            for peer in list(self.peers):
                self._send(peer, frame)

        self.call(send)

    def _join(self, control_endpoint: str) -> None:
        if self._control is not None:
            self._control.close(linger=0)
        # An endpoint of this incarnation of control alone, so what waits for it meets no other.
        self._control = dealer(self._context, control_endpoint, self._thread.name, keep=True)
        hello = EngineHello(self.engine_id, self.incarnation, self.endpoint, self.card)
        self._control.send(_to_control.encode(hello))
        self._report_at = 0.0

    def _wait_ms(self) -> int:
        now = time.monotonic()
        due_at = self._report_at if self._control is not None else now + 1.0
        if self._running and not self._hung:
            due_at = min(due_at, self._step_at, self._beat_at)
        return max(0, min(1000, round((due_at - now) * 1000 + 0.5)))

    def _turn(self) -> None:
        if self._hung:
            self._report_at = time.monotonic() + 1.0
            return
        with contextlib.suppress(zmq.Again):
            while self._open:
                self._receive(self._router.recv_multipart(zmq.NOBLOCK))
        now = time.monotonic()
        if self._open and self._running and now >= self._step_at:
            self._step_at = now + self._step_s
            self._step(now)
        if self._open and now >= self._beat_at:
            self._beat(now)
        if now >= self._report_at:
            self._report(now)

    def _receive(self, frames: list[bytes]) -> None:
        self.peers.add(frames[0])
        try:
            batch = _to_engine.decode(frames[-1])
        except ProtocolError:
            return
        self.received.append(batch)
        ended: dict[str, Ended] = {}
        for item in batch.items:
            if isinstance(item, Pin):
                continue
            if isinstance(item, Cancel):
                if (run := self._running.get(item.request_id)) is not None:
                    ended[item.request_id] = self._finished(run, "cancelled")
            elif self._poison(item):
                return self._die()
            else:
                now = time.monotonic()
                times = (now + item.timeout_s, now + self._prefill_s)
                self._running[item.request_id] = _Running(frames[0], item, *times)
                if self.refuses is not None:
                    failed = Failed(item.request_id, self.refuses, "made to refuse", True, 5.0)
                    ended[item.request_id] = failed
                elif item.incarnation != self.incarnation:
                    text = "meant for another incarnation"
                    ended[item.request_id] = Failed(item.request_id, "engine_failed", text, True)
        self._send_step({}, ended)

    def _step(self, now: float) -> None:
        tokens: dict[str, list[int]] = {}
        ended: dict[str, Ended] = {}
        for request_id, run in self._running.items():
            request = run.request
            if now >= run.deadline_at:
                text = "the deadline passed"
                ended[request_id] = Failed(request_id, "request_timeout", text, False)
                continue
            if now < run.read_at:
                continue
            if isinstance(request, Embed):
                ended[request_id] = _embedded(request)
                continue
            token = fake_token(request.sampling.seed, len(request.tokens) + run.produced)
            run.produced += 1
            if token in request.stop_token_ids:
                ended[request_id] = self._finished(run, "stop")
                continue
            tokens[request_id] = [token]
            if run.produced >= request.max_tokens:
                ended[request_id] = self._finished(run, "length")
        self._generated += len(tokens)
        self._send_step(tokens, ended)

    def _beat(self, now: float) -> None:
        self._beat_at = now + self._beat_s
        for peer in {run.peer for run in self._running.values()}:
            self._send(peer, _from_engine.encode(StepOutput(self.engine_id, self.incarnation, [])))

    def _finished(self, run: _Running, reason: FinishReason) -> Finished:
        return Finished(run.request.request_id, reason, len(run.request.tokens), run.produced)

    def _send_step(self, tokens: dict[str, list[int]], ended: dict[str, Ended]) -> None:
        """One message to each gateway, and off with what ended."""
        by_peer: dict[bytes, tuple[list[Delta], list[Ended]]] = {}
        for request_id, new in tokens.items():
            peer = self._running[request_id].peer
            by_peer.setdefault(peer, ([], []))[0].append(Delta(request_id, new))
        for request_id, end in ended.items():
            by_peer.setdefault(self._running[request_id].peer, ([], []))[1].append(end)
            del self._running[request_id]
        for peer, (deltas, ends) in by_peer.items():
            output = StepOutput(self.engine_id, self.incarnation, deltas, ends)
            self._send(peer, _from_engine.encode(output))

    def _send(self, peer: bytes, frame: bytes) -> None:
        try:
            self._router.send_multipart([peer, frame], zmq.NOBLOCK)
        except zmq.ZMQError:  # that gateway is gone
            self.peers.discard(peer)
            self._running = {i: run for i, run in self._running.items() if run.peer != peer}

    def _report(self, now: float) -> None:
        self._report_at = now + REPORT_S
        if self._control is None:
            return
        held = sum(len(run.request.tokens) + run.produced for run in self._running.values())
        report = LoadReport(
            engine_id=self.engine_id,
            incarnation=self.incarnation,
            running=len(self._running),
            waiting=0,
            running_tokens=held,
            waiting_tokens=0,
            generated_tokens=self._generated,
            idle_s=0.0,
        )
        with contextlib.suppress(zmq.Again):
            self._control.send(_to_control.encode(report), zmq.NOBLOCK)
