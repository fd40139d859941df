from hypothesis import given
from hypothesis import strategies as st

from actors.engine.admission import (
    CACHE_STEP_TOKENS,
    MAX_PASSED,
    NEVER_OVERTAKEN_S,
    Need,
    Reserved,
    Room,
    admit,
    bucket,
    ever_fits,
    reserved_bytes,
)

NEEDS = st.lists(
    st.builds(
        Need,
        tokens=st.integers(1, 9000),
        bits=st.sampled_from([16, 8, 4]),
        waited_s=st.floats(0, 10),
    ),
    max_size=20,
)


def needs(*tokens):
    return [Need(count) for count in tokens]


def room(tokens, **kwargs):
    return Room(tokens * 10, {16: 10, 8: 5, 4: 3}, **kwargs)


def test_admits_in_order_while_the_padded_batch_fits():
    assert admit(needs(256, 256, 256), [], room(512)) == [0, 1]


def test_a_row_is_as_wide_as_the_longest_of_its_class():
    assert reserved_bytes(needs(256, 500), room(0)) == 2 * 512 * 10


def test_one_long_row_does_not_make_short_rows_long():
    assert reserved_bytes(needs(256, 4096), room(0)) == (256 + 4096) * 10


def test_unless_the_model_pads_all_rows_alike():
    wide = 4096 + CACHE_STEP_TOKENS - 1  # they grow by a step from wherever they are
    assert reserved_bytes(needs(256, 4096), room(0, grouped=False)) == 2 * wide * 10


def test_quantised_rows_cost_less_and_are_a_group_of_their_own():
    both = [Need(256), Need(500, bits=8)]
    assert reserved_bytes(both, room(0)) == 256 * 10 + 512 * 5


def test_caches_that_do_not_grow_are_paid_by_the_row():
    assert reserved_bytes(needs(256, 256), room(0, bytes_per_row=7)) == 512 * 10 + 14


def test_layers_with_a_window_are_paid_up_to_it():
    the_room = room(0, grouped=False, windows={100: 3, 1000: 4})
    short, long = 45 + CACHE_STEP_TOKENS - 1, 5000 + CACHE_STEP_TOKENS - 1
    assert reserved_bytes(needs(45), the_room) == short * 10 + 100 * 3 + short * 4
    assert reserved_bytes(needs(5000), the_room) == long * 10 + 100 * 3 + 1000 * 4


def test_a_cap_on_rows_holds_even_with_memory_left():
    assert admit(needs(*[10] * 5), needs(10), room(10**6, max_rows=3)) == [0, 1]


def test_a_closed_node_admits_nothing():
    assert admit(needs(10), [], room(10**6, open=False)) == []


def test_what_does_not_fit_is_passed_by_smaller_ones_for_a_while():
    assert admit(needs(4096, 10), [], room(1024)) == [1]
    assert admit([Need(4096, waited_s=NEVER_OVERTAKEN_S), Need(10)], [], room(1024)) == []
    assert admit(needs(*[4096] * MAX_PASSED, 10), [], room(1024)) == []


def test_ever_fits_counts_whole_cache_steps():
    assert ever_fits(Need(256), room(256))
    assert not ever_fits(Need(257), room(511))


def test_a_class_holds_lengths_up_to_four_times_the_smallest():
    assert [bucket(n) for n in (1, 512, 513, 2048, 2049)] == [512, 512, 2048, 2048, 8192]


@given(NEEDS, NEEDS, st.integers(0, 10**6), st.booleans())
def test_what_is_admitted_fits_the_budget(waiting, running, tokens, grouped):
    the_room = room(tokens, grouped=grouped, windows={} if grouped else {700: 20})
    entering = admit(waiting, running, the_room)
    assert entering == sorted(set(entering))
    if entering:
        chosen = [waiting[place] for place in entering]
        assert reserved_bytes(running + chosen, the_room) <= the_room.budget_bytes


@given(NEEDS, st.booleans())
def test_prices_add_up_in_any_order(rows, grouped):
    the_room = room(0, grouped=grouped, windows={} if grouped else {700: 20})
    assert Reserved(rows, the_room).bytes == Reserved(rows[::-1], the_room).bytes
