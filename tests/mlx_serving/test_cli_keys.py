import json
import time

import pytest

from gateway.auth.key_ring import KeyRing
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import digest
from mlx_serving.cli import main


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def run(file, capsys):
    """The exit code and what was printed by a command with the file."""

    def run(*words, code=0):
        assert main(["keys", *words, "--keys-file", str(file)]) == code
        return capsys.readouterr()

    return run


def test_a_created_key_is_good_and_only_its_hash_is_kept(run, file):
    key = run("create", "ann").out.removesuffix("\n")
    found = KeyRing(str(file), {}).identify(key, 0.0, time.time())
    assert (found.name, found.role, found.models) == ("ann", "user", None)
    assert key not in file.read_text()
    assert digest(key).hex() in file.read_text()


def test_what_goes_to_a_terminal_tells_the_id(run, file):
    (record,) = (run("create", "ann"), KeyStore(str(file)).read())[1]
    said = run("create", "bob").err
    assert record.id not in said
    assert KeyStore(str(file)).read()[1].id in said
    assert str(file) in said


def test_all_that_a_key_may_have(run, file):
    run("create", "ann", "--tenant", "acme", "--role", "admin", "--days", "2", "--model", "a",
        "--model", "b", "--requests-per-minute", "3", "--tokens-per-minute", "4",
        "--concurrent-streams", "5")  # fmt: skip
    (record,) = KeyStore(str(file)).read()
    assert (record.tenant, record.role, record.models) == ("acme", "admin", ("a", "b"))
    assert record.expires_time == record.created_time + 2 * 86_400
    limits = record.limits
    assert limits.requests_per_minute == 3
    assert (limits.tokens_per_minute, limits.concurrent_streams) == (4, 5)


def test_the_list(run, file):
    run("create", "ann", "--days", "30", "--model", "demo", "--tokens-per-minute", "9")
    run("create", "bob", "--role", "admin")
    ann, bob = KeyStore(str(file)).read()
    head, *rows = [line.split() for line in run("list").out.splitlines()]
    assert head == ["ID", "NAME", "TENANT", "ROLE", "EXPIRES", "MODELS", "LIMITS"]
    day = time.strftime("%Y-%m-%d", time.gmtime(ann.expires_time))
    assert rows[0] == [ann.id, "ann", "-", "user", day, "demo", "tokens_per_minute=9"]
    assert rows[1] == [bob.id, "bob", "-", "admin", "never", "all", "none"]


def test_an_expired_key_is_told_of(run, file, monkeypatch):
    run("create", "ann", "--days", "1")
    later = time.time() + 86_401
    monkeypatch.setattr(time, "time", lambda: later)
    assert " expired " in run("list").out


def test_the_list_as_json_has_no_hashes(run, file):
    key = run("create", "ann").out.strip()
    out = run("list", "--json").out
    (listed,) = json.loads(out)
    assert listed["name"] == "ann"
    assert digest(key).hex() not in out


def test_an_empty_list(run):
    assert run("list") == ("", "no keys\n")
    assert json.loads(run("list", "--json").out) == []


def test_a_revoked_key_is_gone(run, file):
    run("create", "ann")
    (record,) = KeyStore(str(file)).read()
    assert run("revoke", record.id).out == f"revoked: {record.id} (ann)\n"
    assert KeyStore(str(file)).read() == ()
    assert f"has no key '{record.id}'" in run("revoke", record.id, code=2).err


def test_the_file_is_found_as_the_server_finds_it(file, tmp_path, monkeypatch, capsys):
    config = tmp_path / "serving.yaml"
    config.write_text(f"auth: {{keys_file: {file}}}")
    assert main(["keys", "create", "ann", "--config", str(config)]) == 0
    monkeypatch.setenv("MLX_SERVING_AUTH__KEYS_FILE", str(file))
    assert main(["keys", "create", "bob"]) == 0
    assert [record.name for record in KeyStore(str(file)).read()] == ["ann", "bob"]


def test_without_a_file_one_is_asked_for(capsys):
    assert main(["keys", "list"]) == 2
    assert "--keys-file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 129, "\udcff"])
def test_a_name_is_plain_text(run, file, name):
    assert "expected plain text" in run("create", name, code=2).err
    assert not file.exists()


@pytest.mark.parametrize(
    "words",
    [["--days", "0"], ["--days", "x"], ["--tokens-per-minute", "0"], ["--role", "root"]],
)
def test_wrong_words_are_refused(run, file, words):
    assert "mlx-serving: " in run("create", "ann", *words, code=2).err
    assert not file.exists()


def test_a_broken_file_is_left_as_it_is(run, file):
    file.write_text("{")
    for words in (["create", "ann"], ["list"], ["revoke", "x"]):
        assert "no file of API keys" in run(*words, code=2).err
    assert file.read_text() == "{"


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["keys", "create", "ann", "--keys-file", str(tmp_path / "no" / "keys")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No such file or directory" in captured.err
