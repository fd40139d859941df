import stat

import pytest
from msgspec import structs

from config.settings import ResponsesSettings
from gateway.auth.identity import LOCAL, Identity
from gateway.responses import presence
from gateway.responses.ids import ItemIds, new_response_id
from gateway.responses.items import InputText, Message
from gateway.responses.presence import Presence, is_present
from gateway.responses.record import Record, cancelled, finished
from gateway.responses.shapes import ResponseObject
from gateway.responses.store import Store, tenant_of

NOW = 1_000_000_000.0
ONE, OTHER = tenant_of(Identity(tenant="one")), tenant_of(Identity(tenant="other"))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    return Store(tmp_path / "responses", ResponsesSettings(ttl_s=60.0), clock)


def record(text="Hi", now=NOW, status="completed", owner=""):
    response_id = new_response_id(now)
    item = Message(ItemIds(response_id).new("msg"), "user", [InputText(text)])
    response = ResponseObject(id=response_id, created_at=int(now), model="m", status=status)
    return Record(response=response, history=[], input=[item], owner=owner)


def test_any_store_of_the_folder_finds_what_one_kept(store, tmp_path, clock):
    kept = record()
    assert store.keep(ONE, kept)
    assert (
        Store(tmp_path / "responses", ResponsesSettings(), clock).get(ONE, kept.response.id) == kept
    )


def test_nobody_sees_what_is_another_s(store):
    kept = record()
    store.keep(ONE, kept)
    assert store.get(OTHER, kept.response.id) is None
    assert not store.delete(OTHER, kept.response.id)
    assert store.change(OTHER, kept.response.id, cancelled) is None
    assert store.get(ONE, kept.response.id) == kept


def test_keys_of_a_tenant_share_and_those_without_do_not():
    tenants = [
        tenant_of(it)
        for it in (
            Identity(tenant="x", key_id="1"),
            Identity(tenant="x", key_id="2"),
            Identity(key_id="x"),
            Identity(key_id="y"),
            LOCAL,
        )
    ]
    assert tenants[0] == tenants[1]
    assert len(set(tenants)) == 4


def test_files_are_private(store):
    store.keep(ONE, record())
    (folder,) = [it for it in store.folder.iterdir() if it.is_dir()]
    (file,) = folder.iterdir()
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "response_id", ["", "x", "../lock", "resp_", f"resp_{'0' * 47}/", f"resp_{'0' * 48}\n"]
)
def test_what_is_no_id_is_not_looked_for(store, response_id):
    assert store.get(ONE, response_id) is None
    assert not store.delete(ONE, response_id)


def test_what_is_deleted_is_gone_with_its_events(store):
    kept = record()
    store.keep(ONE, kept)
    store.events_path(ONE, kept.response.id).write_bytes(b"x")
    assert store.delete(ONE, kept.response.id)
    assert not store.delete(ONE, kept.response.id)
    assert not list((store.folder / ONE).iterdir())


def test_what_is_expired_is_not_found_and_swept(store, clock):
    kept = record()
    store.keep(ONE, kept)
    clock.now += 60
    assert store.get(ONE, kept.response.id) is None
    assert list((store.folder / ONE).iterdir())
    store.sweep()
    assert not list((store.folder / ONE).iterdir())


def test_the_bytes_are_bounded_without_being_asked(tmp_path, clock):
    store = Store(tmp_path / "r", ResponsesSettings(max_bytes=50_000), clock)
    first = record("x" * 10_000)
    store.keep(OTHER, first)
    for _ in range(20):
        clock.now += 1
        last = record("x" * 10_000, clock.now)
        assert store.keep(ONE, last)
        held = sum(it.stat().st_size for it in store.folder.rglob("resp_*"))
        assert held <= 50_000
    assert store.get(ONE, last.response.id) == last
    assert store.get(OTHER, first.response.id) == first


def test_what_is_larger_than_all_of_it_is_not_stored(tmp_path, clock):
    store = Store(tmp_path / "r", ResponsesSettings(max_bytes=1000), clock)
    assert not store.keep(ONE, record("x" * 1000))


def test_what_cannot_be_written_is_not_stored_and_leaves_nothing(store):
    kept = record()
    (store.folder / ONE).mkdir()
    (store.folder / ONE / f"{kept.response.id}.json").mkdir()  # a file cannot take its place
    assert not store.keep(ONE, kept)
    assert len(list((store.folder / ONE).iterdir())) == 1


def test_a_damaged_file_is_not_found(store):
    kept = record()
    store.keep(ONE, kept)
    (store.folder / ONE / f"{kept.response.id}.json").write_bytes(b"{")
    assert store.get(ONE, kept.response.id) is None


def test_a_change_depends_on_what_there_is(store):
    with_owner = Presence(store.folder)
    kept = record(status="in_progress", owner=with_owner.name)
    store.keep(ONE, kept)
    response_id = kept.response.id
    assert store.get(ONE, response_id) == kept
    assert store.change(ONE, response_id, cancelled).response.status == "cancelled"
    final = structs.replace(kept.response, status="completed")
    assert store.change(ONE, response_id, finished(final)).response.status == "cancelled"
    assert store.get(ONE, response_id).response.status == "cancelled"
    with_owner.close()


def test_what_a_dead_process_worked_on_has_failed(store):
    owner = Presence(store.folder)
    kept = record(status="in_progress", owner=owner.name)
    store.keep(ONE, kept)
    assert is_present(store.folder, owner.name)
    assert not store.is_given_up(ONE, kept.response.id)
    owner.close()
    assert store.is_given_up(ONE, kept.response.id)
    found = store.get(ONE, kept.response.id).response
    assert (found.status, found.error.code) == ("failed", "server_error")


def test_traces_of_the_dead_are_swept_and_those_of_the_living_are_not(store):
    owner = Presence(store.folder)
    (store.folder / "dead.alive").touch()
    store.sweep()
    assert [it.name for it in store.folder.glob("*.alive")] == [f"{owner.name}.alive"]
    assert is_present(store.folder, owner.name)
    owner.close()


def test_who_is_swept_before_the_lock_is_held_takes_another_file(store, monkeypatch):
    lock, locked = presence._locked_file, []

    def swept_once(path):
        fd = lock(path)
        if not locked:
            path.unlink()
        locked.append(fd)
        return fd

    monkeypatch.setattr(presence, "_locked_file", swept_once)
    owner = Presence(store.folder)
    assert len(locked) == 2
    assert is_present(store.folder, owner.name)
    owner.close()
