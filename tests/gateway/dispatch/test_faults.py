"""Whatever happens, every request ends once, with the tokens of an undisturbed run."""

import asyncio
import random

import pytest

from config.errors import EngineUnavailable, RequestTimeout
from gateway.dispatch import recovery
from gateway.dispatch.types import Completed
from tests.gateway.dispatch.house import House, assert_whole, in_house, undisturbed, until

STEP_S = 0.004
ROUNDS = 25
ENGINES = ("e0", "e1", "e2")


class Trouble:
    """Breaks and mends things, one a round; never all engines for good."""

    def __init__(self, house: House, seed: int):
        self.house = house
        self.random = random.Random(seed)
        self.sinks = []
        self.hung = set()

    async def round(self):
        acts = [self.kill, self.restart, self.hang, self.fail, self.junk, self.control, self.cancel]
        for _ in range(self.random.randrange(4)):
            self.submit()
        await self.random.choice(acts)()
        await asyncio.sleep(self.random.choice([0.0, 0.01, 0.05, 0.1]))

    def submit(self):
        kind = self.random.choice(["plain", "plain", "plain", "short"])
        sink = self.house.submit(
            count=self.random.randrange(1, 80),
            seed=self.random.randrange(1000),
            prompt=self.random.randrange(1, 50),
            timeout_s=self.random.uniform(0.05, 0.3) if kind == "short" else 60.0,
        )
        sink.kind = kind
        self.sinks.append(sink)

    async def kill(self, name=None):
        name = name or self.random.choice(ENGINES)
        if self.house.engines[name].alive:
            self.hung.discard(name)
            announce = self.random.random() < 0.5
            await asyncio.to_thread(self.house.kill_engine, name, announce=announce)

    async def restart(self):
        for name in ENGINES:
            if not self.house.engines[name].alive:
                self.house.start_engine(name, step_s=STEP_S)

    async def hang(self):
        name = self.random.choice(ENGINES)
        if self.house.engines[name].alive and name not in self.hung:
            self.hung.add(name)
            self.house.engines[name].hang()

    async def fail(self):
        engine = self.house.engines[self.random.choice(ENGINES)]
        if engine.alive:
            engine.fail(self.random.choice(["draining", "queue_full"]))

    async def junk(self):
        engine = self.house.engines[self.random.choice(ENGINES)]
        if engine.alive:
            engine.inject(self.random.randbytes(self.random.randrange(60)))

    async def control(self):
        self.house.control.die()
        await asyncio.sleep(self.random.choice([0.0, 0.05]))
        self.house.start_control()

    async def cancel(self):
        running = [sink for sink in self.sinks if not sink.ends]
        if running:
            sink = self.random.choice(running)
            sink.kind = "cancelled"
            self.house.dispatcher.cancel(sink.id)

    async def peace(self):
        """What the supervisor does: kill what hangs, restart what is dead."""
        for name in list(self.hung):
            await self.kill(name)
        await self.restart()


def assert_well_ended(sink):
    assert len(sink.ends) == 1
    assert sink.tokens == undisturbed(sink.asked)[: len(sink.tokens)]
    if sink.kind == "cancelled":
        assert sink.end.reason == "cancelled"
    elif sink.kind == "plain" or isinstance(sink.end, Completed):
        assert_whole(sink)
    else:
        assert isinstance(sink.end, RequestTimeout | EngineUnavailable)


@pytest.mark.parametrize("seed", range(4))
def test_random_faults(seed, monkeypatch):
    # Engines die here far too often to tell a poisonous request by it.
    monkeypatch.setattr(recovery, "MAX_LOSSES", 1000)

    @in_house(models=("fake",))
    async def test(house):
        await house.open(*ENGINES, step_s=STEP_S)
        trouble = Trouble(house, seed)
        for _ in range(ROUNDS):
            await trouble.round()
        await trouble.peace()
        await until(lambda: all(sink.ends for sink in trouble.sinks))
        for sink in trouble.sinks:
            assert_well_ended(sink)
        assert house.dispatcher.active == 0
        assert not house.dispatcher._alarms._wheel
        assert not house.dispatcher._routes
        await until(lambda: house.control.leases == 0)

    test()
