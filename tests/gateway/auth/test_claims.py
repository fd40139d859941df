import pytest

from config.errors import Unauthenticated
from gateway.auth.claims import identity_of
from gateway.auth.identity import Identity, KeyLimits
from tests.gateway.auth.signing import settings

TENANTS = {"acme": KeyLimits(concurrent_streams=9)}


def identity(claims, **more):
    return identity_of({"sub": "ann"} | claims, settings(**more), TENANTS)


def test_the_least():
    assert identity({}) == Identity(name="ann", key_id="jwt:ann")


def test_everything():
    claims = {
        "tenant": "acme",
        "role": "admin",
        "models": ["a", "b"],
        "limits": {"requests_per_minute": 5},
    }
    assert identity(claims) == Identity(
        name="ann",
        tenant="acme",
        role="admin",
        key_id="jwt:ann",
        models=frozenset({"a", "b"}),
        limits=KeyLimits(5),
        tenant_limits=TENANTS["acme"],
    )


def test_claims_of_other_names():
    claims = {"org": "acme", "https://example.org/roles": ["x", "boss"], "scope": "a"}
    found = identity(
        claims,
        tenant_claim="org",
        role_claim="https://example.org/roles",
        admin_role="boss",
        models_claim="scope",
    )
    assert (found.tenant, found.role, found.models) == ("acme", "admin", {"a"})


def test_a_claim_inside_another():
    claims = {"realm_access": {"roles": ["admin"]}}
    assert identity(claims, role_claim="realm_access.roles").role == "admin"
    assert identity(claims, role_claim="realm_access.none").role == "user"
    assert identity({"realm_access": 5}, role_claim="realm_access.roles").role == "user"


@pytest.mark.parametrize("role", ["user", "Admin", "not admin", "admins", "", [], ["a", "admin "]])
def test_nearly_an_admin_is_none(role):
    assert identity({"role": role}).role == "user"


def test_a_single_model_needs_no_list():
    assert identity({"models": "a b"}).models == {"a b"}


def test_no_models_at_all_are_not_all_models():
    assert identity({"models": []}).models == frozenset()


WRONG = [
    {"sub": ""},
    {"sub": 5},
    {"sub": "a\nb"},
    {"sub": "x" * 257},
    {"tenant": 5},
    {"tenant": ""},
    {"tenant": ["acme"]},
    {"role": 5},
    {"role": [5]},
    {"role": {"admin": True}},
    {"models": 5},
    {"models": [5]},
    {"models": {"a": 1}},
    {"models": ["m"] * 1001},
    {"limits": 5},
    {"limits": [5]},
    {"limits": {"requests_per_minute": "many"}},
    {"limits": {"requests_per_minute": True}},
    {"limits": {"requests_per_minute": -1}},
    {"limits": {"requests_per_hour": 5}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:40])
def test_a_claim_of_the_wrong_form_is_refused_and_never_passed_over(wrong):
    (name,) = wrong
    with pytest.raises(Unauthenticated, match=f"claim '{name}' should be"):
        identity(wrong)
