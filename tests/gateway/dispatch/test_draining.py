"""Engines that drain, as the real control process tells of them to an old and a new gateway."""

import asyncio

import pytest

from actors.registry import actor as registry
from gateway.dispatch.dispatcher import Dispatcher
from tests.actors.control.rig import Rig
from tests.actors.samples import announce, engine_id
from tests.gateway.dispatch.house import Collected, assert_whole, request, undisturbed, until
from transport.fake import FakeEngine, fake_card
from transport.messages.lifeline import Stop


class Node:
    """The real control, and fake engines of the model "m"."""

    def __init__(self):
        self.rig = Rig()
        self.engines = []
        self.gateways = []

    def engine(self, replica):
        made = FakeEngine(
            engine_id(replica),
            1,
            f"ipc://{self.rig.folder}/e{replica}.sock",
            control=self.rig.control.control_endpoint,
            card=fake_card("m"),
            step_s=0.01,
        )
        self.engines.append(made)
        self.tell(replica)
        return made

    def tell(self, replica, **changes):
        self.rig.supervisor.tell(announce(replica, **changes))

    def gateway(self, number):
        made = Dispatcher(f"gateway:{number}", 1)
        made.ups = []
        made.on_engine_up = made.ups.append
        made.start()
        control = self.rig.control
        made.use_control(control.control_endpoint, control.topology_endpoint, 1)
        self.gateways.append(made)
        return made

    async def close(self):
        for gateway in self.gateways:
            await gateway.close()
        for engine in self.engines:
            await asyncio.to_thread(engine.die)
        self.rig.supervisor.tell(Stop(1.0))
        await asyncio.to_thread(self.rig.join)
        await asyncio.to_thread(self.rig.close)


def submit(gateway, **fields):
    sink = Collected()
    sink.asked = request(model="m", **fields)
    sink.id = gateway.submit(sink.asked, sink)
    return sink


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(registry, "TICK_S", 0.05)


@pytest.mark.parametrize("held", [False, True])  # held: by a command that unloads the model
def test_a_new_gateway_leaves_them_alone_while_streams_of_an_old_one_go_on(held):
    async def run():
        node = Node()
        try:
            await go(node)
        finally:
            await node.close()

    async def go(node):
        old, draining = node.gateway(0), node.engine(0)
        await until(lambda: old.ups)
        running = submit(old, count=60)
        await until(lambda: running.tokens)
        node.tell(0, state="draining", held=held)
        await until(lambda: not old._fleet._engines)

        new = node.gateway(1)
        await until(lambda: new._fleet.known)
        view = new.model("m")
        assert view is None if held else (view.state, view.ready_replicas) == ("unavailable", 0)
        assert (new.ups, new._links) == ([], {})
        asked = None if held else submit(new, count=5, seed=2)

        assert_whole(await ended(running))
        assert b"gateway:1#1" not in draining.peers
        if asked is not None:
            assert not asked.ends
            node.engine(1)
            assert_whole(await ended(asked))
            assert asked.tokens == undisturbed(asked.asked)
            assert [up.engine_id for up in new.ups] == [engine_id(1)]

    asyncio.run(run())


async def ended(sink):
    await sink.ended()
    return sink
