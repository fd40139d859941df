import pytest

from config.errors import ConfigError
from config.invariants import broken, is_loopback
from config.load import read_settings
from config.settings import ModelSettings, Settings


def paths(tree) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_settings(environ={}, overrides=tree)
    return [line.split(":")[0].strip() for line in caught.value.message.splitlines()[1:]]


def test_the_defaults_hold():
    assert broken(Settings()) == []


def test_two_models_of_one_name_are_refused():
    assert paths({"models": [{"model": "demo"}, {"model": "/x/demo"}]}) == ["models"]


def test_an_alias_tells_models_apart():
    read_settings(
        environ={}, overrides={"models": [{"model": "demo"}, {"model": "demo", "alias": "b"}]}
    )


def test_the_soft_watermark_is_below_the_hard_one():
    tree = {"kv_cache": {"soft_watermark": 0.9, "hard_watermark": 0.9}}
    assert paths(tree) == ["kv_cache.soft_watermark"]


def test_the_first_backoff_is_not_over_the_cap():
    tree = {"supervision": {"backoff_base_s": 2, "backoff_cap_s": 1}}
    assert paths(tree) == ["supervision.backoff_base_s"]


def test_there_is_room_for_one_body_of_the_largest():
    tree = {"server": {"max_body_bytes": 100, "max_held_body_bytes": 99}}
    assert paths(tree) == ["server.max_held_body_bytes"]
    read_settings(environ={}, overrides={"server": {"max_held_body_bytes": 8 * 1024 * 1024}})


def test_no_more_models_are_loaded_at_the_start_than_may_be():
    models = [{"model": "a/b"}, {"model": "a/c"}, {"model": "a/d", "load": "on_demand"}]
    limit = {"lifecycle": {"max_loaded_models": 1}}
    assert paths({"models": models} | limit) == ["lifecycle.max_loaded_models"]
    read_settings(environ={}, overrides={"models": models[1:]} | limit)


def test_pinned_prompts_need_a_store_and_have_their_limits():
    good = {"models": [{"model": "demo", "pinned_prompts": ["Be kind."]}]}
    (model,) = read_settings(environ={}, overrides=good).settings.models
    assert model.pinned_prompts == ("Be kind.",)
    assert paths(good | {"kv_cache": {"stored_fraction": 0}}) == ["models[0].pinned_prompts"]
    for bad in ([""], ["x" * 32_769], ["x"] * 17, "x", [1]):
        tree = {"models": [{"model": "demo", "pinned_prompts": bad}]}
        assert paths(tree) == ["models[0].pinned_prompts (command line)"]


@pytest.mark.parametrize("window_ms", [0, 5, 7.5, 10])
def test_a_batch_window_is_none_or_worth_it(window_ms):
    tree = {"engine": {"batch_window_ms": window_ms}}
    assert read_settings(environ={}, overrides=tree).settings.engine.batch_window_ms == window_ms
    assert paths({"engine": {"batch_window_ms": 4.9}}) == ["engine.batch_window_ms"]


def test_all_broken_rules_come_at_once():
    tree = {"server": {"host": "0.0.0.0"}, "kv_cache": {"soft_watermark": 1}}
    assert paths(tree) == ["kv_cache.soft_watermark", "server.host"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "my-mac.local", "", "*"])
def test_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("model", "alias", "name"),
    [
        ("demo", None, "demo"),
        ("mlx-community/Qwen3-4B-4bit", None, "mlx-community/Qwen3-4B-4bit"),
        ("/models/Qwen3-4B", None, "Qwen3-4B"),
        ("./Qwen3-4B/", None, "Qwen3-4B"),
        ("/", None, "/"),
        ("/models/Qwen3-4B", "q", "q"),
    ],
)
def test_what_clients_call_a_model(model, alias, name):
    assert ModelSettings(model=model, alias=alias).name == name
