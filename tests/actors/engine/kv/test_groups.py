import mlx.core as mx
import pytest

from actors.engine.kv.groups import Arrived, GroupedCaches
from actors.engine.kv.precision import FULL, Precision, cost, group_size_for, pack, unpack

pytestmark = pytest.mark.mlx
EIGHT = Precision(8, 64)


def values(row, tokens, start=0):
    """(1, 2, tokens, 64), different everywhere."""
    mx.random.seed(row)
    return mx.random.normal((1, 2, 512, 64))[:, :, start : start + tokens]


def arrived(row, tokens, precision=FULL):
    held = pack(values(row, tokens), precision)
    return Arrived([0], tokens, [held], [held])


def feed(caches, rows):
    """One step: each row gets its own next values; `rows` as (row, tokens so far)."""
    caches.begin()
    new = mx.concatenate([values(row, 1, tokens) for row, tokens in rows])
    caches.layers[0].update_and_fetch(new, new)
    caches.advance()


def close(found, expected, tolerance):
    return mx.abs(found - expected).max().item() <= tolerance


@pytest.mark.parametrize(("precision", "tolerance"), [(FULL, 0.0), (EIGHT, 0.03)])
def test_rows_keep_what_is_theirs_as_others_come_and_go(precision, tolerance):
    caches = GroupedCaches(1)
    rows = [[1, 5], [2, 300], [3, 40]]
    places = [caches.join(arrived(row, n, precision), precision, 512) for row, n in rows]
    assert places == [0, 1, 2]
    for _ in range(3):
        feed(caches, rows)
        rows = [[row, n + 1] for row, n in rows]
    caches.keep([0, 2])  # the longest goes, and its width with it
    rows = [rows[0], rows[2]]
    assert caches.groups[0].end == 43  # tokens
    feed(caches, rows)
    for place, (row, n) in enumerate(rows):
        (cache,) = caches.extract(place, n + 1)
        assert cache.offset == n + 1
        assert close(cache.keys, values(row, n + 1), tolerance)
        assert close(cache.values, values(row, n + 1), tolerance)


def test_rows_lie_in_the_order_of_their_groups():
    caches = GroupedCaches(1)
    assert caches.join(arrived(1, 5), FULL, 512) == 0
    assert caches.join(arrived(2, 7, EIGHT), EIGHT, 512) == 1
    assert caches.join(arrived(3, 9), FULL, 2048) == 2
    assert caches.join(arrived(4, 6), FULL, 512) == 1  # at the end of its group
    caches.begin()
    assert caches.offsets.tolist() == [5, 6, 7, 9]
    assert [mask is None for mask in caches.masks] == [False, True, True]
    caches.keep([1, 3])
    assert [group.rows for group in caches.groups] == [1, 1]
    caches.keep([])
    assert (caches.groups, caches.nbytes) == ([], 0)


def test_only_the_first_tokens_are_extracted():
    caches = GroupedCaches(1)
    caches.join(arrived(1, 50), FULL, 512)
    (cache,) = caches.extract(0, 20)
    assert cache.keys.shape == (1, 2, 20, 64)
    assert close(cache.keys, values(1, 20), 0.0)


@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_packed_comes_back_nearly_and_costs_what_is_said(bits):
    precision, whole = Precision(bits, 64), values(1, 30)
    parts = pack(whole, precision)
    assert close(unpack(parts, precision), whole, 6 / 2**bits)
    assert sum(part.nbytes for part in parts) == pytest.approx(whole.nbytes * cost(precision, 4))


def test_heads_that_no_group_divides_stay_as_they_are():
    assert [group_size_for(w) for w in (128, 96, 80, 16)] == [64, 32, 0, 0]
    assert group_size_for(128, 96) == 32


def test_a_long_row_does_not_widen_short_ones_that_may_become_as_long():
    caches = GroupedCaches(1)
    rows = [(1, 5), (2, 1900), (3, 9), (4, 1800)]
    wide = [mx.zeros((1, 2, n, 64)) for _, n in rows]
    places = [
        caches.join(Arrived([0], n, [(held,)], [(held,)]), FULL, 2048)
        for held, (_, n) in zip(wide, rows, strict=True)
    ]
    assert places == [0, 1, 1, 3]
    assert [(group.rows, group.end) for group in caches.groups] == [(2, 9), (2, 1900)]
