import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engine.reading_cost import pairs
from actors.engine.reading_plan import MIN_CHUNK_TOKENS, PATIENCE, Pace, Unread, order, plan

PROMPTS = st.lists(
    st.builds(
        Unread,
        arrived_at=st.floats(0, 100),
        unread=st.integers(0, 5000),
        done=st.integers(0, 5000),
        alone=st.booleans(),
    ),
    max_size=8,
)


def prompt(unread, arrived_at=0.0, done=0, alone=False):
    return Unread(arrived_at, unread, done, alone)


def test_a_short_prompt_overtakes_a_long_one():
    assert order([prompt(30_000), prompt(20, arrived_at=1.0)], 0.001) == [1, 0]


def test_but_not_for_ever():
    late = PATIENCE * 30_000 * 0.001 + 1
    assert order([prompt(30_000), prompt(20, arrived_at=late)], 0.001) == [0, 1]


def test_a_long_prompt_is_read_in_chunks_alone():
    assert plan([prompt(5000), prompt(4000)], 512) == [(0, 512)]


def test_short_prompts_are_read_together_as_far_as_the_chunk_goes():
    prompts = [prompt(100) for _ in range(8)]
    assert plan(prompts, 512) == [(i, 100) for i in range(5)]


def test_very_different_ones_are_not():
    assert plan([prompt(10), prompt(30), prompt(400)], 4096) == [(0, 10), (1, 30)]
    assert plan([prompt(10), prompt(12, done=5000)], 4096) == [(0, 10)]


def test_those_who_cannot_share_are_alone():
    assert plan([prompt(10, alone=True), prompt(10)], 512) == [(0, 10)]
    assert plan([prompt(10), prompt(10, alone=True)], 512) == [(0, 10)]


@given(PROMPTS, st.integers(MIN_CHUNK_TOKENS, 4096))
def test_a_plan_reads_something_and_keeps_to_the_chunk(prompts, chunk):
    chosen = plan(prompts, chunk)
    assert bool(chosen) == bool(prompts)
    assert len({place for place, _ in chosen}) == len(chosen)
    if len(chosen) > 1:
        assert all(count == prompts[place].unread for place, count in chosen)
        assert len(chosen) * max(count for _, count in chosen) <= chunk
    for place, count in chosen:
        assert count == min(prompts[place].unread, chunk)


def feed(pace, fixed_s, token_s, steps=60):
    """Let it read on a machine of this speed while others decode; the last chunk."""
    for _ in range(steps):
        chunk = pace.chunk_tokens(0, decoding=True)
        pace.measured(chunk, pairs(chunk, 0), fixed_s + token_s * chunk)
    return pace.chunk_tokens(0, decoding=True)


def test_chunks_grow_to_what_others_can_wait_for():
    pace = Pace(2048, max_stall_s=0.05)
    assert pace.chunk_tokens(0, decoding=True) == 64
    assert feed(pace, fixed_s=0.0, token_s=0.001) == pytest.approx(40, abs=1)


@pytest.mark.parametrize(("token_s", "largest"), [(0.0001, 2048), (0.002, 1000), (0.5, 128)])
def test_chunks_that_nobody_waits_for_grow_to_the_limit_but_never_take_long(token_s, largest):
    pace, chunks = Pace(2048, max_stall_s=0.05), []
    for _ in range(60):
        chunks.append(pace.chunk_tokens(0, decoding=False))
        pace.measured(chunks[-1], pairs(chunks[-1], 0), token_s * chunks[-1])
    assert chunks[0] == 512
    assert chunks[-1] == pytest.approx(largest, rel=0.02)


def test_the_fixed_part_of_a_step_is_part_of_the_wait():
    chunk = feed(Pace(2048, max_stall_s=0.05), fixed_s=0.02, token_s=0.0005)
    assert 36 <= chunk <= 46


def test_where_the_fixed_part_is_longer_than_the_wait_half_the_work_is_reading_all_the_same():
    chunk = feed(Pace(4096, max_stall_s=0.05), fixed_s=0.07, token_s=0.0001)
    assert 500 <= chunk <= 800


def test_it_follows_a_machine_that_slows_down_and_recovers():
    pace = Pace(2048, max_stall_s=0.05)
    assert 76 <= feed(pace, 0.0, 0.0005) <= 84
    assert feed(pace, 0.0, 0.002) <= 22
    assert feed(pace, 0.0, 0.0005) >= 72


def test_deep_in_a_prompt_chunks_shrink_before_one_has_taken_too_long():
    pace, depth, waits = Pace(2048, max_stall_s=0.05), 0, []
    for _ in range(200):
        chunk = pace.chunk_tokens(depth, decoding=True)
        waits.append(0.003 + 0.0002 * chunk + 3e-7 * pairs(chunk, depth))
        pace.measured(chunk, pairs(chunk, depth), waits[-1])
        depth = (depth + chunk) % 8000
    assert max(waits[:10]) < 0.08  # while it learns
    assert max(waits[10:]) < 0.044
    assert sum(waits[10:]) / len(waits[10:]) > 0.036


def test_a_slow_machine_reads_a_little_all_the_same():
    pace = Pace(512, max_stall_s=0.05)
    pace.measured(16, pairs(16, 0), 10.0)
    assert pace.chunk_tokens(0, decoding=True) == MIN_CHUNK_TOKENS


@given(
    st.lists(
        st.tuples(st.integers(1, 4096), st.integers(0, 200_000), st.floats(1e-6, 100)), max_size=50
    ),
    st.floats(0.001, 10),
)
def test_a_chunk_is_within_its_bounds_whatever_was_measured(measured, stall):
    pace = Pace(2048, stall)
    for tokens, depth, took_s in measured:
        pace.measured(tokens, pairs(tokens, depth), took_s)
        assert min(pace.cost.fixed_s, pace.cost.token_s, pace.cost.pair_s) >= 0.0
        assert MIN_CHUNK_TOKENS <= pace.chunk_tokens(depth, decoding=True) <= 2048
        assert MIN_CHUNK_TOKENS <= pace.chunk_tokens(depth, decoding=False) <= 2048
