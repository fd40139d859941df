import contextlib
import re
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import ConfigError
from config.load import load_settings, read_settings
from config.settings import DiskSettings, ModelSettings, Settings
from config.yaml_text import dump


def settings(file=None, environ=None, overrides=None) -> Settings:
    return read_settings(file, environ=environ or {}, overrides=overrides).settings


def faults(file=None, environ=None, overrides=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(file, environ, overrides)
    return [line.strip() for line in caught.value.message.splitlines()[1:]]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "serving.yaml"
        path.write_text(text if isinstance(text, str) else dump(text), "utf-8")
        return path

    return write


def test_nothing_given_gives_the_defaults():
    assert settings() == Settings()


def test_an_empty_file_gives_the_defaults(write):
    assert settings(write("# nothing\n")) == Settings()


def test_all_defaults_are_valid_when_written_out(write):
    assert settings(write(msgspec.to_builtins(Settings()))) == Settings()


def test_the_file_sets_values(write):
    assert settings(write("server: {port: 9000}")).server.port == 9000


def test_camel_case_is_the_same(write):
    loaded = settings(write("kvCache: {budgetFraction: 0.5}\nserver: {maxBodyBytes: 7}"))
    assert (loaded.kv_cache.budget_fraction, loaded.server.max_body_bytes) == (0.5, 7)


def test_null_means_unset(write):
    assert settings(write("server: {port: null, host: ~}\nengine:\n")) == Settings()


def test_null_above_does_not_hide_what_is_below(write):
    file = write("server: {port: 9000}")
    assert settings(file, {"MLX_SERVING_SERVER__PORT": ""}).server.port == 9000
    assert settings(file, overrides={"server": {"port": None}}).server.port == 9000


ports = st.none() | st.integers(1, 65535)


@given(ports, ports, ports)
def test_the_higher_source_wins(tmp_path_factory, in_file, in_environ, on_command_line):
    file = tmp_path_factory.getbasetemp() / "precedence.yaml"
    file.write_text(dump({"server": {"port": in_file, "gateways": 3}}))
    environ = {} if in_environ is None else {"MLX_SERVING_SERVER__PORT": str(in_environ)}
    loaded = settings(file, environ, {"server": {"port": on_command_line}})
    given = [port for port in (on_command_line, in_environ, in_file) if port is not None]
    assert loaded.server.port == (given or [8080])[0]
    assert loaded.server.gateways == 3


def test_environment_values_are_yaml():
    loaded = settings(environ={"MLX_SERVING_MODELS": '[{"model": "demo", "replicas": 2}]'})
    assert loaded.models == (ModelSettings(model="demo", replicas=2),)


def test_a_bare_ipv6_address_is_text():
    assert settings(environ={"MLX_SERVING_SERVER__HOST": "::1"}).server.host == "::1"


def test_off_is_a_word(write):
    assert settings(write("hardware: {policy: off}")).hardware.policy == "off"


def test_what_kubernetes_adds_is_no_setting():
    environ = {
        "MLX_SERVING_PORT": "tcp://10.0.0.1:80",
        "MLX_SERVING_SERVICE_HOST": "10.0.0.1",
        "MLX_SERVING_SERVICE_PORT_HTTP": "80",
        "MLX_SERVING_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert settings(environ=environ) == Settings()


def test_every_fault_of_every_source_comes_at_once(write):
    file = write("server: {prot: 1, port: 99999}\nengine: 3\nlogging: {level: loud}")
    found = faults(
        file, {"MLX_SERVING_SEVER__PORT": "1", "MLX_SERVING_ENGINE__MAX_WAITING": "x"},
        {"server": {"gateways": 0}},
    )  # fmt: skip
    assert found == [
        "server.prot: unknown key; did you mean port?",
        "server.port: expected `int` ≤ 65535, got 99999",
        "engine: expected a mapping, got 3",
        "logging.level: expected one of debug, info, warning, error, got 'loud'",
        "MLX_SERVING_ENGINE__MAX_WAITING: expected `int`, got 'x'",
        "MLX_SERVING_SEVER__PORT: sever: unknown key; did you mean server?",
        "server.gateways (command line): expected `int` ≥ 1, got 0",
    ]


def test_the_message_names_the_file(write):
    with pytest.raises(ConfigError, match=r"^Configuration is not valid \(serving.yaml\):\n  port"):
        settings(write("port: 1"))


def test_faults_in_lists_have_their_number(write):
    found = faults(write("models: [{model: demo}, {alias: a, replicas: 0}, 7]"))
    assert found == [
        "models[1].replicas: expected `int` ≥ 1, got 0",
        "models[1].model: is missing",
        "models[2]: expected a mapping, got 7",
    ]


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("port: 1", "server.port"),
        ("serverr: {}", "server"),
        ("server: {max_body: 1}", "max_body_bytes"),
        ("model: demo", "models"),
        ("model: {model: demo}", "models"),
        ("kvcache: {}", "kv_cache"),
        ("logging: {levle: info}", "level"),
        ("circuit_breaker: {eror_rate: 0.1}", "error_rate"),
    ],
)
def test_a_typo_is_refused_with_what_was_meant(write, text, guess):
    (fault,) = faults(write(text))
    assert fault.endswith(f"did you mean {guess}?")


def test_a_key_in_two_spellings_is_refused(write):
    found = faults(write("server: {max_body_bytes: 1, maxBodyBytes: 2}"))
    assert found == ["server.maxBodyBytes: given twice, in two spellings of max_body_bytes"]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "true", "'1'", "[1]", "{a: 1}"])
def test_a_duration_is_a_finite_number(write, value):
    (fault,) = faults(write(f"server: {{request_timeout_s: {value}}}"))
    assert fault.startswith("server.request_timeout_s: expected")


@pytest.mark.parametrize("text", ["[1, 2]", "demo", "7"])
def test_a_file_without_sections_is_refused(write, text):
    assert faults(write(text)) == ["expected a mapping of sections"]


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read: No such file"):
        settings(tmp_path / "gone.yaml")


def test_a_file_that_is_not_text_is_one_line(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        settings(tmp_path / "x.yaml")


ENVIRONMENTS = """
server: {port: 1000, gateways: 2}
environments:
  production: {server: {port: 2000}}
  development: {server: {port: 3000}}
"""


@pytest.mark.parametrize(
    ("environ", "port"),
    [
        ({}, 3000),
        ({"MLX_SERVING_ENV": "production"}, 2000),
        ({"NODE_ENV": "production"}, 2000),
        ({"PYTHON_ENV": "production"}, 2000),
        ({"NODE_ENV": "production", "MLX_SERVING_ENV": "development"}, 3000),
        ({"NODE_ENV": "staging"}, 1000),
        ({"MLX_SERVING_ENV": "test"}, 1000),
    ],
)
def test_the_environment_chooses_an_overlay(write, environ, port):
    loaded = settings(write(ENVIRONMENTS), environ)
    assert (loaded.server.port, loaded.server.gateways) == (port, 2)


def test_overlays_that_are_not_chosen_are_checked_too(write):
    found = faults(write("environments: {production: {server: {prot: 1}}, prodution: {}}"))
    assert found == [
        "environments.prodution: unknown environment; did you mean production?",
        "environments.production.server.prot: unknown key; did you mean port?",
    ]


def test_a_misspelled_choice_of_ours_is_refused(write):
    (fault,) = faults(write(ENVIRONMENTS), {"MLX_SERVING_ENV": "prod"})
    assert fault.startswith("MLX_SERVING_ENV: expected one of production")


def test_embedding_programs_get_the_settings_alone():
    assert load_settings(environ={}) == Settings()


OTHER_KEYS = ("port", "model", "environments", "mlx")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(string.printable, max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from([*Settings.__struct_fields__, *OTHER_KEYS]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_tree_is_taken_or_refused(tmp_path_factory, tree):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(dump(tree), "utf-8")
    with contextlib.suppress(ConfigError):
        assert isinstance(settings(file), Settings)


def test_a_section_that_may_be_left_out(write):
    file = write("kv_cache: {bits: 8, storedBits: auto, disk: {directory: /kv, maxBytes: 10}}")
    found = load_settings(file, environ={"MLX_SERVING_KV_CACHE__STORED_BITS": "4"}).kv_cache
    assert (found.bits, found.stored_bits) == (8, 4)
    assert found.disk == DiskSettings(directory="/kv", max_bytes=10)
    assert load_settings(write("kv_cache: {disk: null}"), environ={}).kv_cache.disk is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{disk: {directry: /kv}}", "kv_cache.disk.directry: unknown key; did you mean directory?"),
        ("{disk: {}}", "kv_cache.disk.directory: is missing"),
        ("{disk: 5}", "kv_cache.disk: expected a mapping, got 5"),
        ("{bits: 5}", "kv_cache.bits: expected one of auto, 16, 8, 4, got 5"),
    ],
)
def test_faults_in_it_are_named(write, text, fault):
    with pytest.raises(ConfigError, match=re.escape(fault)):
        load_settings(write(f"kv_cache: {text}"), environ={})


DISK = "MLX_SERVING_KV_CACHE__DISK__"


def test_variables_may_set_together_what_none_of_them_can_alone():
    found = settings(environ={f"{DISK}DIRECTORY": "/kv", f"{DISK}MAX_BYTES": "10"})
    assert found.kv_cache.disk == DiskSettings(directory="/kv", max_bytes=10)


def test_a_variable_may_go_with_what_the_file_sets(write):
    file = write("kv_cache: {disk: {directory: /kv}}")
    assert settings(file, {f"{DISK}MAX_BYTES": "10"}).kv_cache.disk == DiskSettings(
        directory="/kv", max_bytes=10
    )


def test_an_overlay_may_set_a_part_of_a_section(write):
    file = write(
        "kv_cache: {disk: {directory: /kv}}\n"
        "environments: {development: {kv_cache: {disk: {max_bytes: 10}}}}"
    )
    assert settings(file).kv_cache.disk == DiskSettings(directory="/kv", max_bytes=10)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{DISK}MAX_BYTES", "10"),
        ("MLX_SERVING_KV_CACHE", "{disk: {max_bytes: 10}}"),
        ("MLX_SERVING_KV_CACHE__DISK", "{}"),
    ],
)
def test_what_no_source_sets_is_laid_at_the_door_of_the_variable(name, text):
    assert faults(environ={name: text}) == [
        f"{name}: kv_cache.disk.directory: is missing; set {DISK}DIRECTORY"
    ]


def test_a_bad_value_beside_a_good_one_names_its_variable():
    assert faults(environ={f"{DISK}DIRECTORY": "/kv", f"{DISK}MAX_BYTES": "x"}) == [
        f"{DISK}MAX_BYTES: expected `int`, got 'x'"
    ]
