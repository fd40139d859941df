import pytest

from config.errors import ConfigError
from config.settings import ModelSettings, Settings
from mlx_serving.cli import main
from mlx_serving.cli.parser import build_parser
from mlx_serving.cli.serve import settings_for


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("MLX_SERVING_SERVER__PORT", raising=False)
    monkeypatch.chdir(tmp_path)


def settings(*words) -> Settings:
    return settings_for(build_parser().parse_args(["serve", *words]))


def test_nothing_said_serves_the_demo():
    assert settings() == Settings()


def test_every_option_arrives(tmp_path):
    words = ["--gateways", "2", "--host", "::1", "--port", "0", "--runtime-dir", "run"]
    server = settings(*words).server
    assert (server.gateways, server.host, server.port) == (2, "::1", 0)
    assert server.runtime_dir == str(tmp_path / "run")


def test_models_with_aliases_and_replicas():
    assert settings("demo", "a/b=c", "--replicas", "2").models == (
        ModelSettings(model="demo", replicas=2),
        ModelSettings(model="a/b", alias="c", replicas=2),
    )


def test_replicas_of_the_default_model():
    assert settings("--replicas", "3").models == (ModelSettings(model="demo", replicas=3),)


def test_a_local_folder_by_its_full_path(tmp_path):
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (model,) = settings("models/tiny").models
    assert (model.model, model.name) == (str(tmp_path / "models" / "tiny"), "tiny")


def test_demo_is_the_built_in_model_even_beside_a_folder_of_that_name(tmp_path):
    (tmp_path / "demo").mkdir()
    assert settings("demo") == Settings()


def test_the_command_line_wins(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text("server: {port: 1, gateways: 2}\nmodels: [{model: a/b}]")
    monkeypatch.setenv("MLX_SERVING_SERVER__PORT", "2")
    loaded = settings("--config", "s.yaml", "--port", "3", "demo")
    assert (loaded.server.port, loaded.server.gateways) == (3, 2)
    assert loaded.models == (ModelSettings(model="demo"),)


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text("server: {port: 1}")
    monkeypatch.setenv("MLX_SERVING_SERVER__PORT", "2")
    assert settings("--config", "s.yaml").server.port == 2


def test_old_keys_are_told_of_once(tmp_path, capsys):
    (tmp_path / "old.yaml").write_text("mlx: {concurrency_limit: 1}")
    settings("--config", "old.yaml")
    err = capsys.readouterr().err
    assert err.count("[mlx-serving] DEPRECATION WARNING: mlx.concurrency_limit") == 1
    assert len(err.splitlines()) == 1


def test_strict_refuses_old_keys(tmp_path):
    (tmp_path / "old.yaml").write_text("mlx: {concurrency_limit: 1}")
    with pytest.raises(ConfigError, match="DEPRECATION WARNING"):
        settings("--config", "old.yaml", "--strict-config")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "server.host: expected a loopback address"),
        (["./nowhere"], "no folder ./nowhere"),
        (["not a model"], "'not a model' is neither demo nor a folder nor a hub id"),
        (["a/b/c"], "'a/b/c' is neither demo nor a folder nor a hub id"),
        (["demo", "demo"], "2 models are called demo"),
        (["--config", "gone.yaml"], "gone.yaml: cannot be read"),
        (["--keys-file", "/dev/null/keys"], "auth.keys_file: /dev/null/keys: Not a directory"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(words, said, capsys):
    assert main(["serve", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("mlx-serving: ")
    assert said in err


def test_a_small_machine_is_refused_when_strict(monkeypatch, capsys):
    from config import hardware

    small = hardware.Hardware(chip="chip", memory_bytes=4 << 30, wired_limit_bytes=3 << 30)
    monkeypatch.setattr(hardware, "detect", lambda: small)
    monkeypatch.setenv("MLX_SERVING_HARDWARE__POLICY", "strict")
    assert main(["serve"]) == 2
    assert "hardware.policy is strict" in capsys.readouterr().err
