"""What a request of somebody with limits tells control, and hears of it."""

from config.errors import OverLimit, RateLimited
from config.limits import Allowance, KeyLimits, Left
from gateway.dispatch.types import Completed
from tests.gateway.dispatch.house import (
    Collected,
    assert_whole,
    in_house,
    releases,
    request,
    routes,
    until,
)
from transport.messages.control import Charge, RouteBatch

CHARGE = Charge("k", key_limits=KeyLimits(5))
LEFT = Allowance(Left(5, 4, 12.0))


class Allowed(Collected):
    """Remembers what it was told of limits."""

    def __init__(self):
        super().__init__()
        self.allowed = []

    def on_allowed(self, allowance):
        assert not self.tokens
        self.allowed.append(allowance)


def submit(house, asked):
    sink = Allowed()
    sink.asked = asked
    sink.id = house.dispatcher.submit(asked, sink)
    return sink


async def released(house, count):
    await until(lambda: len(releases(house)) == count)
    return releases(house)


@in_house
async def test_a_charge_goes_with_the_route_and_its_cost_with_the_release(house):
    await house.open("e0")
    house.control.limit = lambda _: LEFT
    sink = submit(house, request(count=20, prompt=5, charge=CHARGE))
    await sink.ended()
    assert_whole(sink)
    assert sink.allowed == [LEFT]
    [[route]] = routes(house)
    assert route.charge == CHARGE
    [release] = await released(house, 1)
    assert (release.ticket, release.used_tokens) == (f"ticket of {release.lease_id}", 25)


@in_house
async def test_without_limits_nothing_is_said_of_them(house):
    await house.open("e0")
    sink = submit(house, request())
    await sink.ended()
    [release] = await released(house, 1)
    assert (sink.allowed, release.ticket) == ([], "")


@in_house
async def test_a_further_answer_pays_for_its_own_words_alone(house):
    await house.open("e0")
    charge = Charge("k", key_limits=KeyLimits(5), requests=0, prompt=False, group=3)
    await submit(house, request(count=20, prompt=5, charge=charge)).ended()
    [release] = await released(house, 1)
    assert release.used_tokens == 20


@in_house
async def test_who_is_cancelled_pays_for_what_was_done(house):
    await house.open("e0", step_s=0.01)
    sink = submit(house, request(count=10_000, prompt=5, charge=CHARGE))
    await until(lambda: len(sink.tokens) > 3)
    house.dispatcher.cancel(sink.id)
    got = len(sink.tokens)
    [release] = await released(house, 1)
    assert (release.outcome, release.used_tokens) == ("cancelled", 5 + got)


@in_house
async def test_a_limit_ends_the_request_at_once_and_says_what_is_left(house):
    await house.open("e0")
    error = RateLimited("slow down", retry_after_s=12.0)
    error.allowance = LEFT
    house.control.limit = lambda _: error
    end = await submit(house, request(charge=CHARGE)).ended()
    assert type(end) is RateLimited
    assert (end.message, end.retry_after_s, end.allowance) == ("slow down", 12.0, LEFT)
    assert len(routes(house)) == 1


@in_house
async def test_a_request_beyond_its_limits_ends_at_once(house):
    await house.open("e0")
    house.control.limit = lambda _: OverLimit("too large", param="max_tokens")
    end = await submit(house, request(charge=CHARGE)).ended()
    assert (type(end), end.param, end.allowance) == (OverLimit, "max_tokens", None)


@in_house
async def test_a_resumed_request_pays_for_its_prompt_once(house):
    await house.open("e0", "e1", step_s=0.005)
    sink = submit(house, request(count=60, prompt=7, charge=CHARGE))
    await until(lambda: len(sink.tokens) > 10)
    house.kill_engine(next(name for name, e in house.engines.items() if e._running))
    await sink.ended()
    assert_whole(sink)
    first, second = await released(house, 2)
    assert first.outcome == "engine_lost"
    assert first.used_tokens + second.used_tokens == 7 + 60
    assert second.used_tokens < 60
    assert routes(house)[-1][0].resumed


@in_house
async def test_who_is_turned_away_pays_nothing_and_gives_back_before_asking_again(house):
    await house.open("e0")
    house.engines["e0"].refuses = "draining"
    sink = submit(house, request(charge=CHARGE))
    await until(lambda: len(routes(house)) > 1)
    house.engines["e0"].refuses = None
    assert isinstance(await sink.ended(), Completed)
    first = releases(house)[0]
    assert (first.outcome, first.used_tokens, bool(first.ticket)) == ("refused", 0, True)
    again = [m for m in house.control.received if isinstance(m, RouteBatch) and m.routes][1]
    assert first in again.releases  # which are handled before its routes


@in_house
async def test_a_lease_that_comes_too_late_costs_nothing(house):
    await house.open("e0")
    sink = submit(house, request(charge=CHARGE))
    house.dispatcher.cancel(sink.id)
    assert sink.ends
    [release] = await released(house, 1)
    assert (release.outcome, release.used_tokens, bool(release.ticket)) == ("cancelled", 0, True)
