import multiprocessing
import stat

import pytest

from config.errors import ConfigError, ConflictingCommand
from gateway.auth import key_store
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import KeyRecord


def record(number, **more):
    return KeyRecord(
        id=f"{number:016x}", sha256=f"{number:064x}", name="ann", created_time=1, **more
    )


def add_some(path, first):
    store = KeyStore(path)
    for number in range(first, first + 20):
        store.add(record(number))


@pytest.fixture
def store(tmp_path):
    return KeyStore(str(tmp_path / "keys.json"))


def test_there_are_none_before_the_first(store):
    assert store.read() == ()


def test_added_keys_are_kept_in_order(store):
    store.add(record(2))
    store.add(record(1))
    assert KeyStore(str(store.path)).read() == (record(2), record(1))


def test_only_the_owner_may_read_it_whatever_it_was_before(store):
    store.path.write_text("")
    store.path.chmod(0o644)
    store.add(record(1))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_nothing_else_is_left_in_the_folder(store):
    store.add(record(1))
    assert list(store.path.parent.iterdir()) == [store.path]


def test_a_revoked_key_is_gone(store):
    store.add(record(1))
    store.add(record(2))
    assert store.revoke(record(1).id) == record(1)
    assert store.read() == (record(2),)


def test_an_unknown_key_cannot_be_revoked(store):
    store.add(record(1))
    with pytest.raises(ConfigError, match="has no key 'zz'"):
        store.revoke("zz")
    assert store.read() == (record(1),)


def test_a_broken_file_is_not_written_over(store):
    store.path.write_text("{broken")
    with pytest.raises(ConfigError, match="no file of API keys"):
        store.add(record(1))
    assert store.path.read_text() == "{broken"


def test_a_failed_write_leaves_the_old_file(store, monkeypatch):
    store.add(record(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_store.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.add(record(2))
    assert list(store.path.parent.iterdir()) == [store.path]
    assert store.read() == (record(1),)


def test_a_full_file_takes_no_more(store, monkeypatch):
    store.add(record(1))
    monkeypatch.setattr(key_store, "MAX_BYTES", store.path.stat().st_size + 10)
    with pytest.raises(ConfigError, match="no room for more keys"):
        store.add(record(2))
    assert store.read() == (record(1),)


def test_a_link_stays_one(store, tmp_path):
    store.add(record(1))
    link = tmp_path / "link.json"
    link.symlink_to(store.path)
    KeyStore(str(link)).add(record(2))
    assert link.is_symlink()
    assert len(store.read()) == 2


def test_who_changes_it_at_once_waits(store, monkeypatch):
    monkeypatch.setattr(key_store, "LOCK_S", 0.0)
    with store._locked(), pytest.raises(ConflictingCommand, match="somebody else"):
        KeyStore(str(store.path)).add(record(1))


@pytest.mark.processes
def test_no_key_is_lost_when_two_add_at_once(store):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=add_some, args=(str(store.path), n)) for n in (0, 100)]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    assert len(store.read()) == 40
