import pytest

from mlx_serving import terminal
from mlx_serving.console import Console
from mlx_serving.terminal import Terminal
from transport.messages.admin import (
    ChildEnded,
    ChildStateChanged,
    LoadingProgress,
    Stopping,
    TreeReady,
)

CHANGED = ChildStateChanged("control", 1, "starting", "ready")


@pytest.fixture
def say(capfd):
    console = Console(Terminal(), "http://127.0.0.1:8080", ["demo"], verbose=False)

    def said(event):
        console.event(event)
        return capfd.readouterr().err

    return said


@pytest.fixture
def say_later(say):
    """The same after the start."""
    say(TreeReady())
    return say


def test_the_end_of_a_start_that_failed_is_left_to_the_last_line(say):
    assert say(ChildEnded("control", 1, False, "exit 1", [])) == ""
    assert say(Stopping("exit 1", 1, 0.0)) == ""


def test_ready_prints_a_curl_line_for_the_first_model(say):
    text = say(TreeReady())
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in text
    assert '"model": "demo"' in text


def test_the_curl_line_asks_a_model_for_what_it_makes(say):
    facts = {"model": "demo", "kind": "embedding"}
    assert say(ChildStateChanged("engine:demo:0", 1, "loading", "ready", facts)) == ""
    text = say(TreeReady())
    assert "curl http://127.0.0.1:8080/v1/embeddings " in text
    assert """-d '{"model": "demo", "input": "Hello!"}'""" in text


def test_the_curl_line_has_a_key_where_one_is_needed(say, capfd):
    assert "Authorization" not in say(TreeReady())
    Console(Terminal(), "u", ["demo"], verbose=False, keys=True).event(TreeReady())
    assert ' -H "Authorization: Bearer $KEY" -d ' in capfd.readouterr().err


def test_the_curl_line_of_the_ready_message_is_a_line_of_its_own(monkeypatch, capfd):
    monkeypatch.setattr(terminal, "MAX_LINE_BYTES", 512)  # as on macOS
    models = ["demo", *(f"organisation/model-with-a-long-name-{n}" for n in range(20))]
    Console(Terminal(), "http://127.0.0.1:8080", models, verbose=False).event(TreeReady())
    lines = capfd.readouterr().err.split("\n")
    assert lines[0].startswith("mlx-serving: ready on")
    assert any(line.startswith("  curl http") and line.endswith("}]}'") for line in lines)


def test_progress_is_told_once_a_stage(say):
    event = LoadingProgress("engine:demo:0", 1, "downloading", 0.5)
    assert "downloading (50%)" in say(event)
    assert say(event) == ""
    assert say(LoadingProgress("engine:demo:0", 1, "loading weights", None))


def test_a_death_nobody_asked_for_is_told_and_an_ordered_one_is_not(say_later):
    assert "killed" in say_later(ChildEnded("control", 1, False, "killed by SIGKILL", []))
    assert say_later(ChildEnded("control", 1, True, "exit 0", [])) == ""


def test_stopping_says_why(say_later):
    assert "SIGTERM; finishing what runs, at most 30 s" in say_later(Stopping("SIGTERM", 0, 30.0))
    assert "stopping: SIGTERM" in say_later(Stopping("SIGTERM", 0, 0.0))


def test_state_changes_are_for_the_curious(say, capfd):
    assert say(CHANGED) == ""
    Console(Terminal(), "u", [], verbose=True).event(CHANGED)
    assert "control: ready" in capfd.readouterr().err
