import asyncio

import pytest

from config.errors import Forbidden, Unauthenticated
from config.settings import AuthSettings, TenantSettings
from gateway.auth.cors import Cors
from gateway.auth.guard import Guard, check_role, credential
from gateway.auth.identity import LOCAL, Identity, KeyLimits
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import KeyRecord, digest, new_key
from tests.gateway.auth.signing import SECRET, settings, token


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "keys.json")


@pytest.fixture
def jwt(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return settings(hs256_secret_file=str(path))


def create(file, **more):
    key_id, key = new_key()
    record = KeyRecord(id=key_id, sha256=digest(key).hex(), name="ann", created_time=1, **more)
    KeyStore(file).add(record)
    return key


def identify(guard, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return guard.identify(given.get)


def refused(guard, **headers):
    with pytest.raises(Unauthenticated) as caught:
        identify(guard, **headers)
    return caught.value.message


def test_without_keys_everybody_at_the_machine_is_local():
    guard = Guard(AuthSettings(), Cors())
    assert identify(guard) is LOCAL
    assert identify(guard, host="127.0.0.1:8080", authorization="Bearer dummy") is LOCAL


def test_without_keys_foreign_pages_are_kept_out():
    guard = Guard(AuthSettings(), Cors())
    with pytest.raises(Forbidden):
        identify(guard, host="127.0.0.1:8080", origin="https://evil.example.org")
    with pytest.raises(Forbidden):
        identify(guard, host="evil.example.org:8080")


def test_with_keys_it_does_not_matter_under_which_name_one_asks(file):
    guard = Guard(AuthSettings(keys_file=file), Cors())
    key = create(file)
    headers = {"host": "llm.example.org", "origin": "https://chat.example.org"}
    assert identify(guard, x_api_key=key, **headers).name == "ann"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer {}"},
        {"authorization": "bearer  {} "},
        {"x-api-key": "{}"},
        {"x-api-key": "{}", "authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": "{}", "authorization": "Bearer "},
        {"authorization": "Bearer {}", "x-api-key": "other"},
    ],
)
def test_a_key_is_taken_from_either_header(file, headers):
    key = create(file, role="admin")
    given = {name: value.format(key) for name, value in headers.items()}
    assert Guard(AuthSettings(keys_file=file), Cors()).identify(given.get).role == "admin"


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": ""}, {"authorization": "Basic x"}, {"x-api-key": "  "}]
)
def test_who_sends_no_key_is_told_how(file, headers):
    assert credential(headers.get) == ""
    guard = Guard(AuthSettings(keys_file=file), Cors())
    with pytest.raises(Unauthenticated, match="Authorization: Bearer KEY"):
        guard.identify(headers.get)


def test_what_is_neither_key_nor_token_is_refused(file, jwt):
    guard = Guard(AuthSettings(keys_file=file, jwt=jwt), Cors())
    for junk in ("sk-proj-abc", "a.b", "a.b.c.d", "é", "sk-mlx-", "x" * 100_000, "." * 100_000):
        assert "not valid" in refused(guard, authorization=f"Bearer {junk}")


def test_keys_and_tokens_side_by_side(file, jwt):
    guard = Guard(AuthSettings(keys_file=file, jwt=jwt), Cors())
    assert identify(guard, x_api_key=create(file)).name == "ann"
    good = token("HS256", sub="bob")
    assert identify(guard, authorization=f"Bearer {good}").key_id == "jwt:bob"


def test_what_is_not_configured_is_refused(file, jwt):
    key, good = create(file), token("HS256")
    assert refused(Guard(AuthSettings(keys_file=file), Cors()), x_api_key=good)
    assert refused(Guard(AuthSettings(jwt=jwt), Cors()), x_api_key=key)


def test_tenants_have_limits_of_their_own_for_keys_and_tokens(file, jwt):
    tenants = (TenantSettings(name="acme", tokens_per_minute=5),)
    guard = Guard(AuthSettings(keys_file=file, jwt=jwt, tenants=tenants), Cors())
    key, good = create(file, tenant="acme"), token("HS256", tenant="acme")
    other = create(file, tenant="other")
    for given in (key, good):
        assert identify(guard, x_api_key=given).tenant_limits == KeyLimits(tokens_per_minute=5)
    assert identify(guard, x_api_key=other).tenant_limits is None


def test_time_passes_for_keys_and_tokens(file, jwt):
    wall = [1_000_000.0]
    guard = Guard(AuthSettings(keys_file=file), Cors(), wall_clock=lambda: wall[0])
    key = create(file, expires_time=1_000_010)
    identify(guard, x_api_key=key)
    wall[0] += 10
    assert refused(guard, x_api_key=key) == "this API key has expired"


def test_starting_tells_of_a_missing_file(file, caplog):
    Guard(AuthSettings(keys_file=file), Cors()).start()
    assert "no API key is valid" in caplog.text


def test_starting_and_closing(file, tmp_path, caplog):
    jwt = settings(jwks_url="http://127.0.0.1:9/none", hs256_secret_file=str(tmp_path / "none"))

    async def live():
        guard = Guard(AuthSettings(keys_file=file, jwt=jwt), Cors())
        guard.start()
        assert len(asyncio.all_tasks()) == 2
        await guard.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(live())
    assert "none" in caplog.text


def test_roles():
    check_role(Identity(), "user")
    check_role(LOCAL, "admin")
    check_role(LOCAL, "user")
    with pytest.raises(Forbidden, match="role admin"):
        check_role(Identity(), "admin")


def test_which_models_somebody_may_use():
    assert Identity().may_use("demo")
    assert Identity(models=frozenset({"demo"})).may_use("demo")
    assert not Identity(models=frozenset({"demo"})).may_use("other")
    assert not Identity(models=frozenset()).may_use("demo")
