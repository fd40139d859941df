"""A dispatcher with fake engines and a fake control around it, over real sockets."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial

from config.settings import CircuitBreakerSettings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.types import Completed, GenerationRequest, Observer
from transport.fake import FakeControl, FakeEngine, fake_tokens
from transport.messages.control import RouteBatch
from transport.messages.data import Sampling

PATIENT_S = 20.0


def request(count=20, seed=1, prompt=5, model="fake", timeout_s=PATIENT_S, **more):
    return GenerationRequest(
        model=model,
        tokens=[7] * prompt,
        max_tokens=count,
        sampling=Sampling(seed=seed),
        timeout_s=timeout_s,
        **more,
    )


class Collected:
    """A sink that remembers everything."""

    def __init__(self):
        self.tokens = []
        self.ends = []
        self._ended = asyncio.Event()

    def on_tokens(self, tokens):
        assert not self.ends, "tokens after the end"
        self.tokens += tokens

    def on_end(self, end):
        self.ends.append(end)
        self._ended.set()

    @property
    def end(self):
        assert len(self.ends) == 1
        return self.ends[0]

    async def ended(self):
        async with asyncio.timeout(PATIENT_S):
            await self._ended.wait()
        return self.end


async def until(condition: Callable[[], object]):
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - the conditions lie in other threads
            await asyncio.sleep(0.005)


class House:
    def __init__(self, *, patience: CircuitBreakerSettings | None = None, observer=None, **control):
        self.directory = tempfile.mkdtemp(prefix="d", dir="/tmp")
        self.control_options = control
        self.control: FakeControl | None = None
        self.engines: dict[str, FakeEngine] = {}
        self.incarnations = 0
        self._patience = patience
        self._observer: Observer | None = observer

    async def __aenter__(self):
        self.dispatcher = Dispatcher(
            "gateway:0", 1, patience=self._patience, observer=self._observer
        )
        self.dispatcher.start()
        return self

    async def __aexit__(self, *_):
        await self.dispatcher.close()
        parts = [*self.engines.values(), *([self.control] if self.control else [])]
        await asyncio.gather(*(asyncio.to_thread(part.die) for part in parts))
        shutil.rmtree(self.directory)

    def start_control(self):
        """The first control, or the next one after `kill_control`."""
        incarnation = self.control.incarnation + 1 if self.control else 1
        self.control = FakeControl(self.directory, incarnation, **self.control_options)
        for engine in self.engines.values():
            if engine.alive:
                engine.join(self.control.control_endpoint)
        self.announce_control()

    def announce_control(self):
        self.dispatcher.use_control(
            self.control.control_endpoint, self.control.topology_endpoint, self.control.incarnation
        )

    def start_engine(self, name="e0", **options):
        self.incarnations += 1
        engine = FakeEngine(
            name,
            self.incarnations,
            f"ipc://{self.directory}/{name}-{self.incarnations}.sock",
            control=self.control.control_endpoint if self.control else None,
            **options,
        )
        self.engines[name] = engine
        return engine

    def kill_engine(self, name="e0", *, announce=True):
        engine = self.engines[name]
        engine.die()
        if announce and self.control is not None and self.control.alive:
            self.control.engine_down(name, engine.incarnation)
        return engine

    def submit(self, asked=None, **fields):
        sink = Collected()
        sink.asked = asked or request(**fields)
        sink.id = self.dispatcher.submit(sink.asked, sink)
        return sink

    async def open(self, *names, **options):
        """Control and these engines, all known to the dispatcher."""
        self.start_control()
        for name in names:
            self.start_engine(name, **options)
        await self.ready(len(names))

    async def ready(self, engines):
        await until(lambda: len(self.dispatcher._fleet._engines) == engines)
        await until(lambda: self.dispatcher._control.connected)


def undisturbed(asked: GenerationRequest) -> list[int]:
    return fake_tokens(asked.sampling.seed, len(asked.tokens), asked.max_tokens)


def assert_whole(sink: Collected):
    """It ended once, complete, with the very tokens of an undisturbed run."""
    assert isinstance(sink.end, Completed), sink.end
    assert sink.end.reason == "length"
    assert sink.tokens == undisturbed(sink.asked)
    assert sink.end.completion_tokens == sink.asked.max_tokens


def in_house(test=None, **options):
    """Runs `async def test(house)`, in a fresh house."""
    if test is None:
        return partial(in_house, **options)

    async def live(body: Callable[[House], Awaitable[None]]):
        async with House(**options) as house:
            await body(house)

    def run():
        asyncio.run(live(test))

    run.__name__ = test.__name__
    return run


def releases(house):
    batches = [m for m in tuple(house.control.received) if isinstance(m, RouteBatch)]
    return [release for batch in batches for release in batch.releases]


def routes(house):
    batches = [m for m in tuple(house.control.received) if isinstance(m, RouteBatch)]
    return [batch.routes for batch in batches if batch.routes]


def outcomes(house):
    return [release.outcome for release in releases(house)]
