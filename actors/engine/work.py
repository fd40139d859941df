"""The engine's requests on their way through queue, prompt and batch; no sockets.

Every request that `accept` took ends in exactly one `Finished` or `Failed` in some `Outputs`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Literal

import msgspec

from actors.engine.admission import Need, Reserved, Room, admit, ever_fits, reserved_bytes
from actors.engine.check import check
from actors.engine.generator import StepGenerator
from actors.engine.grammar.grammars import Grammars
from actors.engine.grammar.matcher import Matcher
from actors.engine.pins import Pins
from actors.engine.queue import Ends, foremost, place_at
from actors.engine.reading_plan import PATIENCE
from actors.engine.request import Key, Outputs, Request, failed
from actors.engine.rows import Row, RowStep
from config.errors import InvalidRequest, QueueFull, RequestTimeout, ServingError
from transport.messages.data import FinishReason, Generate, Sampling
from transport.messages.topology import ModelCard

# An idle engine's budget grows when the governor hears what waits; that takes a report or two.
MEMORY_PATIENCE_S = 5.0
LOOK_AT = 64  # of the waiting, when there is room
LONG_TOKENS = 8192  # from here on, quantised sequences get the fewest bits
_NO_MEMORY = "there is no memory for this request just now"
Bits = Literal["auto", 16, 8, 4]


class Work:
    """All requests of one engine; one thread, the one that owns the model."""

    def __init__(
        self,
        generator: StepGenerator,
        card: ModelCard,
        room: Room,
        max_waiting: int,
        grammars: Grammars,
        *,
        bits: Bits = 16,
        on_compiled: Callable[[], object] = lambda: None,
    ) -> None:
        """`room` is all that the node has for this model; `on_compiled` is called in another
        thread when a grammar that was waited for is there."""
        self.generated_tokens = 0
        self.admitted = 0  # sequences, since the start
        self.pins = Pins(generator.store, card)
        self.scarce_bits: int | None = None  # memory is short: new sequences get no more
        self._room = room
        self._capacity = room  # the first is all there is; the governor only shares it out
        self._generator = generator
        self._card = card
        self._max_waiting = max_waiting
        self._grammars = grammars
        self._bits = bits
        self._on_compiled = on_compiled
        self._eos = frozenset(card.eos_token_ids)
        self._waiting: list[Request] = []
        self._running: dict[Key, Request] = {}
        self._known: dict[Key, Request] = {}
        self._internal: set[Row] = set()
        self._ends = Ends()
        self._closed_at: float | None = None  # since when nothing new is taken, as `expire` saw
        self._stuck = False  # nobody could be admitted, and nothing has changed since

    @property
    def room(self) -> Room:
        """What may be used now."""
        return self._room

    @room.setter
    def room(self, room: Room) -> None:
        self._room, self._stuck = room, False

    def accept(self, generate: Generate, gateway: bytes, now: float, out: Outputs) -> None:
        """Queue a request, or end it with the reason why not; a known id is dropped."""
        if (gateway, generate.request_id) in self._known:
            return
        try:
            self._check(generate, now)
        except ServingError as error:
            out.end(gateway, failed(generate.request_id, error))
            return
        row = self._row(generate, now)
        request = Request(generate, gateway, row, now, now + generate.timeout_s)
        row.owner = request
        if generate.grammar is not None:
            request.matcher = self._compile(generate)
        self._known[request.key] = request
        self._waiting.append(request)
        self._stuck = False

    def _row(self, generate: Generate, now: float) -> Row:
        stops = frozenset(generate.stop_token_ids)
        return Row(
            tokens=generate.tokens,
            max_tokens=generate.max_tokens,
            sampling=generate.sampling,
            stop_ids=stops if generate.ignore_eos else stops | self._eos,
            resumed=generate.resumed_tokens,
            logprobs=generate.logprobs,
            salt=generate.salt,
            arrived_at=place_at(now, generate.priority),
        )

    def _compile(self, generate: Generate) -> Future[Matcher]:
        assert generate.grammar is not None
        answer = generate.tokens[len(generate.tokens) - generate.resumed_tokens :]
        future = self._grammars.compile(generate.grammar, answer)
        future.add_done_callback(lambda _: self._on_compiled())
        return future

    def _check(self, generate: Generate, now: float) -> None:
        check(generate, self._card)
        tokens = len(generate.tokens) + generate.max_tokens
        if not ever_fits(Need(tokens, self._bits_for(tokens)), self._unpinned(self._capacity)):
            raise InvalidRequest(
                f"a sequence of {tokens} tokens needs more memory than this node has for the "
                "model; lower max_tokens or shorten the prompt",
                param="max_tokens",
            )
        if generate.resumed_tokens:
            return
        if len(self._waiting) >= self._max_waiting:
            raise QueueFull(f"{len(self._waiting)} requests wait already", retry_after_s=1.0)
        wait_s = self._ends.wait_s(len(self._waiting), now)
        if wait_s > generate.timeout_s:
            late_s = wait_s - generate.timeout_s
            raise QueueFull(
                f"the queue takes about {wait_s:.0f} s, the request may take "
                f"{generate.timeout_s:.0f} s",
                retry_after_s=late_s,
            )

    def warm(
        self, width: int, prompt_tokens: int, max_tokens: int, matcher: Matcher | None = None
    ) -> None:
        """Run made-up rows through the batch, for the sake of compiled kernels; `matcher` holds
        the first of them to a grammar."""
        for i in range(min(width, self._room.max_rows or width)):
            tokens = [(1 + i) % self._card.vocab_size] * prompt_tokens
            row = Row(tokens, max_tokens, Sampling(temperature=0.0), stored=False)
            row.matcher = matcher if i == 0 else None
            row.arrived_at = time.monotonic()
            self._internal.add(row)
            self._generator.add(row)

    def cancel(self, gateway: bytes, request_id: str, now: float, out: Outputs) -> None:
        """End a request now, at whatever stage; unknown ids ended already."""
        request = self._known.get((gateway, request_id))
        if request is not None:
            self._take_out([request])
            self._finish(request, "cancelled", now, out)

    def lose_gateway(self, gateway: bytes) -> None:
        """Nobody is left to read what this gateway asked for."""
        lost = [r for r in self._known.values() if r.gateway == gateway]
        self._take_out(lost)
        for request in lost:
            del self._known[request.key]

    def expire(self, now: float, out: Outputs) -> None:
        """End what is past its deadline, and what no memory can be found for."""
        self._stuck = False  # a notice may have been lost, or somebody waited long enough
        late = [r for r in self._known.values() if r.deadline_at <= now]
        self._fail(late, _too_late, out)
        full = QueueFull(_NO_MEMORY, retry_after_s=5.0)
        self._fail(self._without_memory(now), lambda _: full, out)

    def _without_memory(self, now: float) -> list[Request]:
        """Who waited long enough for memory: all new requests while the node takes nothing more,
        else the first, if it would not even fit alone."""
        late = [r for r in self._waiting if now - r.arrived_at >= MEMORY_PATIENCE_S]
        if self._room.open:
            self._closed_at = None
        elif self._closed_at is None:
            self._closed_at = now
        if self._closed_at is not None:
            patient = now - self._closed_at < MEMORY_PATIENCE_S
            return [] if patient else [r for r in late if not r.resumed]
        first = late[:1] if not self._running else []
        room = self._unpinned(self._room)
        return [r for r in first if not ever_fits(self._need(r, now), room)]

    def fail_all(self, error: ServingError, out: Outputs) -> None:
        """End everything with this error, made-up rows too. Frees caches and computes nothing."""
        made_up, self._internal = self._internal, set()
        self.pins.stop()
        self._fail(list(self._known.values()), lambda _: error, out, made_up)

    def step(self, now: float, out: Outputs) -> None:
        """Admit what fits, then compute one token for each row and a chunk of the prompts."""
        self._admit(now, out)
        steps = self._generator.step()
        after = time.monotonic()
        for step in steps:
            self._give(step, after, out)

    def _admit(self, now: float, out: Outputs) -> None:
        for request in self._next(now):
            self._waiting.remove(request)
            self._enter(request, now, out)
        if self._may_pin(now) and (row := self.pins.begin(now)):
            self.admitted += 1
            self._internal.add(row)
            self._generator.add(row)

    def _may_pin(self, now: float) -> bool:
        """Whether the next prefix to be pinned fits in now; those who wait go first."""
        tokens = self.pins.next_tokens
        if not tokens or self._waiting:
            return False
        return bool(admit([Need(tokens + 1)], self._held(now), self._unpinned(self._room)))

    def _held(self, now: float) -> Iterator[Need]:
        yield from (self._need(request, now) for request in self._running.values())
        yield from (Need(row.final_tokens) for row in self._internal)

    def _unpinned(self, room: Room) -> Room:
        """What the pinned prefixes leave."""
        return msgspec.structs.replace(room, budget_bytes=room.budget_bytes - self.pins.bytes)

    def _next(self, now: float) -> list[Request]:
        """Those of the waiting that fit in now."""
        if self._stuck or not self._waiting:
            return []
        patience = PATIENCE * self._generator.reader.pace.cost.token_s
        queue = foremost([r for r in self._waiting if r.ready], LOOK_AT, patience)
        needs = [self._need(r, now) for r in queue]
        entering = admit(needs, self._held(now), self._unpinned(self._room))
        self._stuck = not entering
        return [queue[place] for place in entering]

    def _enter(self, request: Request, now: float, out: Outputs) -> None:
        request.admitted_at = now
        try:
            matcher = None if request.matcher is None else request.matcher.result()
        except ServingError as error:
            del self._known[request.key]
            out.end(request.gateway, failed(request.generate.request_id, error))
            return
        if matcher is not None and matcher.stopped:  # only the end was lost with another engine
            self._finish(request, "stop", now, out)
            return
        request.row.matcher = matcher
        request.row.bits = self._bits_for(request.row.final_tokens)
        self.admitted += 1
        self._running[request.key] = request
        self._generator.add(request.row)

    def _need(self, request: Request, now: float) -> Need:
        row = request.row
        bits = row.bits if request.key in self._running else self._bits_for(row.final_tokens)
        return Need(row.final_tokens, bits, now - request.arrived_at)

    def _bits_for(self, tokens: int) -> int:
        """Decided when a sequence is admitted, and kept to its end. Left to us it is the most that
        is allowed just now and that the empty node could hold of so many tokens."""
        each = self._capacity.bytes_per_token
        if self._bits != "auto":
            return min(bits for bits in each if bits >= self._bits)
        possible = [bits for bits in (16, 8, 4) if bits in each]
        most = self.scarce_bits or 16
        if self.scarce_bits is not None and tokens > LONG_TOKENS:
            most = 4
        allowed = [bits for bits in possible if bits <= most] or possible[-1:]
        room = self._unpinned(self._capacity)
        return next((b for b in allowed if ever_fits(Need(tokens, b), room)), possible[0])

    def _give(self, step: RowStep, now: float, out: Outputs) -> None:
        self.generated_tokens += 1
        request = step.row.owner
        if not isinstance(request, Request):
            if step.finished:
                self._internal.discard(step.row)
                self.pins.ended(step.row)
                self._stuck = False
            return
        if request.first_token_at is None:
            request.first_token_at = now
        if step.finished != "stop" or step.token not in step.row.stop_ids:
            out.delta(request, step.token, step.logprobs)
        if step.finished is None:
            return
        del self._running[request.key]
        self._ends.add(now)
        self._stuck = False
        if step.finished == "broken":
            text = f"the grammar failed: {step.row.matcher_error}"
            error = InvalidRequest(text, param="grammar")
            del self._known[request.key]
            out.end(request.gateway, failed(request.generate.request_id, error))
        else:
            self._finish(request, step.finished, now, out)

    def _take_out(self, requests: list[Request], others: Iterable[Row] = ()) -> None:
        """All at once: whoever stays is moved together only once."""
        rows = list(others)
        for request in requests:
            if self._running.pop(request.key, None) is not None:
                rows.append(request.row)
            else:
                self._waiting.remove(request)
        self._generator.drop(rows)
        self._stuck = False

    def _fail(
        self,
        requests: list[Request],
        why: Callable[[Request], ServingError],
        out: Outputs,
        others: Iterable[Row] = (),
    ) -> None:
        self._take_out(requests, others)
        for request in requests:
            del self._known[request.key]
            out.end(request.gateway, failed(request.generate.request_id, why(request)))

    def _finish(self, request: Request, reason: FinishReason, now: float, out: Outputs) -> None:
        del self._known[request.key]
        out.end(request.gateway, request.finished(reason, now))

    def compiled(self) -> None:
        """A grammar is there: somebody may enter."""
        self._stuck = False

    def sign_of_life(self, out: Outputs) -> None:
        """Say something to every gateway that waits for us, be it nothing: a long prompt or a long
        queue must not look like a hang."""
        for gateway, _ in self._known:
            out.of(gateway)

    @property
    def busy(self) -> bool:
        """Whether there is anything left to do, now or when memory is free."""
        return bool(self._known or self._internal)

    @property
    def can_step(self) -> bool:
        """Whether a step has something to do."""
        if self._running or self._internal:
            return True
        now = time.monotonic()
        return bool(self._next(now)) or self._may_pin(now)

    @property
    def waiting(self) -> int:
        """Requests that are not in the batch yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    def waiting_tokens(self) -> int:
        """Prompt tokens of the requests that wait."""
        return sum(r.prompt_tokens for r in self._waiting)

    def running_tokens(self) -> int:
        """Tokens that the batch holds in its caches."""
        return sum(r.prompt_tokens + len(r.row.answer) for r in self._running.values())

    def waiting_bytes(self) -> int:
        """What the waiting requests would take."""
        now = time.monotonic()
        return sum(reserved_bytes([self._need(r, now)], self._room) for r in self._waiting)

    def reserved_bytes(self) -> int:
        """What the batch takes at its fullest."""
        return Reserved(self._held(time.monotonic()), self._room).bytes

    @property
    def kv_bytes(self) -> int:
        """What the batch takes now."""
        return self._generator.kv_bytes


def _too_late(request: Request) -> ServingError:
    return RequestTimeout(f"not finished within {request.generate.timeout_s:.1f} s")
