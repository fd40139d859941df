import random

import pytest

from actors.engine.admission import Room
from actors.engine.request import Outputs
from actors.engine.work import MEMORY_PATIENCE_S, Work
from config.errors import Draining
from tests.actors.engine.generate import make_generator
from transport.messages.data import Failed, Finished, Generate, Sampling

pytestmark = pytest.mark.mlx
G = b"gateway:0#1"
NO_GRAMMARS = None  # nobody asks for one here
EACH = {16: 512}
ROOMY = Room(budget_bytes=1 << 30, bytes_per_token=EACH)


def make_work(tiny, room=ROOMY, max_waiting=100, eos=()):
    import msgspec

    card = msgspec.structs.replace(tiny.card, eos_token_ids=list(eos))
    generator = make_generator(msgspec.structs.replace(tiny, card=card), chunk=32)
    return Work(generator, card, room, max_waiting, NO_GRAMMARS)


def request(name="r", tokens=(1, 2, 3), max_tokens=5, **kwargs):
    kwargs.setdefault("sampling", Sampling(temperature=0.0))
    return Generate(name, 1, list(tokens), max_tokens, kwargs.pop("timeout_s", 60.0), **kwargs)


def run(work, out, now=0.0, steps=300):
    for _ in range(steps):
        if not work.busy:
            return collect(out)
        work.step(now, out)
    raise AssertionError("the work does not end")


def collect(out, gateway=G):
    deltas, ended = out.by_gateway.get(gateway, ([], []))
    tokens = {}
    for delta in deltas:
        tokens.setdefault(delta.request_id, []).extend(delta.tokens)
    return tokens, {end.request_id: end for end in ended}


def serve(work, *requests, gateway=G):
    out = Outputs()
    for one in requests:
        work.accept(one, gateway, 0.0, out)
    return run(work, out)


def test_a_request_gives_its_tokens_and_one_end(tiny):
    tokens, ended = serve(make_work(tiny), request())
    assert len(tokens["r"]) == 5
    end = ended["r"]
    assert isinstance(end, Finished)
    assert (end.reason, end.prompt_tokens, end.completion_tokens) == ("length", 3, 5)


def test_a_stop_token_counts_but_is_not_given_out(tiny):
    whole, _ = serve(make_work(tiny), request())
    stop = whole["r"][2]
    n = whole["r"].index(stop)
    for work, kwargs in (
        (make_work(tiny), {"stop_token_ids": [stop]}),
        (make_work(tiny, eos=[stop]), {}),
    ):
        tokens, ended = serve(work, request(**kwargs))
        assert tokens.get("r", []) == whole["r"][:n]
        assert ended["r"].reason == "stop"
        assert ended["r"].completion_tokens == n + 1


def test_end_of_sequence_can_be_ignored(tiny):
    whole, _ = serve(make_work(tiny), request())
    tokens, _ = serve(make_work(tiny, eos=[whole["r"][0]]), request(ignore_eos=True))
    assert tokens == whole


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"tokens": ()}, "invalid_request"),
        ({"max_tokens": 0}, "invalid_request"),
        ({"max_tokens": -3}, "invalid_request"),
        ({"tokens": (1, 512)}, "invalid_request"),
        ({"tokens": (1, -1)}, "invalid_request"),
        ({"max_tokens": 1022}, "context_length_exceeded"),
        ({"tokens": (1,) * 2000}, "context_length_exceeded"),
    ],
)
def test_what_cannot_be_done_ends_with_the_reason(tiny, bad, code):
    _, ended = serve(make_work(tiny), request(**bad))
    assert (ended["r"].code, ended["r"].retryable) == (code, False)
    assert ended["r"].param is not None or code == "context_length_exceeded"


def test_a_full_queue_refuses_new_requests_but_not_resumed_ones(tiny):
    work, out = make_work(tiny, max_waiting=2), Outputs()
    for name in "abc":
        work.accept(request(name), G, 0.0, out)
    work.accept(request("resumed", resumed_tokens=1), G, 0.0, out)
    tokens, ended = run(work, out)
    assert (ended["c"].code, ended["c"].retryable) == ("queue_full", True)
    assert set(tokens) == {"a", "b", "resumed"}


def test_requests_over_the_memory_wait_and_are_served(tiny):
    room = Room(budget_bytes=2 * 256 * 512, bytes_per_token=EACH)
    work, out = make_work(tiny, room), Outputs()
    for i in range(7):
        work.accept(request(f"r{i}"), G, 0.0, out)
    work.step(0.0, out)
    assert (work.running, work.waiting) == (2, 5)
    assert work.reserved_bytes() <= room.budget_bytes
    tokens, ended = run(work, out)
    assert all(len(t) == 5 for t in tokens.values())
    assert len(ended) == 7


def squeezed(tiny):
    """An engine whose governor gave nearly all memory to another."""
    work = make_work(tiny)
    work.room = Room(1000, EACH)
    return work


def test_a_request_that_does_not_fit_waits_for_a_larger_budget(tiny):
    work, out = squeezed(tiny), Outputs()
    work.accept(request(), G, 0.0, out)
    work.expire(MEMORY_PATIENCE_S - 1, out)
    assert (work.waiting, work.waiting_bytes()) == (1, 256 * 512)
    assert not work.can_step  # so nobody steps in vain
    work.room = ROOMY
    assert work.can_step
    assert run(work, out)[1]["r"].reason == "length"


def test_a_request_that_gets_no_memory_is_refused_in_the_end(tiny):
    work, out = squeezed(tiny), Outputs()
    work.accept(request(), G, 0.0, out)
    work.expire(MEMORY_PATIENCE_S + 1, out)
    assert collect(out)[1]["r"].code == "queue_full"
    assert collect(out)[1]["r"].retry_after_s


def test_a_request_that_can_never_fit_is_refused_at_once_and_for_good(tiny):
    _, ended = serve(make_work(tiny, Room(1000, EACH)), request())
    assert (ended["r"].code, ended["r"].retryable) == ("invalid_request", False)


def test_a_closed_node_steps_in_vain_for_nobody_and_refuses_in_the_end(tiny):
    work, out = make_work(tiny), Outputs()
    work.room = Room(1 << 30, EACH, open=False)
    work.accept(request("new"), G, 0.0, out)
    work.accept(request("resumed", resumed_tokens=1), G, 0.0, out)
    assert work.busy
    assert not work.can_step
    work.expire(9.0, out)  # however long it waited before the door closed
    work.expire(9.0 + MEMORY_PATIENCE_S - 1, out)
    assert not out.by_gateway
    work.expire(9.0 + MEMORY_PATIENCE_S + 1, out)
    assert collect(out)[1]["new"].code == "queue_full"
    assert work.waiting == 1


def test_those_who_wait_hear_that_the_engine_lives(tiny):
    work, out = make_work(tiny), Outputs()
    work.accept(request(), G, 0.0, out)
    work.sign_of_life(out)
    assert out.by_gateway == {G: ([], [])}


def test_two_gateways_may_use_the_same_id(tiny):
    work, out = make_work(tiny), Outputs()
    work.accept(request("r"), G, 0.0, out)
    work.accept(request("r"), b"other", 0.0, out)
    assert run(work, out)[0]["r"] == collect(out, b"other")[0]["r"]


def test_a_duplicate_is_dropped(tiny):
    tokens, ended = serve(make_work(tiny), request(), request())
    assert (len(tokens["r"]), len(ended)) == (5, 1)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_cancelled_request_ends_at_once_and_gives_nothing_more(tiny, steps):
    work, out = make_work(tiny), Outputs()
    work.accept(request(max_tokens=50), G, 0.0, out)
    for _ in range(steps):
        work.step(0.0, out)
    before = collect(out)[0]
    work.cancel(G, "r", 0.0, out)
    assert not work.busy
    work.step(0.0, out)
    tokens, ended = collect(out)
    assert tokens == before
    assert ended["r"].reason == "cancelled"


def test_cancelling_the_unknown_is_nothing(tiny):
    out = Outputs()
    make_work(tiny).cancel(G, "nobody", 0.0, out)
    assert not out.by_gateway


def test_a_request_past_its_deadline_ends(tiny):
    work, out = make_work(tiny), Outputs()
    work.accept(request("short", max_tokens=50, timeout_s=1.0), G, 0.0, out)
    work.accept(request("long", max_tokens=50, timeout_s=9.0), G, 0.0, out)
    work.step(0.0, out)
    work.expire(1.5, out)
    assert collect(out)[1]["short"].code == "request_timeout"
    assert "long" not in collect(out)[1]
    assert work.running == 1


def test_a_lost_gateway_frees_its_rows_and_leaves_the_others(tiny):
    work, out = make_work(tiny), Outputs()
    work.accept(request("a", max_tokens=50), G, 0.0, out)
    work.accept(request("b"), b"other", 0.0, out)
    work.step(0.0, out)
    work.lose_gateway(G)
    run(work, out)
    assert collect(out)[1] == {}
    assert collect(out, b"other")[1]["b"].reason == "length"


def test_everything_ends_when_told_to(tiny):
    work, out = make_work(tiny), Outputs()
    for name in "ab":
        work.accept(request(name, max_tokens=50), G, 0.0, out)
    work.step(0.0, out)
    work.fail_all(Draining("stopping"), out)
    ended = collect(out)[1]
    assert {e.code for e in ended.values()} == {"draining"}
    assert all(e.retryable for e in ended.values())
    assert not work.busy


def test_warming_up_counts_as_rows_and_keeps_to_their_number(tiny):
    work, out = make_work(tiny, Room(1 << 30, EACH, max_rows=1)), Outputs()
    work.warm(4, 8, 3)
    work.step(0.0, out)
    work.accept(request(), G, 0.0, out)
    work.step(0.0, out)
    assert (len(work._generator.batch.rows), work.running) == (1, 0)
    assert run(work, out)[1]["r"].reason == "length"


def test_everything_ends_made_up_rows_too(tiny):
    work, out = make_work(tiny), Outputs()
    work.warm(2, 8, 50)
    work.accept(request(max_tokens=50), G, 0.0, out)
    work.step(0.0, out)
    work.fail_all(Draining("stopping"), out)
    assert not work.busy
    assert not work.can_step
    assert work.kv_bytes == 0


def test_warming_up_answers_to_nobody(tiny):
    work, out = make_work(tiny), Outputs()
    work.warm(3, 8, 2)
    run(work, out)
    assert not out.by_gateway


def test_resumed_requests_go_first(tiny):
    work, out = make_work(tiny, Room(256 * 512, EACH)), Outputs()
    work.accept(request("new"), G, 0.0, out)
    work.accept(request("resumed", resumed_tokens=2), G, 0.0, out)
    run(work, out)
    assert [end.request_id for end in out.by_gateway[G][1]] == ["resumed", "new"]


def test_a_lower_priority_enters_first_and_is_read_first(tiny):
    work, out = make_work(tiny, Room(256 * 512, EACH)), Outputs()
    for name, priority in (("first", 0), ("later", 5), ("urgent", -5)):
        work.accept(request(name, priority=priority), G, 0.0, out)
    run(work, out)
    assert [end.request_id for end in out.by_gateway[G][1]] == ["urgent", "first", "later"]
    work, out = make_work(tiny), Outputs()
    for start, name, priority in ((1, "patient", 5), (2, "urgent", -5)):
        work.accept(request(name, range(start, start + 150), priority=priority), G, 0.0, out)
        work.step(0.0, out)  # the first is half read when the second comes
    run(work, out)
    assert [end.request_id for end in out.by_gateway[G][1]] == ["urgent", "patient"]


@pytest.mark.parametrize("seed", range(4))
def test_every_request_ends_in_exactly_one_way(tiny, seed):
    """Random arrivals, cancels, deadlines, lost gateways and bad input, all at once."""
    rng = random.Random(seed)
    work, out = make_work(tiny, Room(6 * 256 * 512, EACH), max_waiting=8), Outputs()
    names, lost = set(), set()
    for now in range(120):
        if rng.random() < 0.5:
            name = f"r{now}"
            names.add(name)
            work.accept(
                request(
                    name,
                    tokens=[rng.randrange(-1, 513) for _ in range(rng.choice([0, 1, 5, 90]))],
                    max_tokens=rng.choice([0, 1, 8, 40]),
                    timeout_s=rng.choice([3.0, 500.0]),
                    sampling=Sampling(temperature=rng.choice([0.0, 1.0]), seed=now),
                ),
                rng.choice([G, b"other"]),
                float(now),
                out,
            )
        if rng.random() < 0.2 and names:
            work.cancel(rng.choice([G, b"other"]), rng.choice(sorted(names)), float(now), out)
        if rng.random() < 0.02:
            lost |= {n for n in names if n not in collect(out, b"other")[1]}
            work.lose_gateway(b"other")
        work.expire(float(now), out)
        work.step(float(now), out)
    run(work, out, now=1e9)
    ends = [e.request_id for _, ended in out.by_gateway.values() for e in ended]
    assert len(ends) == len(set(ends))
    assert names - set(ends) <= lost
    assert all(isinstance(e, Finished | Failed) for _, x in out.by_gateway.values() for e in x)
    assert (work.running, work.waiting, work.kv_bytes) == (0, 0, 0)


def test_a_request_whose_turn_would_come_too_late_is_refused_at_once(tiny):
    work, out = make_work(tiny, Room(256 * 512, EACH)), Outputs()
    for i in range(8):
        work._ends.add(float(i))  # one a second
    work.accept(request("a"), G, 8.0, out)
    work.accept(request("b"), G, 8.0, out)
    work.accept(request("hasty", timeout_s=0.5), G, 8.0, out)
    ended = collect(out)[1]["hasty"]
    assert (ended.code, ended.retryable) == ("queue_full", True)
    assert ended.retry_after_s > 0


def test_log_probabilities_come_with_their_tokens(tiny):
    out = Outputs()
    work = make_work(tiny)
    work.accept(request("asked", logprobs=3), G, 0.0, out)
    work.accept(request("not"), G, 0.0, out)
    run(work, out)
    for delta in out.by_gateway[G][0]:
        assert len(delta.logprobs) == (delta.request_id == "asked")
        for one in delta.logprobs:
            assert one.logprob == one.top[0][1]  # it is greedy
            assert one.top[0][0] == delta.tokens[0]


def test_new_sequences_are_quantised_when_memory_is_short(tiny):
    work, out = make_work(tiny, Room(1 << 30, {16: 512, 8: 272, 4: 144})), Outputs()
    work._bits = "auto"
    work.accept(request(), G, 0.0, out)
    assert work.waiting_bytes() == 256 * 512
    for bits, each in ((8, 272), (4, 144)):
        work.scarce_bits = bits
        assert work.waiting_bytes() == 256 * each
    work.scarce_bits = 8
    assert work._bits_for(9000) == 4


def test_where_one_precision_does_not_work_the_next_better_one_is_used(tiny):
    work = make_work(tiny, Room(1 << 30, {16: 512, 8: 272}))
    work._bits = 4
    assert work._bits_for(100) == 8
    work._bits, work.scarce_bits = "auto", 8
    assert work._bits_for(9000) == 8
    work.room = work._capacity = Room(1 << 30, EACH)
    assert work._bits_for(9000) == 16


def test_what_only_fits_quantised_is_quantised_and_what_may_not_be_is_refused_for_good(tiny):
    room = Room(2 * 256 * 272, {16: 512, 8: 272, 4: 144})
    long = request(tokens=[1] * 400)
    for bits, fits in (("auto", True), (8, True), (4, True), (16, False)):
        work, out = make_work(tiny, room), Outputs()
        work._bits = bits
        work.accept(long, G, 0.0, out)
        assert work.waiting_bytes() == (
            fits and 512 * room.bytes_per_token[8 if bits == "auto" else bits]
        )
        assert bool(out.by_gateway) != fits
    assert collect(out)[1]["r"].code == "invalid_request"
