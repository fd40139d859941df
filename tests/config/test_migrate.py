import pytest

from config.errors import ConfigError
from config.load import read_settings
from config.migrate import migrate

OLD = """
mlx: {concurrency_limit: 1, default_context_length: 4096}
json_rpc: {default_timeout_ms: 1}
continuous_batching: {max_batch_size: 8, batch_window_ms: 10}
stream_registry: {max_active_streams: 10, default_timeout_ms: 60000}
model: {default_max_tokens: 256, memory_cache: {warmup_on_start: [demo]}}
controller: {bindAddress: 0.0.0.0, port: 9000}
environments:
  production: {stream_registry: {max_active_streams: 4}, telemetry: {enabled: true}}
  test: {json_rpc: {default_timeout_ms: 2}}
"""

NEW = """\
# mlx-serving configuration, rewritten from version 1. See docs/MIGRATION_V1.2.md.

server:
  default_max_tokens: 256
  request_timeout_s: 60.0
  port: 9000
models:
- model: demo
engine:
  max_context_tokens: 4096
  max_concurrent: 8
environments:
  production:
    engine:
      max_concurrent: 4

# Not carried over:
# mlx.concurrency_limit is deprecated in v1.2.0+ and will be ignored. MLX now uses native Metal \
scheduler. See docs/MIGRATION_V1.2.md for details.
# controller.bind_address: 0.0.0.0 has no effect: without API keys (auth.keys_file) the server \
listens on loopback only.
# No effect (there is no bridge between two languages any more): json_rpc.
# No effect in this version: continuous_batching.batch_window_ms.
# environments.production: No effect in this version: continuous_batching.batch_window_ms, \
telemetry.
"""


def read(tmp_path, text, environ):
    file = tmp_path / "serving.yaml"
    file.write_text(text, "utf-8")
    return read_settings(file, environ=environ)


def test_the_whole_of_a_migration():
    assert migrate(OLD, "runtime.yaml", {}) == NEW


@pytest.mark.parametrize("chosen", ["production", "development", "test"])
def test_the_new_file_means_the_same_and_warns_of_nothing(tmp_path, chosen):
    environ = {"MLX_SERVING_ENV": chosen}
    old = read(tmp_path, OLD, environ)
    new = read(tmp_path, migrate(OLD, "runtime.yaml", {}), environ)
    assert (new.settings, new.notices) == (old.settings, ())


def test_a_new_file_stays_as_it_is():
    text = "server: {port: 9000} # mine\n"
    assert migrate(text, "serving.yaml", {}) == text


def test_migrating_twice_changes_nothing():
    once = migrate(OLD, "runtime.yaml", {})
    assert migrate(once, "serving.yaml", {}) == once


def test_a_typo_in_a_new_file_is_refused():
    with pytest.raises(ConfigError, match="did you mean port"):
        migrate("server: {prot: 1}", "serving.yaml", {})


def test_a_wrong_value_in_an_old_file_is_refused():
    with pytest.raises(ConfigError, match=r"controller\.port \(now server\.port\)"):
        migrate("controller: {port: x}", "cluster.yaml", {})


def test_a_file_of_which_nothing_remains(tmp_path):
    text = migrate("json_rpc: {a: 1}", "runtime.yaml", {})
    assert "# Not carried over:" in text
    assert read(tmp_path, text, {}).notices == ()
