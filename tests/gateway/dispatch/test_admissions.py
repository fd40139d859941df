"""What needs no engine: control is asked, and where it does not answer nobody is held up."""

import asyncio
from unittest.mock import patch

import pytest

from config.errors import OverLimit, RateLimited
from config.limits import Allowance, KeyLimits, Left
from gateway.dispatch.admissions import Admissions
from tests.gateway.dispatch.house import in_house, until
from transport.messages.control import Admit, Admitted, Charge

CHARGE = Charge("k", key_limits=KeyLimits(5))
LEFT = Allowance(Left(5, 4, 12.0))


def asked(house):
    return [message for message in house.control.received if isinstance(message, Admit)]


def ask(house):
    return house.dispatcher.admissions.ask(CHARGE)


@in_house
async def test_it_is_let_through_with_what_is_left(house):
    await house.open("e0")
    house.control.limit = lambda _: LEFT
    assert await asyncio.gather(ask(house), ask(house)) == [LEFT, LEFT]
    first, second = asked(house)
    assert (first.charge, second.charge) == (CHARGE, CHARGE)
    assert first.request_id != second.request_id


@in_house
async def test_it_is_refused_with_what_is_left(house):
    await house.open("e0")
    error = RateLimited("slow down", retry_after_s=12.0)
    error.allowance = LEFT
    house.control.limit = lambda _: error
    with pytest.raises(RateLimited, match="slow down") as caught:
        await ask(house)
    assert (caught.value.retry_after_s, caught.value.allowance) == (12.0, LEFT)
    house.control.limit = lambda _: OverLimit("never")
    with pytest.raises(OverLimit):
        await ask(house)


@in_house
async def test_without_a_control_it_is_let_through(house):
    assert await ask(house) is None


@in_house
async def test_a_control_that_dies_meanwhile_lets_it_through(house):
    await house.open("e0")
    house.control.mute = True
    waiting = asyncio.create_task(ask(house))
    await until(lambda: asked(house))
    await asyncio.to_thread(house.control.die)
    assert await waiting is None
    house.start_control()
    await house.ready(1)
    assert await ask(house) == Allowance()


@in_house
async def test_a_gateway_that_closes_meanwhile_lets_it_through(house):
    await house.open("e0")
    house.control.mute = True
    waiting = asyncio.create_task(ask(house))
    await until(lambda: asked(house))
    await house.dispatcher.close()
    assert await waiting is None
    house.dispatcher.start()


@in_house
@patch("gateway.dispatch.admissions.ANSWER_S", 0.01)
async def test_a_control_that_says_nothing_is_not_waited_for_long(house):
    await house.open("e0")
    house.control.mute = True
    assert await ask(house) is None


def test_who_gave_up_is_no_trouble_and_what_is_not_taken_is_let_through():
    async def run():
        admissions = Admissions()
        sent = []
        admissions.connected(lambda admit: not sent.append(admit))
        waiting = asyncio.create_task(admissions.ask(CHARGE))
        await until(lambda: sent)
        waiting.cancel()
        admissions.answered(Admitted(sent[0].request_id))
        admissions.answered(Admitted("unknown"))
        assert await asyncio.gather(waiting, return_exceptions=True)
        admissions.connected(lambda _: False)
        return await admissions.ask(CHARGE)

    assert asyncio.run(run()) is None
