"""Who is let through, over time."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limiter.bucket import MINUTE_S
from actors.limiter.policy import Limiter, cost_of
from actors.registry.messages import GatewayDown
from tests.actors.limiter.accounts import GATEWAY, charged, choices, limits
from tests.actors.samples import route
from transport.messages.control import Admit, Admitted


@pytest.fixture
def limiter():
    return Limiter("t")


def ask(limiter, *routes, now=0.0, owner=GATEWAY):
    """The tickets of those that were let through, by route, and the refusals."""
    decision = limiter.decide(routes, owner, now)
    assert {r.route_id for r in decision.routes} >= decision.admissions.keys()
    tickets = {route_id: it.ticket for route_id, it in decision.admissions.items()}
    return tickets, decision.refusals


def admits(limiter, *routes, now=0.0):
    tickets, refusals = ask(limiter, *routes, now=now)
    assert bool(tickets) != bool(refusals)
    return bool(tickets)


def left(limiter, of, now=0.0):
    """What a request that costs nothing is told."""
    nothing = {"requests": 0, "streams": 0}
    probe = charged("probe", of=of, prompt_tokens=0, max_tokens=0, more=nothing)
    decision = limiter.decide([probe], GATEWAY, now)
    [admission] = decision.admissions.values()
    limiter.settle(admission.ticket, 0, GATEWAY, now)
    return admission.allowance


def test_who_has_no_limits_goes_by(limiter):
    decision = limiter.decide([route("a"), charged("b")], GATEWAY, 0.0)
    assert [r.route_id for r in decision.routes] == ["a", "b"]
    assert limiter.scopes == 0
    assert decision.admissions["b"].allowance is None


def test_requests_a_minute(limiter):
    of = limits(requests=2)
    assert admits(limiter, charged(of=of))
    assert admits(limiter, charged(of=of))
    _, [refusal] = ask(limiter, charged(of=of))
    assert (refusal.code, refusal.retryable) == ("rate_limit_exceeded", True)
    assert refusal.retry_after_s == 30.0
    assert "2 requests a minute" in refusal.message
    assert refusal.allowance.requests.remaining == 0
    assert not admits(limiter, charged(of=of), now=29.0)
    assert admits(limiter, charged(of=of), now=30.0)
    assert limiter.refused == {("key", "requests"): 2}


def test_others_have_their_own(limiter):
    of = limits(requests=1)
    assert admits(limiter, charged(key="a", of=of))
    assert admits(limiter, charged(key="b", of=of))
    assert not admits(limiter, charged(key="a", of=of))


def test_keys_of_a_tenant_share_its_limits(limiter):
    of = {"of": limits(requests=5), "tenant": "t", "tenant_of": limits(requests=2)}
    assert admits(limiter, charged(key="a", **of))
    tickets, _ = ask(limiter, charged(key="b", **of))
    assert tickets
    _, [refusal] = ask(limiter, charged(key="a", **of))
    assert "this tenant" in refusal.message
    assert refusal.allowance.requests.limit == 2
    assert limiter.refused == {("tenant", "requests"): 1}
    assert admits(limiter, charged(key="a", of=of["of"]))


def test_tokens_are_prompt_and_most_of_the_answer_until_it_is_known(limiter):
    of = limits(tokens=100)
    asked = charged(of=of, prompt_tokens=30, max_tokens=50)
    tickets, _ = ask(limiter, asked)
    assert left(limiter, of).tokens.remaining == 20
    _, [refusal] = ask(limiter, asked)
    assert refusal.retry_after_s == pytest.approx(36.0)
    assert "take 80" in refusal.message
    assert "20 are left" in refusal.message
    limiter.settle(tickets["r"], 35, GATEWAY, 0.0)
    assert left(limiter, of).tokens.remaining == 65


def test_of_what_was_never_done_all_is_given_back(limiter):
    of = limits(requests=3, tokens=100)
    tickets, _ = ask(limiter, charged(of=of))
    assert left(limiter, of).requests.remaining == 2
    limiter.settle(tickets["r"], 0, GATEWAY, 0.0)
    assert left(limiter, of).requests.remaining == 3
    assert left(limiter, of).tokens.remaining == 100


def test_what_was_done_counts_as_a_request(limiter):
    of = limits(requests=3)
    tickets, _ = ask(limiter, charged(of=of))
    limiter.settle(tickets["r"], 1, GATEWAY, 0.0)
    assert left(limiter, of).requests.remaining == 2


def test_a_request_that_could_never_pass_is_told_so(limiter):
    _, [refusal] = ask(limiter, charged(of=limits(tokens=10), prompt_tokens=5, max_tokens=6))
    assert (refusal.code, refusal.retryable, refusal.param) == (
        "request_over_limit",
        False,
        "max_tokens",
    )
    assert refusal.retry_after_s is None
    assert "never" in refusal.message
    assert admits(limiter, charged(of=limits(tokens=11), prompt_tokens=5, max_tokens=6))


def test_streams_at_a_time(limiter):
    of = limits(streams=2)
    first, _ = ask(limiter, charged("a", of=of))
    ask(limiter, charged("b", of=of))
    _, [refusal] = ask(limiter, charged("c", of=of), now=1000.0)
    assert (refusal.code, refusal.allowance) == ("rate_limit_exceeded", None)
    assert refusal.retry_after_s
    limiter.settle(first["a"], 7, GATEWAY, 1000.0)
    assert admits(limiter, charged("c", of=of), now=1000.0)


def test_more_answers_at_once_than_streams_can_never_pass(limiter):
    _, refusals = ask(limiter, *choices(3, limits(streams=2)))
    assert [refusal.code for refusal in refusals] == ["request_over_limit"] * 3
    assert refusals[0].param == "n"
    assert limiter.refused == {("key", "streams"): 1}


def test_what_is_no_stream_counts_otherwise_alone(limiter):
    of = limits(requests=2, tokens=100, streams=1)
    vectors = {"more": {"streams": 0}, "of": of, "prompt_tokens": 9, "max_tokens": 1}
    assert admits(limiter, charged("a", **vectors))
    assert admits(limiter, charged("b", **vectors))
    assert limiter.streams == 0
    assert left(limiter, of).tokens.remaining == 80
    assert left(limiter, of).requests.remaining == 0


def test_several_answers_are_one_request_whose_prompt_counts_once(limiter):
    of = limits(requests=5, tokens=100)
    tickets, _ = ask(limiter, *choices(3, of, prompt_tokens=30, max_tokens=20))
    assert len(tickets) == 3
    assert left(limiter, of).requests.remaining == 4
    assert left(limiter, of).tokens.remaining == 10
    for ticket, used in zip(tickets.values(), (35, 5, 5), strict=True):
        limiter.settle(ticket, used, GATEWAY, 0.0)
    assert left(limiter, of).tokens.remaining == 55


def test_several_answers_are_let_through_or_refused_as_a_whole(limiter):
    of = limits(tokens=100)
    routes = choices(3, of, prompt_tokens=30, max_tokens=20)
    assert admits(limiter, charged("other", of=of, prompt_tokens=0, max_tokens=30))
    tickets, refusals = ask(limiter, routes[0], charged("b", of=of), *routes[1:])
    assert [refusal.route_id for refusal in refusals] == ["1.0", "1.1", "1.2"]
    assert list(tickets) == ["b"]
    assert admits(limiter, *routes, now=40.0)


def test_a_resumed_request_passes_and_pays_in_the_end_for_what_it_still_got(limiter):
    of = limits(requests=1, tokens=100, streams=1)
    tickets, _ = ask(limiter, charged(of=of, prompt_tokens=40, max_tokens=60))
    limiter.settle(tickets["r"], 45, GATEWAY, 0.0)  # its engine was lost after five tokens
    again = charged(of=of, prompt_tokens=45, max_tokens=55, resumed=True)
    second, _ = ask(limiter, again)
    assert left(limiter, limits(requests=1, tokens=100)).tokens.remaining == 55
    assert not admits(limiter, charged("other", of=of))
    limiter.settle(second["r"], 20, GATEWAY, 0.0)
    assert left(limiter, of).tokens.remaining == 35
    assert left(limiter, of).requests.remaining == 0


def test_resumed_requests_pass_even_a_limit_that_is_exceeded(limiter):
    of = limits(requests=1, tokens=10, streams=1)
    assert admits(limiter, charged("a", of=of, prompt_tokens=1, max_tokens=9))
    for name in "bc":
        assert admits(limiter, charged(name, of=of, max_tokens=999, resumed=True))


def test_only_the_gateway_that_has_a_ticket_can_give_it_back(limiter):
    of = limits(streams=1)
    tickets, _ = ask(limiter, charged(of=of))
    limiter.settle(tickets["r"], 0, b"gateway:1#1", 0.0)
    limiter.settle("unknown", 0, GATEWAY, 0.0)
    assert not admits(limiter, charged(of=of))


def test_streams_of_a_gateway_that_is_gone_are_over(limiter):
    of = limits(tokens=100, streams=1)
    tickets, _ = ask(limiter, charged(of=of, prompt_tokens=10, max_tokens=20))
    limiter.gateway_down(GatewayDown("gateway:1", 9))
    limiter.gateway_down(GatewayDown("gateway:0", 0))
    assert not admits(limiter, charged(of=of))
    limiter.gateway_down(GatewayDown("gateway:0", 1))
    assert left(limiter, of).tokens.remaining == 70
    limiter.settle(tickets["r"], 1, GATEWAY, 0.0)  # too late
    assert left(limiter, of).tokens.remaining == 70


def test_a_ticket_whose_release_is_lost_ends_with_its_request(limiter):
    of = limits(streams=1)
    assert admits(limiter, charged(of=of, timeout_s=5.0))
    limiter.expire(14.0)
    assert not admits(limiter, charged(of=of), now=14.0)
    limiter.expire(15.0)
    assert admits(limiter, charged(of=of), now=15.0)


def test_who_has_all_back_is_forgotten(limiter):
    of = limits(requests=60)
    tickets, _ = ask(limiter, charged(of=of))
    limiter.expire(1.0)
    assert limiter.scopes == 1  # its stream is not over
    limiter.settle(tickets["r"], 5, GATEWAY, 0.5)
    limiter.expire(0.9)
    assert limiter.scopes == 1
    limiter.expire(1.0)
    assert limiter.scopes == 0


def test_new_limits_count_at_once_and_what_was_used_stays_used(limiter):
    assert admits(limiter, *choices(2, limits(requests=1)))
    assert not admits(limiter, charged(of=limits(requests=1)))
    assert admits(limiter, charged(of=limits(requests=3)))
    assert admits(limiter, charged(of=limits(requests=3)))
    assert not admits(limiter, charged(of=limits(requests=3)))
    assert admits(limiter, charged(of=limits()))
    assert not admits(limiter, charged(of=limits(tokens=1)))


ORDERS = st.lists(
    st.tuples(
        st.floats(0, 40, allow_nan=False),  # pause before
        st.integers(1, 40),  # prompt
        st.integers(1, 60),  # max_tokens
        st.integers(1, 3),  # n
        st.floats(0, 1),  # of what it may come to, what it does
        st.floats(0, 90, allow_nan=False),  # how long it takes
    ),
    max_size=25,
)


@given(ORDERS)
def test_in_any_time_nobody_gets_more_than_their_limits(orders):
    limiter, of = Limiter("t"), limits(requests=4, tokens=200, streams=5)
    ends, requests, tokens = [], [(0.0, 0)], [(0.0, 0.0)]
    now = 0.0

    def settle(until):
        for at, ticket, cost, used in sorted(e for e in ends if e[0] <= until):
            limiter.settle(ticket, used, GATEWAY, at)
            tokens.append((at, used - cost.tokens))
            if not used:
                requests.append((at, -cost.requests))
        ends[:] = [end for end in ends if end[0] > until]

    for group, (pause, prompt, most, n, share, takes) in enumerate(orders, 1):
        now += pause
        settle(now)
        routes = choices(n, of, group, prompt_tokens=prompt, max_tokens=most)
        got, refusals = ask(limiter, *routes, now=now)
        assert len(got) in (0, n)
        assert len(got) + len(refusals) == n
        for one in routes[: len(got)]:
            cost = cost_of(one)
            used = int(share * cost.tokens)
            ends.append((now + takes, got[one.route_id], cost, used))
            requests.append((now, cost.requests))
            tokens.append((now, cost.tokens))
        assert limiter.streams == len(ends) <= 5
    settle(float("inf"))
    for changes, limit in ((requests, 4), (tokens, 200)):
        for first, last in combinations(range(len(changes) + 1), 2):
            window = changes[first:last]
            span = window[-1][0] - window[0][0]
            net = sum(amount for _, amount in window)
            assert net <= limit + limit * span / MINUTE_S + 1e-3
    limiter.expire(now + 1000.0)
    assert (limiter.scopes, limiter.streams) == (0, 0)


def admitted(limiter, now=0.0, **charge):
    """What something is told that needs no engine."""
    return limiter.admit(Admit("q", charged(**charge).charge), now)


def test_what_needs_no_engine_counts_with_the_others(limiter):
    of = limits(requests=2)
    assert admits(limiter, charged(of=of))
    answer = admitted(limiter, of=of)
    assert (answer.request_id, answer.allowance.requests.remaining) == ("q", 0)
    assert not admits(limiter, charged(of=of))
    refusal = admitted(limiter, of=of)
    assert (refusal.route_id, refusal.code, refusal.retry_after_s) == (
        "q",
        "rate_limit_exceeded",
        30.0,
    )
    assert limiter.refused == {("key", "requests"): 2}
    assert isinstance(admitted(limiter, of=of, now=30.0), Admitted)


def test_what_needs_no_engine_is_no_stream_and_has_no_tokens(limiter):
    of = limits(tokens=10, streams=1)
    assert admits(limiter, charged("a", of=of, prompt_tokens=4, max_tokens=6))
    tickets, _ = ask(limiter, charged("b", of=of, resumed=True))
    limiter.settle(tickets["b"], 25, GATEWAY, 0.0)  # they are in debt now
    assert admitted(limiter, of=of).allowance.tokens.remaining == 0
    assert limiter.streams == 1


def test_a_tenant_counts_what_needs_no_engine_too(limiter):
    of = {"tenant": "t", "tenant_of": limits(requests=1)}
    assert isinstance(admitted(limiter, key="a", **of), Admitted)
    refusal = admitted(limiter, key="b", **of)
    assert "this tenant" in refusal.message
    assert refusal.allowance.requests.limit == 1
