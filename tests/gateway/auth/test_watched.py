import os

import pytest

from config.errors import ConfigError
from gateway.auth.watched import LOOK_S, WatchedFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("one")
    path.chmod(0o600)
    return path


def test_the_first_look_is_a_change(path):
    assert WatchedFile(str(path), 10).changed(0.0)


def test_a_change_is_seen_at_the_next_look(path):
    file = WatchedFile(str(path), 10)
    file.changed(0.0)
    path.write_text("three")
    assert not file.changed(LOOK_S / 2)
    assert file.changed(LOOK_S)
    assert not file.changed(2 * LOOK_S)


def test_a_file_of_the_same_size_and_time_in_its_place_is_another(path):
    file = WatchedFile(str(path), 10)
    file.changed(0.0)
    aside = path.with_name("aside")
    aside.write_text("two")
    found = path.stat()
    os.utime(aside, ns=(found.st_atime_ns, found.st_mtime_ns))
    aside.rename(path)
    assert file.changed(LOOK_S)


def test_coming_and_going_are_changes(path):
    file = WatchedFile(str(path), 10)
    file.changed(0.0)
    path.unlink()
    assert file.changed(1.0)
    assert not file.changed(2.0)
    path.write_text("one")
    assert file.changed(3.0)


def test_a_missing_file_is_a_change_at_first(tmp_path):
    file = WatchedFile(str(tmp_path / "gone"), 10)
    assert file.changed(0.0)
    with pytest.raises(FileNotFoundError):
        file.read()


def test_reading(path):
    assert WatchedFile(str(path), 3).read() == b"one"


def test_the_home_folder(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert WatchedFile("~/file", 10).read() == b"one"


def test_a_large_file_is_refused(path):
    with pytest.raises(ConfigError, match="larger than 2 bytes"):
        WatchedFile(str(path), 2).read()


def test_a_file_that_everybody_may_write_is_refused(path):
    path.chmod(0o602)
    with pytest.raises(ConfigError, match="chmod o-w"):
        WatchedFile(str(path), 10).read()


def test_a_named_pipe_without_a_writer_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="no plain file"):
        WatchedFile(str(pipe), 10).read()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises((ConfigError, IsADirectoryError)):
        WatchedFile(str(tmp_path), 10).read()
