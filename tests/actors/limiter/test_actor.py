"""The limiter actor on a real host."""

import logging

import pytest

from actors.host import Host
from actors.limiter import actor as limiter_actor
from actors.limiter.actor import LimiterActor, Outlets
from actors.limiter.messages import Asked, LimiterStatus
from actors.registry.messages import GatewayDown
from actors.router.messages import Releases, Routes, Unused
from config.errors import ActorDied, QueueFull
from tests.actors.limiter.accounts import GATEWAY, charged, limits
from tests.actors.samples import release, route
from transport.messages.control import Admit, Admitted
from transport.messages.topology import ModelGone

ASK_S = 5.0
ONE = limits(streams=1)


class Stage:
    def __init__(self, host):
        self.answers, self.routed, self.statuses = [], [], []
        self.full = False
        outlets = Outlets(
            lambda peer, it: self.answers.append((peer, getattr(it, "answers", it))),
            self.route,
            self.statuses.append,
        )
        self.limiter = host.start("limiter", lambda: LimiterActor(outlets))

    def route(self, message):
        if self.full:
            raise QueueFull("the router is full")
        self.routed.append(message)

    def tell(self, message):
        self.limiter.ask(message, ASK_S)

    def ask(self, *routes):
        """What the router is told, and what the gateway is."""
        self.answers.clear()
        self.routed.clear()
        self.tell(Routes(GATEWAY, list(routes)))
        return self.routed, self.answers


@pytest.fixture
def stage():
    host = Host(lambda name, error: None)
    yield Stage(host)
    host.stop(ASK_S)


def test_those_who_pass_go_to_the_router_and_the_rest_is_answered(stage):
    asked = [route("free"), charged("a", of=ONE), charged("b", of=ONE)]
    [routed], [(peer, refusals)] = stage.ask(*asked)
    assert routed.peer == peer == GATEWAY
    assert [r.route_id for r in routed.routes] == ["free", "a"]
    assert list(routed.admissions) == ["a"]
    assert [(r.route_id, r.code) for r in refusals] == [("b", "rate_limit_exceeded")]


def test_nobody_is_told_what_there_is_nothing_to_say_about(stage):
    routed, answers = stage.ask(charged("a", of=ONE))
    assert (len(routed), answers) == (1, [])
    routed, answers = stage.ask(charged("b", of=ONE))
    assert (routed, len(answers)) == ([], 1)


def ticket(stage, route_id="a"):
    [routed], _ = stage.ask(charged(route_id, of=ONE))
    return routed.admissions[route_id].ticket


@pytest.mark.parametrize(
    "end",
    [
        lambda ticket: Releases(GATEWAY, [release(ticket=ticket, used_tokens=3)], 0.0),
        lambda ticket: Unused(GATEWAY, [ticket]),
        lambda _: GatewayDown("gateway:0", 1),
    ],
    ids=["released", "no lease", "gateway down"],
)
def test_a_stream_that_is_over_makes_room(stage, end):
    given = ticket(stage)
    stage.tell(ModelGone("m"))  # no matter of its
    assert stage.ask(charged("b", of=ONE))[1]
    stage.tell(end(given))
    assert not stage.ask(charged("b", of=ONE))[1]


def test_what_the_router_does_not_take_is_refused_and_costs_nothing(stage):
    stage.full = True
    _, [(peer, [refusal])] = stage.ask(charged("a", of=ONE))
    assert (peer, refusal.code, refusal.retryable) == (GATEWAY, "queue_full", True)
    assert refusal.retry_after_s
    stage.full = False
    assert ticket(stage)


def test_after_a_failure_requests_go_on_without_limits(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    broken = charged("bad", of=limits(tokens=5), max_tokens="many")
    with pytest.raises(ActorDied):
        stage.ask(charged("good", of=ONE), broken)
    [routed] = stage.routed
    assert [r.route_id for r in routed.routes] == ["good", "bad"]
    assert not stage.answers
    assert ticket(stage)  # its successor knows nothing of before


def test_what_needs_no_engine_is_answered(stage):
    charge = charged(of=limits(requests=1)).charge
    for _ in range(2):
        stage.tell(Asked(GATEWAY, Admit("q", charge)))
    [(peer, admitted), (_, refusal)] = stage.answers
    assert (peer, admitted.request_id, admitted.allowance.requests.remaining) == (GATEWAY, "q", 0)
    assert (refusal.route_id, refusal.code) == ("q", "rate_limit_exceeded")
    assert stage.routed == []


def test_after_a_failure_it_is_let_through(stage, caplog):
    caplog.set_level(logging.CRITICAL)
    charge = charged(of=limits(requests=1), more={"requests": "many"}).charge
    with pytest.raises(ActorDied):
        stage.tell(Asked(GATEWAY, Admit("q", charge)))
    assert stage.answers == [(GATEWAY, Admitted("q"))]


def test_it_shows_whom_it_limits(monkeypatch):
    monkeypatch.setattr(limiter_actor, "TICK_S", 0.01)
    host = Host(lambda name, error: None)
    stage = Stage(host)
    stage.ask(charged("a", of=ONE), charged("b", of=ONE))
    while not any(status.answers for status in stage.statuses):
        stage.tell(ModelGone("m"))
    said = next(status for status in stage.statuses if status.answers)
    assert said == LimiterStatus(1, 1, {"rate_limit_exceeded": 1}, {("key", "streams"): 1})
    host.stop(ASK_S)
    assert sum(status.answers.get("rate_limit_exceeded", 0) for status in stage.statuses) == 1
