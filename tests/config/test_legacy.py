import logging
import warnings

import pytest

from config.errors import ConfigError
from config.legacy_table import MOVED, SECTIONS
from config.load import load_settings, read_settings
from config.settings import ModelSettings, Settings
from config.yaml_text import dump

CONCURRENCY_LIMIT = (
    "[mlx-serving] DEPRECATION WARNING: mlx.concurrency_limit is deprecated in v1.2.0+ and will be "
    "ignored. MLX now uses native Metal scheduler. See docs/MIGRATION_V1.2.md for details."
)
FORCE_METAL_SYNC = (
    "[mlx-serving] DEPRECATION WARNING: mlx.force_metal_sync is deprecated in v1.2.0+ and will be "
    "ignored. MLX handles synchronization internally."
)
LIMITER = (
    "[mlx-serving] DEPRECATION WARNING: model_concurrency_limiter is deprecated in v1.2.0+ and "
    "will be ignored. Trust MLX's native Metal scheduler for better performance (+3-5% "
    "throughput). See docs/MIGRATION_V1.2.md for details."
)
BREAKER = "requestRouting.circuitBreaker"


@pytest.fixture
def load(tmp_path):
    """Loads a tree or a text and gives the settings and the notices' texts."""

    def load(tree, environ=None, strict=False):
        file = tmp_path / "runtime.yaml"
        file.write_text(tree if isinstance(tree, str) else dump(tree), "utf-8")
        settings, notices = read_settings(file, environ=environ or {}, strict=strict)
        return settings, [notice.text for notice in notices]

    return load


def at(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def get(settings, path):
    for key in path.split("."):
        settings = getattr(settings, key)
    return settings


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"mlx": {"concurrency_limit": 1}}, CONCURRENCY_LIMIT),
        ({"mlx": {"concurrencyLimit": 1}}, CONCURRENCY_LIMIT),
        ({"mlx": {"force_metal_sync": False}}, FORCE_METAL_SYNC),
        ({"model_concurrency_limiter": {"enabled": True}}, LIMITER),
        (
            {
                "modelConcurrencyLimiter": {
                    "enabled": True,
                    "tierLimits": {"30B+": {"queueDepth": 25}},
                }
            },
            LIMITER,
        ),
    ],
)
def test_deprecated_keys_warn_in_the_very_words_and_change_nothing(load, tree, text):
    assert load(tree) == (Settings(), [text])


def test_a_limiter_that_is_off_is_silent(load):
    tree = {"model_concurrency_limiter": {"enabled": False, "tier_limits": {}}}
    assert load(tree) == (Settings(), [])


def test_keys_that_are_null_are_not_there(load):
    assert load("mlx: {concurrency_limit: null, default_context_length: 5}")[1] == []


def test_the_new_keys_of_version_1_2_are_silent(load):
    settings, notices = load({"mlx": {"default_context_length": 4096, "cache_weights": True}})
    assert (settings.engine.max_context_tokens, notices) == (4096, [])


def test_weights_cannot_be_uncached(load):
    _, notices = load({"mlx": {"cache_weights": False}})
    assert notices == [
        "[mlx-serving] mlx.cache_weights: false has no effect; weights stay in memory."
    ]


@pytest.mark.parametrize(
    ("source", "value", "target", "expected"),
    [
        ("model.default_context_length", 4096, "engine.max_context_tokens", 4096),
        ("model.default_max_tokens", 256, "server.default_max_tokens", 256),
        ("model.max_loaded_models", 5, "lifecycle.max_loaded_models", 5),
        ("continuous_batching.max_batch_size", 16, "engine.max_concurrent", 16),
        ("continuousBatching.maxBatchSize", 16, "engine.max_concurrent", 16),
        ("worker.continuousBatching.maxBatchSize", 16, "engine.max_concurrent", 16),
        ("stream_registry.max_active_streams", 10, "engine.max_concurrent", 10),
        ("stream_registry.default_timeout_ms", 90000, "server.request_timeout_s", 90.0),
        ("requestRouting.timeoutMs", 90000, "server.request_timeout_s", 90.0),
        ("requestRouting.streamingTimeoutMs", 90000, "server.request_timeout_s", 90.0),
        ("worker.requestQueue.maxDepth", 100, "engine.max_waiting", 100),
        ("outlines.maxSchemaSizeBytes", 999, "structured_output.max_schema_bytes", 999),
        ("generation_warmup.enabled", False, "warmup.enabled", False),
        ("circuit_breaker.failure_threshold", 5, "circuit_breaker.failed_health_checks", 5),
        ("circuit_breaker.recovery_timeout_ms", 10000, "circuit_breaker.open_s", 10.0),
        ("circuit_breaker.half_open_max_calls", 1, "circuit_breaker.half_open_probes", 1),
        ("circuit_breaker.failure_window_ms", 60000, "circuit_breaker.window_s", 60.0),
        (f"{BREAKER}.failureThreshold", 4, "circuit_breaker.failed_health_checks", 4),
        (f"{BREAKER}.recoveryTimeoutMs", 9000, "circuit_breaker.open_s", 9.0),
        (f"{BREAKER}.halfOpenMaxCalls", 2, "circuit_breaker.half_open_probes", 2),
        (f"{BREAKER}.failureWindowMs", 5000, "circuit_breaker.window_s", 5.0),
        ("controller.bindAddress", "::1", "server.host", "::1"),
        ("controller.port", 9000, "server.port", 9000),
    ],
)  # fmt: skip
def test_a_key_that_lives_on(load, source, value, target, expected):
    settings, notices = load(at(source, value))
    assert (get(settings, target), notices) == (expected, [])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("model.memory_cache.warmup_on_start", ["a/b", "a/b"]),
        ("model_preload.models", [{"model_id": "a/b", "warmup_requests": 3}]),
        ("worker.preWarming.models", [{"model": "a/b", "priority": 1}]),
        ("model_lifecycle_manager.warmups_on_startup", ["a/b"]),
    ],
)
def test_models_to_load_at_the_start(load, source, value):
    assert load(at(source, value)) == (Settings(models=(ModelSettings(model="a/b"),)), [])


def test_every_moved_key_is_tested():
    tested = {"mlx.default_context_length", "logging.level"}
    for marker in (test_a_key_that_lives_on, test_models_to_load_at_the_start):
        (parametrize,) = [mark for mark in marker.pytestmark if mark.name == "parametrize"]
        tested |= {"".join(f"_{c.lower()}" if c.isupper() else c for c in case[0])
                   for case in parametrize.args[1]}  # fmt: skip
    assert {moved.source for moved in MOVED} <= tested


def test_the_real_key_wins_over_its_alias(load):
    settings, _ = load("mlx: {default_context_length: 1}\nmodel: {default_context_length: 2}")
    assert settings.engine.max_context_tokens == 2


def test_the_smaller_cap_and_the_longer_timeout_hold(load):
    settings, _ = load(
        "continuous_batching: {max_batch_size: 8}\n"
        "stream_registry: {max_active_streams: 4, default_timeout_ms: 1000}\n"
        "requestRouting: {streamingTimeoutMs: 9000, timeoutMs: 2000}\n"
    )
    assert (settings.engine.max_concurrent, settings.server.request_timeout_s) == (4, 9.0)


def test_models_of_several_lists_come_together(load):
    settings, _ = load(
        "model: {memory_cache: {warmup_on_start: [a/b]}}\n"
        "model_preload: {models: [{model_id: c/d}]}"
    )
    assert [model.model for model in settings.models] == ["a/b", "c/d"]


@pytest.mark.parametrize(
    ("old", "new"), [("warn", "warning"), ("trace", "debug"), ("info", "info")]
)
def test_log_levels(load, old, new):
    settings, notices = load({"logging": {"level": old, "format": "json"}})
    assert settings.logging.level == new
    assert notices == ["[mlx-serving] No effect in this version: logging.format."]


def test_a_server_for_everyone_becomes_a_server_for_this_machine(load):
    settings, notices = load("controller: {bindAddress: 0.0.0.0, port: 9000}")
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 9000)
    assert notices == [
        "[mlx-serving] controller.bind_address: 0.0.0.0 has no effect: without API keys "
        "(auth.keys_file) the server listens on loopback only."
    ]


PLAIN_SECTIONS = sorted(
    SECTIONS.keys()
    - {moved.source.split(".")[0] for moved in MOVED}
    - {"mode", "model_concurrency_limiter"}
)


@pytest.mark.parametrize("section", PLAIN_SECTIONS)
def test_a_section_without_a_successor_loads_with_one_line(load, section):
    settings, notices = load({section: {"enabled": True, "cache_dir": "x"}})
    assert settings == Settings()
    (notice,) = notices
    assert notice.startswith("[mlx-serving] No effect")
    assert notice.endswith(f": {section}.")


@pytest.mark.parametrize("section", PLAIN_SECTIONS)
def test_a_section_that_is_off_is_silent(load, section):
    assert load({section: {"enabled": False}, "mlx": {"cache_weights": True}}) == (Settings(), [])


def test_sections_of_one_reason_share_a_line(load):
    assert load("json_rpc: {a: 1}\npython_bridge: {a: 1}\nnats: {mode: embedded}")[1] == [
        "[mlx-serving] No effect (there is no bridge between two languages any more): "
        "json_rpc, python_bridge.",
        "[mlx-serving] No effect in this version: nats.",
    ]


def test_keys_without_a_successor_in_a_section_with_some(load):
    _, notices = load(
        "continuous_batching: {max_batch_size: 8, batch_window_ms: 10, adaptive_sizing: true}"
    )
    assert notices == [
        "[mlx-serving] No effect in this version: continuous_batching.batch_window_ms, "
        "continuous_batching.adaptive_sizing."
    ]


def test_an_unknown_section_in_an_old_file_is_told_of(load):
    settings, notices = load("mlx: {cache_weights: true}\nsever: {port: 1}")
    assert settings == Settings()
    assert notices == ["[mlx-serving] No effect (unknown; did you mean server?): sever."]


def test_new_sections_may_stand_beside_old_ones_and_win(load):
    settings, notices = load(
        "mlx: {default_context_length: 1}\nengine: {maxContextTokens: 2}\n"
        "server: {port: 9000}\ncircuit_breaker: {error_rate: 0.5, failure_threshold: 7}"
    )
    assert notices == []
    assert (settings.engine.max_context_tokens, settings.server.port) == (2, 9000)
    breaker = settings.circuit_breaker
    assert (breaker.error_rate, breaker.failed_health_checks) == (0.5, 7)


def refused(load, *arguments, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **options)
    return caught.value.message


def test_wrong_values_are_named_by_the_old_and_the_new_key(load):
    message = refused(
        load,
        "controller: {port: 99999}\nmodel_preload: {models: [{warmup_requests: 1}]}\n"
        "continuous_batching: {max_batch_size: many}\nstream_registry: {max_active_streams: 3}",
    )
    assert message.splitlines()[1:] == [
        "  model_preload.models (now models[0].model): is missing",
        "  continuous_batching.max_batch_size, stream_registry.max_active_streams "
        "(now engine.max_concurrent): expected `int`, got 'many'",
        "  controller.port (now server.port): expected `int` ≤ 65535, got 99999",
    ]


def test_an_unknown_strategy_is_refused(load):
    message = refused(load, "mode: both\nload_balancing: {strategy: smrt}")
    assert "load_balancing.strategy: expected one of round_robin" in message
    assert message.endswith("did you mean smart?")


def test_strict_makes_errors_of_notices(load):
    message = refused(load, "mlx: {concurrency_limit: 1}\njson_rpc: {a: 1}", strict=True)
    assert CONCURRENCY_LIMIT in message
    assert "No effect" in message


def test_strict_takes_a_new_file(load):
    assert load("server: {port: 1}", strict=True)[1] == []


def test_the_environment_is_laid_over_before_the_translation(load):
    tree = """
stream_registry: {max_active_streams: 10}
environments:
  production: {streamRegistry: {maxActiveStreams: 50}}
"""
    assert load(tree)[0].engine.max_concurrent == 10
    assert load(tree, {"NODE_ENV": "production"})[0].engine.max_concurrent == 50


def test_variables_in_values_are_replaced(load):
    tree = "mode: both\ncontroller: {bindAddress: '${ADDRESS}'}"
    assert load(tree, {"ADDRESS": "127.0.0.9"})[0].server.host == "127.0.0.9"


def test_variables_that_are_not_set_are_told_of(load):
    _, notices = load("nats: {password: '${NATS_PASSWORD}'}")
    assert notices[0] == "[mlx-serving] ${NATS_PASSWORD} is not set; an empty text is used."


def test_the_old_log_level_variable():
    settings, (notice,) = read_settings(environ={"KR_MLX_LOG_LEVEL": "warn"})
    assert settings.logging.level == "warning"
    assert "set MLX_SERVING_LOGGING__LEVEL" in notice.text


def test_our_log_level_variable_wins_over_the_old_one():
    environ = {"KR_MLX_LOG_LEVEL": "warn", "MLX_SERVING_LOGGING__LEVEL": "debug"}
    assert read_settings(environ=environ).settings.logging.level == "debug"


def test_embedding_programs_are_warned_through_warnings_and_the_log(tmp_path, caplog):
    file = tmp_path / "runtime.yaml"
    file.write_text("mlx: {concurrency_limit: 1}\njson_rpc: {a: 1}")
    with caplog.at_level(logging.INFO), pytest.warns(DeprecationWarning, match="^") as caught:
        load_settings(file, environ={})
    assert [str(warning.message) for warning in caught] == [CONCURRENCY_LIMIT]
    assert caplog.messages[0] == CONCURRENCY_LIMIT
    assert len(caplog.messages) == 2


def test_reading_says_nothing(load, capfd):
    with warnings.catch_warnings(record=True) as caught:
        load("mlx: {concurrency_limit: 1}")
    assert (list(caught), capfd.readouterr().err) == ([], "")
