"""Whose limits count."""

from config.limits import KeyLimits
from config.settings import LimitsSettings
from gateway.auth.identity import LOCAL, Identity
from gateway.limits.accounts import Accounts
from tests.gateway.dispatch.house import request
from transport.messages.control import Charge

DEFAULTS = LimitsSettings(key=KeyLimits(60, 1000), tenant=KeyLimits(concurrent_streams=9))


def test_without_limits_there_is_no_charge():
    accounts = Accounts(LimitsSettings())
    for identity in (LOCAL, Identity(key_id="k", tenant="t", limits=KeyLimits())):
        assert accounts.charge(identity) is None


def test_everybody_has_those_of_the_settings():
    accounts = Accounts(DEFAULTS)
    assert accounts.charge(LOCAL) == Charge("local", key_limits=DEFAULTS.key)
    known = Identity(name="n", key_id="k", tenant="t")
    assert accounts.charge(known) == Charge("k", "t", DEFAULTS.key, DEFAULTS.tenant)


def test_their_own_come_first_and_the_rest_is_filled_in():
    own, of_tenant = KeyLimits(5, concurrent_streams=2), KeyLimits(tokens_per_minute=7)
    known = Identity(key_id="k", tenant="t", limits=own, tenant_limits=of_tenant)
    charge = Accounts(DEFAULTS).charge(known)
    assert (charge.key_limits, charge.tenant_limits) == (
        KeyLimits(5, 1000, 2),
        KeyLimits(None, 7, 9),
    )
    charge = Accounts(LimitsSettings()).charge(known)
    assert (charge.key_limits, charge.tenant_limits) == (own, of_tenant)


def test_limits_of_a_tenant_need_a_tenant():
    accounts = Accounts(LimitsSettings(tenant=KeyLimits(5)))
    assert accounts.charge(Identity(key_id="k")) is None
    assert accounts.charge(Identity(key_id="k", tenant="t")).key_limits is None


def charges(prompts):
    return [[(it.charge.requests, it.charge.prompt) for it in one] for one in prompts]


def test_what_one_client_asks_for_at_once_counts_as_one_request():
    accounts = Accounts(DEFAULTS)
    ours = request(charge=accounts.charge(LOCAL))
    together = accounts.together([[ours, ours], [ours, ours]])
    assert charges(together) == [[(1, True), (0, False)], [(0, True), (0, False)]]
    assert {it.charge.group for one in together for it in one} == {1}
    [[other, _]] = accounts.together([[ours, ours]])
    assert other.charge.group == 2


def test_a_single_answer_is_left_as_it_is():
    accounts = Accounts(DEFAULTS)
    ours, free = request(charge=accounts.charge(LOCAL)), request()
    [[alone]] = accounts.together([[ours]])
    assert alone is ours
    [[one, two]] = accounts.together([[free, free]])
    assert one is two is free
