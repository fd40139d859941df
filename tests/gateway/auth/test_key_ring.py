import pytest

from config.errors import Unauthenticated
from gateway.auth.identity import Identity, KeyLimits
from gateway.auth.key_ring import KeyRing
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import KeyRecord, digest, new_key
from gateway.auth.watched import LOOK_S

NOON = 1_800_000_000.0
TENANTS = {"acme": KeyLimits(tokens_per_minute=1000)}


@pytest.fixture
def store(tmp_path):
    return KeyStore(str(tmp_path / "keys.json"))


@pytest.fixture
def ring(store):
    return KeyRing(str(store.path), TENANTS)


def create(store, **more):
    key_id, key = new_key()
    store.add(KeyRecord(id=key_id, sha256=digest(key).hex(), name="ann", created_time=1, **more))
    return key_id, key


def refused(ring, key, now=0.0, now_time=NOON):
    with pytest.raises(Unauthenticated) as caught:
        ring.identify(key, now, now_time)
    return caught.value.message


def test_a_key_is_known_with_all_that_it_may(store, ring):
    limits = KeyLimits(5, 6, 7)
    key_id, key = create(store, tenant="acme", role="admin", models=("a", "b"), limits=limits)
    assert ring.identify(key, 0.0, NOON) == Identity(
        name="ann",
        tenant="acme",
        role="admin",
        key_id=key_id,
        models=frozenset({"a", "b"}),
        limits=limits,
        tenant_limits=TENANTS["acme"],
    )


def test_a_plain_key_may_use_all_models(store, ring):
    key_id, key = create(store)
    assert ring.identify(key, 0.0, NOON) == Identity(name="ann", key_id=key_id)


def test_every_other_key_is_refused(store, ring):
    _, key = create(store)
    _, other = new_key()
    wrong = [
        other,
        key[:-1],
        key + "x",
        key.swapcase(),
        key[:23] + other[23:],  # a known id with another secret
        "sk-mlx-",
        "sk-mlx-" + "é" * 40,
        "sk-mlx-\udcff",
        "",
    ]
    for each in wrong:
        assert refused(ring, each) == "this API key is not valid"


def test_a_key_expires(store, ring):
    _, key = create(store, expires_time=int(NOON))
    ring.identify(key, 0.0, NOON - 1)
    assert refused(ring, key) == "this API key has expired"


def test_a_new_key_is_good_after_the_next_look(store, ring):
    assert refused(ring, new_key()[1])
    _, key = create(store)
    assert refused(ring, key, LOOK_S / 2)
    ring.identify(key, LOOK_S, NOON)


def test_a_revoked_key_is_refused_after_the_next_look(store, ring):
    key_id, key = create(store)
    ring.identify(key, 0.0, NOON)
    store.revoke(key_id)
    assert refused(ring, key, LOOK_S)


def test_without_the_file_there_are_no_keys(store, ring, caplog):
    _, key = create(store)
    ring.identify(key, 0.0, NOON)
    store.path.unlink()
    assert refused(ring, key, LOOK_S)
    assert "no API key is valid" in caplog.text


@pytest.mark.parametrize("text", ["{broken", '{"keys": [{"id": 1}]}'])
def test_a_broken_file_leaves_the_keys_and_is_told_of_once(store, ring, caplog, text):
    _, key = create(store)
    ring.identify(key, 0.0, NOON)
    store.path.write_text(text)
    for now in (1.0, 2.0, 3.0):
        ring.identify(key, now * LOOK_S, NOON)
    assert caplog.text.count("the API keys stay as they were") == 1


def test_a_mended_file_counts_again(store, ring):
    _, key = create(store)
    good = store.path.read_text()
    store.path.write_text("{broken")
    assert refused(ring, key)
    store.path.write_text(good)
    ring.identify(key, LOOK_S, NOON)
