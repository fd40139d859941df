"""How memory is shared out, and what is done as it fills."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kv_governor.policy import Demand, Level, Plan, changes, plan
from config.settings import KVCacheSettings
from transport.messages.control import Budget

HALF = KVCacheSettings(budget_fraction=0.5)
# Nothing held back below the marks: round numbers.
ALL = KVCacheSettings(budget_fraction=0.5, soft_watermark=1.0, hard_watermark=1.0)
EMPTY = Plan(0, {})


def demand(held=0, waiting=0, weights=1000, active=0, stored=0, pinned=0, idle_s=0.0):
    return Demand(
        weights_bytes=weights,
        held_bytes=held,
        waiting_bytes=waiting,
        active_bytes=active,
        stored_bytes=stored,
        pinned_bytes=pinned,
        idle_s=idle_s,
    )


def shares(demands, limit=20_000):
    found = plan(demands, limit, ALL, EMPTY)
    return {engine_id: budget.kv_bytes for engine_id, budget in found.budgets.items()}


def one(before=EMPTY, policy=HALF, **has):
    """The plan for a single engine on a node with 9000 bytes for caches."""
    return plan({"a": demand(**has)}, 20_000, policy, before)


def test_one_engine_gets_what_the_weights_leave():
    assert shares({"a": demand()}) == {"a": 9000}


def test_what_is_promised_stays_clear_of_the_hard_watermark():
    """A node that is merely full must not close."""
    assert one().budgets["a"].kv_bytes == int(9000 * (0.85 + 0.97) / 2)
    assert one(held=int(9000 * 0.91)).budgets["a"].admit


def test_idle_engines_share_alike():
    assert shares({"a": demand(), "b": demand()}) == {"a": 4000, "b": 4000}


def test_need_decides_above_the_floor():
    assert shares({"a": demand(held=3000, waiting=2000), "b": demand()}) == {"a": 5500, "b": 2500}
    assert shares({"a": demand(waiting=90_000), "b": demand()}) == {"a": 6000, "b": 2000}


def test_a_small_need_takes_nothing_from_what_another_has_stored():
    assert shares({"a": demand(held=100), "b": demand(stored=5000)}) == {"a": 2500, "b": 5500}


def test_a_need_goes_before_what_another_has_stored():
    found = shares({"a": demand(waiting=5500), "b": demand(stored=6000)})
    assert found["b"] < 6000
    assert found["a"] <= 8000 - 6000  # until the other has let go of it
    later = shares({"a": demand(waiting=5500), "b": demand(stored=found["b"])})
    assert later == {"a": 5500, "b": 2500}


def test_what_one_holds_beyond_its_share_is_not_promised_to_another():
    demands = {"a": demand(held=7500), "b": demand(waiting=100_000)}
    found = shares(demands)
    assert found["a"] < 7500
    assert found["b"] <= 8000 - 7500


def test_when_all_is_held_there_is_nothing_to_take():
    demands = {"a": demand(held=20_000), "b": demand(held=20_000)}
    assert shares(demands) == {"a": 4000, "b": 4000}


def test_weights_over_the_budget_leave_nothing():
    assert shares({"a": demand(weights=50_000)}) == {"a": 0}
    assert shares({"a": demand(weights=50_000, held=10)}) == {"a": 0}


def test_weights_that_are_to_come_take_their_part_and_stores_go_first():
    beside = plan({"a": demand(held=1000, stored=3000)}, 20_000, HALF, EMPTY, 5000)
    assert beside.node_kv_bytes == 4000
    assert (beside.level, beside.budgets["a"].kv_bytes) == (Level.EVICTING, 3639)
    assert beside.budgets["a"].stored_bytes == 1819
    crowded = plan({"a": demand(held=3900)}, 20_000, HALF, EMPTY, 5000)
    assert crowded.level is Level.CLOSED
    assert plan({"a": demand()}, 20_000, HALF, EMPTY, 50_000).node_kv_bytes == 0


def test_below_the_soft_watermark_stores_grow_up_to_it():
    found = one(held=1000, stored=2000)
    assert (found.level, found.bits) == (Level.FREE, None)
    assert found.budgets["a"].stored_bytes == 4094  # stored_fraction of its share
    assert one(held=5000, stored=2000).budgets["a"].stored_bytes == 2000 + 650


def test_above_the_soft_watermark_stores_shrink_that_of_the_idle_engine_first():
    demands = {
        "a": demand(held=3000, stored=2000, idle_s=1.0),
        "b": demand(stored=2500, pinned=2400, idle_s=9.0),
    }
    found = plan(demands, 20_000, HALF, EMPTY)
    assert (found.level, found.bits) == (Level.EVICTING, None)
    assert found.budgets["b"].stored_bytes == 2400
    assert found.budgets["a"].stored_bytes == 2000 - (7500 - 6800 - 100)


def test_when_nothing_is_left_to_evict_new_caches_are_quantised():
    found = one(held=7700, stored=500)
    assert (found.level, found.bits) == (Level.QUANTISING, 8)
    assert found.budgets["a"].bits == 8
    assert found.budgets["a"].stored_bytes == 0
    assert one(held=8200).bits == 4
    assert one(held=8600, stored=200).level is Level.QUANTISING


def test_bits_come_back_only_when_there_is_room_again():
    before = one(held=8200)
    assert one(before, held=7800).bits == 4
    before = one(before, held=7700)
    assert before.bits == 8
    assert one(before, held=7300).bits == 8
    assert one(before, held=7000).bits is None
    assert one(EMPTY, held=7300).bits is None


@pytest.mark.parametrize("bits", [16, 8, 4])
def test_fixed_bits_are_left_alone(bits):
    assert one(policy=KVCacheSettings(budget_fraction=0.5, bits=bits), held=8200).bits is None


def test_above_the_hard_watermark_nothing_is_admitted():
    assert one(held=8700).budgets["a"].admit
    assert one(held=8800).level is Level.CLOSED
    assert not one(held=8800).budgets["a"].admit
    assert not one(held=10, active=9900).budgets["a"].admit


def test_what_can_be_evicted_closes_no_door():
    assert one(held=5000, stored=3900).budgets["a"].admit
    assert not one(held=5000, stored=3900, pinned=3900).budgets["a"].admit


def test_with_nothing_held_the_door_is_never_closed():
    assert one(active=9900).budgets["a"].admit


def test_the_wired_limit_is_shared_out_once():
    found = plan({"a": demand(), "b": demand(weights=3000)}, 20_000, ALL, EMPTY)
    assert [budget.wired_bytes for budget in found.budgets.values()] == [4000, 6000]
    crowded = plan({"a": demand(weights=30_000), "b": demand(weights=10_000)}, 20_000, HALF, EMPTY)
    assert [budget.wired_bytes for budget in crowded.budgets.values()] == [7500, 2500]


def test_only_noticeable_changes_are_sent_and_then_all():
    sent = {"a": Budget(5000), "b": Budget(5000), "c": Budget(0)}
    small = Plan(10_000, {"a": Budget(5400), "b": Budget(4600), "c": Budget(0)})
    assert changes(small, sent) == {}
    large = Plan(10_000, {"a": Budget(5600), "b": Budget(4400), "c": Budget(0)})
    assert set(changes(large, sent)) == {"a", "b"}


@pytest.mark.parametrize(
    "budget", [Budget(1, False), Budget(1, stored_bytes=1000), Budget(1, bits=8)]
)
def test_what_matters_at_once_is_noticeable(budget):
    assert changes(Plan(10_000, {"a": Budget(1)}), {}) == {"a": Budget(1)}
    assert changes(Plan(10_000, {"a": budget}), {"a": Budget(1)}) == {"a": budget}


amounts = st.integers(0, 10**12)
demands_of_a_node = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        Demand,
        weights_bytes=amounts,
        held_bytes=amounts,
        waiting_bytes=amounts,
        active_bytes=amounts,
        stored_bytes=amounts,
        pinned_bytes=amounts,
        idle_s=st.floats(0, 1e6),
    ),
    min_size=1,
)
plans = st.builds(Plan, amounts, st.just({}), st.sampled_from(Level), st.sampled_from([None, 8, 4]))


@settings(deadline=None)
@given(demands_of_a_node, st.integers(0, 10**13), plans, amounts)
def test_budgets_never_exceed_the_node(demands, limit, before, coming):
    policy = KVCacheSettings()
    found = plan(demands, limit, policy, before, coming)
    budgets = found.budgets
    assert budgets.keys() == demands.keys()
    assert all(0 <= budget.stored_bytes <= budget.kv_bytes for budget in budgets.values())
    assert sum(budget.kv_bytes for budget in budgets.values()) <= found.node_kv_bytes
    weights = coming + sum(demand.weights_bytes for demand in demands.values())
    assert found.node_kv_bytes <= max(0, policy.budget_fraction * limit - weights)
    assert sum(b.wired_bytes for b in budgets.values()) <= policy.budget_fraction * limit
    held = {id_: demand.held_bytes + demand.stored_bytes for id_, demand in demands.items()}
    in_use = sum(max(budget.kv_bytes, held[id_]) for id_, budget in budgets.items())
    assert in_use <= max(found.node_kv_bytes, sum(held.values()))
    assert found.bits is None or found.level >= Level.QUANTISING
