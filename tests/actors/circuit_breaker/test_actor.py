"""The circuit breaker actor on a real host."""

import time

import pytest

from actors.circuit_breaker import actor, policy
from actors.circuit_breaker.actor import CircuitBreakerActor, Outlets
from actors.host import Host
from actors.router.messages import Releases
from config.settings import CircuitBreakerSettings
from tests.actors.samples import engine_id, load, release, up
from transport.messages.topology import BreakerChanged, EngineDown, Snapshot

ASK_S = 5.0
STATUSES = []
SETTINGS = CircuitBreakerSettings(min_requests=1)


@pytest.fixture
def stage(monkeypatch):
    monkeypatch.setattr(actor, "HEALTH_CHECK_S", 0.02)
    changes, suspects = [], []
    host = Host(lambda name, error: None)
    outlets = Outlets(
        changes.append, lambda *suspect: suspects.append(suspect), lambda _: None, STATUSES.append
    )
    breaker = host.start("breaker", lambda: CircuitBreakerActor(SETTINGS, outlets))
    yield breaker, changes, suspects
    host.stop(ASK_S)


def end(breaker, outcome, incarnation=1):
    breaker.ask(
        Releases(b"g", [release(outcome=outcome, incarnation=incarnation)], time.monotonic()), ASK_S
    )


def test_a_failure_too_much_is_told_to_everyone(stage):
    breaker, changes, _ = stage
    breaker.tell(up())
    end(breaker, "failed")
    assert changes == [BreakerChanged(engine_id(), 1, "open")]


def test_a_new_incarnation_starts_closed(stage):
    breaker, changes, _ = stage
    breaker.tell(up())
    end(breaker, "failed")
    breaker.tell(up(incarnation=2))
    end(breaker, "finished", incarnation=2)
    end(breaker, "failed", incarnation=1)
    assert len(changes) == 1


def test_a_stalled_request_accuses_the_engine(stage):
    breaker, _, suspects = stage
    breaker.tell(up())
    end(breaker, "stalled")
    assert suspects == [(engine_id(), 1, "a request got no token in time")]


def test_an_engine_that_is_down_is_not_watched(stage):
    breaker, changes, _ = stage
    breaker.tell(up())
    breaker.tell(EngineDown(engine_id(), 1, "gone"))
    breaker.tell(EngineDown(engine_id(), 1, "gone"))
    breaker.tell(load())
    end(breaker, "failed")
    assert changes == []


def test_a_snapshot_that_knows_less_is_corrected(stage):
    breaker, changes, _ = stage
    breaker.tell(up(0))
    breaker.tell(up(1))
    end(breaker, "failed")
    breaker.ask(Snapshot(1, [up(0)], []), ASK_S)
    assert changes == [BreakerChanged(engine_id(), 1, "open")] * 2


def test_a_successor_adopts_the_states_of_the_snapshot(stage):
    breaker, changes, _ = stage
    breaker.tell(Snapshot(1, [up(breaker="open")], []))
    end(breaker, "failed")
    breaker.ask(Snapshot(1, [up(breaker="open")], []), ASK_S)
    assert changes == []


def test_an_engine_that_stops_reporting_is_taken_out_and_accused(stage, monkeypatch):
    monkeypatch.setattr(policy, "REPORT_LATE_S", 0.01)
    breaker, changes, suspects = stage
    breaker.tell(up())
    while not suspects:
        breaker.ask(load(replica=1), ASK_S)
    assert changes == [BreakerChanged(engine_id(), 1, "open")]
    assert suspects[0] == (engine_id(), 1, "it stopped reporting")


def test_when_the_check_itself_is_late_nobody_is_to_blame(stage, monkeypatch):
    monkeypatch.setattr(policy, "REPORT_LATE_S", 0.01)
    monkeypatch.setattr(actor, "LATE_CHECK_S", 0.0)
    breaker, changes, suspects = stage
    breaker.tell(up())
    STATUSES.clear()
    while len(STATUSES) < 10:
        breaker.ask(load(replica=1), ASK_S)
    assert (changes, suspects) == ([], [])
