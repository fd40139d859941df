"""Whom the router chooses, with time and view in our hands."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.registry.messages import GatewayDown
from actors.router.policy import MAX_RETRY_S, Limits, choose, load, waiting
from actors.router.view import LEASE_S, RELEASE_LATE_S, View
from tests.actors import samples
from tests.actors.samples import engine_id, release, route, up
from transport.messages.control import Lease, Refusal
from transport.messages.topology import (
    BreakerChanged,
    EngineDown,
    EngineDraining,
    ModelGone,
    ModelStatus,
    Snapshot,
)

LIMITS = Limits(max_waiting=4, half_open_probes=2)
GATEWAY = b"gateway:0#1"
READY = ModelStatus("m", "ready", 1, 1)


def view_of(*replicas, state="ready"):
    view = View("v")
    view.apply(ModelStatus("m", state, len(replicas), len(replicas)))
    for replica in replicas:
        view.apply(up(replica))
    return view


def lease(view, now=0.0, owner=GATEWAY, **changes):
    """Choose and, as the actor does, count it."""
    wanted = route(**changes)
    answer = choose(wanted, view, LIMITS, now)
    if isinstance(answer, Lease):
        view.grant(answer, wanted, owner, now)
    return answer


def report(view, replica=0, now=0.0, **changes):
    view.report(samples.load(replica, **changes), now)


def test_the_least_loaded_engine_wins():
    view = view_of(0, 1)
    report(view, 0, running_tokens=50, waiting_tokens=60)
    report(view, 1, running_tokens=100)
    assert lease(view).engine_id == engine_id(1)


def test_leases_count_before_the_engine_reports_them():
    view = view_of(0, 1)
    assert {lease(view).engine_id, lease(view).engine_id} == {engine_id(0), engine_id(1)}


def test_a_lease_and_the_report_of_it_count_once():
    view = view_of(0)
    lease(view, prompt_tokens=100, max_tokens=10)
    report(view, running_tokens=105)
    assert load(view.engines[engine_id()], 0.0) == 110


def test_what_ended_since_the_report_is_no_load():
    view = view_of(0, 1)
    asked = {"session": "s", "prompt_tokens": 200, "max_tokens": 50}
    first = lease(view, now=1.0, **asked)
    home = int(first.engine_id[-1])
    report(view, home, now=2.0, running_tokens=240)
    assert load(view.engines[first.engine_id], 2.0) == 250
    view.release(release(first.lease_id, replica=home), GATEWAY)
    assert load(view.engines[first.engine_id], 2.0) == 0
    assert lease(view, now=2.05, **asked).engine_id == first.engine_id


def test_what_began_and_ended_since_the_report_takes_nothing_off_it():
    view = view_of(0)
    report(view, now=1.0, running_tokens=300)
    view.release(release(lease(view, now=1.1).lease_id), GATEWAY)
    assert load(view.engines[engine_id(0)], 1.2) == 300


def test_an_old_report_says_nothing_about_the_load():
    view = view_of(0)
    report(view, running_tokens=1000)
    assert load(view.engines[engine_id()], 10.0) == 0


def test_equal_engines_take_turns():
    view = view_of(0, 1, 2)
    for _ in range(2):
        order = []
        for _ in range(3):
            given_ = lease(view)
            order.append(given_.engine_id)
            view.release(release(given_.lease_id, replica=int(given_.engine_id[-1])), GATEWAY)
        assert sorted(order) == [engine_id(0), engine_id(1), engine_id(2)]


def test_a_session_stays_with_its_engine_while_that_is_cheap():
    chosen = set()
    for busy in (0, 1, 2):
        view = view_of(0, 1, 2)
        report(view, busy, running_tokens=30)
        chosen.add(lease(view, session="s").engine_id)
    assert len(chosen) == 1


def test_a_session_leaves_an_overloaded_engine():
    view = view_of(0, 1)
    home = lease(view, session="s").engine_id
    report(view, int(home[-1]), running_tokens=10_000)
    assert lease(view, session="s").engine_id != home


def test_an_excluded_incarnation_is_avoided():
    view = view_of(0, 1)
    assert lease(view, excluded=["engine:m:0#1"]).engine_id == engine_id(1)


def test_exclusion_is_a_preference_and_names_one_incarnation():
    view = view_of(0)
    assert lease(view, excluded=["engine:m:0#1"]).engine_id == engine_id(0)
    view.apply(up(1, incarnation=2))
    assert lease(view, excluded=["engine:m:0#1", "engine:m:1#1"]).engine_id == engine_id(1)


def test_an_engine_that_a_gateway_lost_waits_for_its_next_report():
    view = view_of(0)
    first = lease(view)
    view.release(release(first.lease_id, "engine_lost"), GATEWAY)
    assert lease(view).code == "engine_unavailable"
    report(view)
    assert isinstance(lease(view), Lease)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (EngineDown(engine_id(), 1, "backoff"), "engine_unavailable"),
        (EngineDraining(engine_id(), 1), "engine_unavailable"),
        (BreakerChanged(engine_id(), 1, "open"), "engine_unavailable"),
        (ModelGone("m"), "model_not_found"),
        (Snapshot(1, [], []), "model_not_found"),
        (Snapshot(1, [up(draining=True)], [READY]), "engine_unavailable"),
    ],
)
def test_an_engine_that_is_not_to_be_used_gets_nothing(event, code):
    view = view_of(0)
    view.apply(event)
    assert lease(view).code == code


def test_a_router_that_just_started_leases_no_engine_that_drains():
    view = View("v")
    view.apply(Snapshot(1, [up(draining=True)], [READY]))
    assert lease(view).code == "engine_unavailable"
    view.apply(Snapshot(1, [up(draining=True), up(1)], [READY]))
    assert lease(view).engine_id == engine_id(1)


def test_a_refusal_names_the_parameter_at_fault():
    assert lease(view_of(), model="nobody").param == "model"
    assert lease(view_of(state="failed")).param == "model"


@pytest.mark.parametrize(
    "event",
    [
        EngineDown(engine_id(), 1, "backoff"),
        EngineDraining(engine_id(), 1),
        BreakerChanged(engine_id(), 1, "open"),
        EngineDown(engine_id(9), 1, "backoff"),
    ],
)
def test_news_of_an_older_incarnation_changes_nothing(event):
    view = view_of()
    view.apply(up(incarnation=2))
    view.apply(event)
    assert lease(view).incarnation == 2


def test_an_older_incarnation_does_not_come_back():
    view = view_of()
    view.apply(up(incarnation=2))
    view.apply(up(incarnation=1))
    assert lease(view).incarnation == 2


def test_a_half_open_engine_gets_a_few_probes():
    view = view_of(0)
    view.apply(BreakerChanged(engine_id(), 1, "half_open"))
    assert [type(lease(view)) for _ in range(3)] == [Lease, Lease, Refusal]


def test_leases_of_before_are_no_probes():
    view = view_of(0)
    for _ in range(5):
        lease(view)
    for state in ("open", "half_open"):
        view.apply(BreakerChanged(engine_id(), 1, state))
    assert [type(lease(view)) for _ in range(3)] == [Lease, Lease, Refusal]


def test_a_probe_that_ended_makes_room_for_the_next():
    view = view_of(0)
    view.apply(BreakerChanged(engine_id(), 1, "half_open"))
    first, _ = lease(view), lease(view)
    view.release(release(first.lease_id), GATEWAY)
    assert [type(lease(view)) for _ in range(2)] == [Lease, Refusal]


@pytest.mark.parametrize(
    ("timeout_s", "lasts_s"), [(None, LEASE_S), (30.0, 30.0), (1e9, LEASE_S), (-5.0, 0.0)]
)
def test_a_lease_whose_release_is_lost_ends_with_its_time(timeout_s, lasts_s):
    view = view_of(0)
    view.apply(BreakerChanged(engine_id(), 1, "half_open"))
    for _ in range(2):
        lease(view, now=100.0, timeout_s=timeout_s)
    ends_at = 100.0 + lasts_s + RELEASE_LATE_S
    view.expire(ends_at - 0.1)
    assert view.engines[engine_id()].leases == 2
    view.expire(ends_at)
    assert (view.engines[engine_id()].leases, view.leases) == (0, {})
    assert isinstance(lease(view), Lease)


def test_refusals_say_why():
    unknown = lease(view_of(0), model="x")
    assert (unknown.code, unknown.param) == ("model_not_found", "model")
    assert "'m'" not in unknown.message  # perhaps it is not for everybody
    loading = lease(view_of(state="loading"))
    assert (loading.code, loading.retryable) == ("engine_unavailable", True)
    assert "loading" in loading.message
    restarting = lease(view_of(state="unavailable"))
    assert "restarted" in restarting.message
    assert 0.1 <= restarting.retry_after_s <= 1.0
    failed = lease(view_of(state="failed"))
    assert (failed.code, failed.retryable) == ("model_load_failed", False)


def test_full_queues_refuse_new_requests_but_not_resumed_ones():
    view = view_of(0)
    report(view, running=8, waiting=4)
    refusal = lease(view)
    assert (refusal.code, refusal.retryable, refusal.retry_after_s) == ("queue_full", True, 1.0)
    assert isinstance(lease(view, resumed=True), Lease)


def test_leases_since_the_report_fill_a_queue_that_exists():
    view = view_of(0)
    report(view, running=8, waiting=3)
    assert [type(lease(view)) for _ in range(2)] == [Lease, Refusal]


def test_without_a_queue_nothing_is_refused():
    view = view_of(0)
    assert waiting(view.engines[engine_id()]) == 0
    report(view, running=8)
    assert all(isinstance(lease(view), Lease) for _ in range(20))


def test_retry_after_follows_the_throughput():
    view = view_of(0)
    for second in range(20):
        report(view, now=float(second), waiting=4, generated_tokens=10 * second)
    assert lease(view, max_tokens=20).retry_after_s == pytest.approx(2.0, rel=0.01)
    view.output_tokens["m"] = 1e6
    assert lease(view, max_tokens=10**6).retry_after_s == MAX_RETRY_S


def test_two_reports_at_once_keep_the_rate():
    view = view_of(0)
    report(view, now=1.0)
    report(view, now=1.0, generated_tokens=10)
    assert view.engines[engine_id()].tokens_per_s == 0.0


def test_expected_output_follows_what_requests_turn_out_to_need():
    view = view_of(0)
    for _ in range(200):
        given_ = lease(view)
        view.release(release(given_.lease_id, tokens=40), GATEWAY)
    assert view.expected_tokens(route(prompt_tokens=100, max_tokens=1000)) == 140


def test_unknown_and_foreign_releases_are_ignored():
    view = view_of(0)
    given_ = lease(view)
    view.release(release("nothing"), GATEWAY)
    view.release(release("nothing", replica=7), GATEWAY)
    view.release(release(given_.lease_id), b"gateway:1#1")
    assert view.engines[engine_id()].leases == 1


def test_reports_of_others_are_ignored():
    view = view_of(0)
    report(view, replica=5)
    report(view, incarnation=9, running_tokens=99)
    assert view.engines[engine_id()].report is None


def test_leases_go_with_their_engine():
    view = view_of(0, 1)
    lease(view), lease(view)
    view.apply(EngineDown(engine_id(0), 1, "gone"))
    assert [held.engine.up.engine_id for held in view.leases.values()] == [engine_id(1)]


def test_leases_go_with_their_gateway():
    view = view_of(0)
    for owner in (b"gateway:0#1", b"gateway:0#3", b"gateway:1#1", b"\xff#x"):
        lease(view, owner=owner)
    view.apply(GatewayDown("gateway:0", 2))
    owners = [held.owner for held in view.leases.values()]
    assert owners == [b"gateway:0#3", b"gateway:1#1", b"\xff#x"]
    assert view.engines[engine_id()].leases == 3


def test_a_snapshot_replaces_what_was_known():
    view = view_of(0, 1)
    view.apply(Snapshot(1, [up(1), up(2)], [ModelStatus("m", "ready", 2, 2)]))
    assert set(view.engines) == {engine_id(1), engine_id(2)}


events = st.one_of(
    st.builds(up, st.integers(0, 2), st.integers(1, 3)),
    st.builds(
        EngineDown,
        st.sampled_from([engine_id(n) for n in range(3)]),
        st.integers(1, 3),
        st.just("x"),
    ),
    st.builds(
        BreakerChanged,
        st.sampled_from([engine_id(n) for n in range(3)]),
        st.integers(1, 3),
        st.sampled_from(["closed", "open", "half_open"]),
    ),
    st.builds(EngineDraining, st.sampled_from([engine_id(n) for n in range(3)]), st.integers(1, 3)),
    st.builds(GatewayDown, st.just("gateway:0"), st.integers(1, 2)),
    st.builds(
        samples.load,
        st.integers(0, 2),
        st.integers(1, 3),
        running_tokens=st.integers(0, 5000),
        waiting=st.integers(0, 6),
    ),
    st.builds(
        route,
        prompt_tokens=st.integers(-5, 5000),
        max_tokens=st.integers(-5, 5000),
        resumed=st.booleans(),
        timeout_s=st.sampled_from([None, -1.0, 5.0, 1e9]),
        session=st.sampled_from([None, "a", "b"]),
        excluded=st.lists(st.sampled_from(["engine:m:0#1", "engine:m:1#2"]), max_size=2),
    ),
    st.tuples(st.integers(0, 50), st.sampled_from(["finished", "failed", "engine_lost"])),
)


@settings(deadline=None)
@given(st.lists(events, max_size=60))
def test_whatever_happens_leases_go_to_admitted_engines_and_the_books_balance(happenings):
    view = view_of()
    given_leases = []
    for now, event in enumerate(happenings):
        if isinstance(event, tuple):
            if given_leases:
                chosen = given_leases[event[0] % len(given_leases)]
                replica = int(chosen.engine_id[-1])
                ended = release(chosen.lease_id, event[1], replica, chosen.incarnation)
                view.release(ended, GATEWAY)
        elif isinstance(event, samples.Route):
            answer = choose(event, view, LIMITS, now)
            assert answer.route_id == event.route_id
            if isinstance(answer, Lease):
                engine = view.engines[answer.engine_id]
                assert engine.up.incarnation == answer.incarnation
                assert not engine.draining
                assert engine.breaker == "closed" or len(engine.probes) < LIMITS.half_open_probes
                assert engine.breaker != "open"
                view.grant(answer, event, GATEWAY, now)
                given_leases.append(answer)
        elif isinstance(event, samples.LoadReport):
            view.report(event, float(now))
        else:
            view.apply(event)
        view.expire(now)
        for engine in view.engines.values():
            held = [held for held in view.leases.values() if held.engine is engine]
            assert engine.leases == len(held)
            assert engine.probes <= view.leases.keys()
            assert engine.leased_tokens == sum(one.tokens for one in held) >= 0
    assert len({one.lease_id for one in given_leases}) == len(given_leases)
