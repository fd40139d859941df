"""The router actor on a real host."""

import logging

import pytest

from actors.host import Host
from actors.router.actor import Outlets, RouterActor
from actors.router.blocks import PrefixBlockIndex
from actors.router.messages import Admission, Releases, Routes, Unused
from actors.router.policy import Limits
from config.errors import ActorDied
from config.limits import Allowance, Left
from tests.actors.samples import load, release, route, up
from transport.messages.control import Lease
from transport.messages.topology import ModelStatus, PrefixBlocks

ASK_S = 5.0


@pytest.fixture
def stage():
    answers, introductions, statuses, unused = [], [], [], []
    blocks = PrefixBlockIndex()
    host = Host(lambda name, error: None)
    outlets = Outlets(
        lambda peer, batch: answers.append((peer, batch)),
        introductions.append,
        statuses.append,
        unused.append,
    )
    router = host.start("router", lambda: RouterActor(Limits(10, 3), blocks, outlets))
    yield router, answers, introductions, statuses, unused
    host.stop(ASK_S)


def test_it_introduces_itself_so_that_a_successor_knows_the_engines(stage):
    router, _, introductions, *_ = stage
    router.ask(load(), ASK_S)
    [introduction] = introductions
    introduction.to.ask(ModelStatus("m", "ready", 1, 1), ASK_S)


def test_resumed_requests_choose_first(stage):
    router, answers, *_ = stage
    router.tell(ModelStatus("m", "ready", 1, 1))
    router.tell(up())
    router.ask(Routes(b"g", [route("new"), route("old", resumed=True)]), ASK_S)
    [(peer, batch)] = answers
    assert peer == b"g"
    assert [answer.route_id for answer in batch.answers] == ["old", "new"]


def test_a_release_ends_the_lease(stage):
    router, answers, _, statuses, _ = stage
    router.tell(ModelStatus("m", "ready", 1, 1))
    router.tell(up())
    router.ask(Routes(b"g", [route()]), ASK_S)
    [lease] = answers[0][1].answers
    assert isinstance(lease, Lease)
    router.ask(Releases(b"g", [release(lease.lease_id)], 0.0), ASK_S)
    while not statuses:
        router.ask(load(), ASK_S)
    assert statuses[0].leases == {"engine:m:0": 0}
    assert statuses[0].answers == {"lease": 1}


def test_what_limits_took_for_a_refusal_goes_back(stage):
    router, answers, _, _, unused = stage
    router.tell(ModelStatus("m", "ready", 1, 1))
    router.tell(up())
    left = Allowance(Left(5, 4, 1.0))
    admissions = {"a": Admission("t1", left), "b": Admission("t2", left)}
    routes = [route("a"), route("b", model="nope"), route("c")]
    router.ask(Routes(b"g", routes, admissions), ASK_S)
    [(_, batch)] = answers
    told = {answer.route_id: answer for answer in batch.answers}
    assert (told["a"].ticket, told["a"].allowance) == ("t1", left)
    assert (told["c"].ticket, told["c"].allowance) == ("", None)
    assert told["b"].code == "model_not_found"
    assert unused == [Unused(b"g", ["t2"])]


def test_what_limits_took_goes_back_after_a_failure(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    router, *_, unused = stage
    broken = route("bad", model=["not", "a", "name"])
    with pytest.raises(ActorDied):
        router.ask(Routes(b"g", [broken], {"bad": Admission("t", None)}), ASK_S)
    assert unused == [Unused(b"g", ["t"])]


def test_a_failure_while_choosing_still_answers_every_route(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    router, answers, *_ = stage
    broken = route("bad", model=["not", "a", "name"])
    with pytest.raises(ActorDied):
        router.ask(Routes(b"g", [route("good"), broken]), ASK_S)
    [(_, batch)] = answers
    assert [answer.route_id for answer in batch.answers] == ["good", "bad"]
    assert all(answer.retryable for answer in batch.answers)


def test_stored_blocks_outlive_a_failure(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    router, _, _, statuses, _ = stage
    router.tell(PrefixBlocks("engine:m:0", 1, [1, 2], []))
    with pytest.raises(ActorDied):
        router.ask(Routes(b"g", [route("bad", model=["not", "a", "name"])]), ASK_S)
    while not statuses:
        router.ask(load(), ASK_S)
    assert statuses[0].blocks == {"engine:m:0": 2}
