"""The settings that say who may ask."""

import pytest

from config.errors import ConfigError
from config.load import read_settings

JWT = {"issuer": "https://id.example.org/", "audience": "llm"}


def read(**tree):
    return read_settings(environ={}, overrides=tree).settings


def fault(**tree):
    with pytest.raises(ConfigError) as caught:
        read(**tree)
    return caught.value.message


ANYWHERE = {"host": "0.0.0.0"}


def test_nothing_is_configured_at_first():
    assert not read().auth.configured
    assert read().cors.origins == ()


@pytest.mark.parametrize("auth", [{}, {"tenants": [{"name": "acme"}]}])
def test_without_keys_the_server_is_for_this_machine(auth):
    message = fault(server=ANYWHERE, auth=auth)
    assert "server.host: expected a loopback address" in message
    assert "mlx-serving keys create" in message


@pytest.mark.parametrize(
    "auth", [{"keys_file": "keys.json"}, {"jwt": JWT | {"jwks_file": "jwks.json"}}]
)
def test_with_keys_it_may_be_for_others(auth):
    settings = read(server=ANYWHERE, auth=auth)
    assert settings.server.host == "0.0.0.0"
    assert settings.auth.configured


def test_keys_by_an_environment_variable():
    environ = {"MLX_SERVING_AUTH__KEYS_FILE": "keys.json", "MLX_SERVING_SERVER__HOST": "0.0.0.0"}
    assert read_settings(environ=environ).settings.auth.keys_file == "keys.json"


def test_tokens_need_a_source_of_keys():
    assert "auth.jwt: expected one of jwks_url" in fault(auth={"jwt": JWT})
    two = {"jwks_url": "https://id.example.org/jwks", "jwks_file": "jwks.json"}
    assert "auth.jwt.jwks_file: expected none" in fault(auth={"jwt": JWT | two})
    read(auth={"jwt": JWT | {"jwks_file": "j", "hs256_secret_file": "s"}})


@pytest.mark.parametrize("name", ["issuer", "audience"])
def test_tokens_of_anybody_or_for_anybody_are_never_taken(name):
    rest = {key: value for key, value in JWT.items() if key != name}
    assert f"auth.jwt.{name}: is missing" in fault(auth={"jwt": rest | {"jwks_file": "j"}})
    empty = JWT | {name: "", "jwks_file": "j"}
    assert f"auth.jwt.{name}" in fault(auth={"jwt": empty})


@pytest.mark.parametrize(
    "url",
    ["https://id.example.org/jwks", "https://10.0.0.1:8443/x", "http://127.0.0.1:1/x",
     "http://localhost:9000/x", "http://[::1]/x"],
)  # fmt: skip
def test_where_keys_may_come_from(url):
    read(auth={"jwt": JWT | {"jwks_url": url}})


@pytest.mark.parametrize(
    "url",
    ["http://id.example.org/jwks", "http://10.0.0.1/x", "file:///etc/jwks", "jwks", "https://",
     "http://127.0.0.1.evil.org/", "https://a:b", "http://[", ""],
)  # fmt: skip
def test_where_keys_may_not_come_from(url):
    assert "auth.jwt" in fault(auth={"jwt": JWT | {"jwks_url": url}})


def test_tenants_have_different_names():
    tenants = [{"name": "a", "tokens_per_minute": 5}, {"name": "a"}]
    assert "auth.tenants: 2 tenants are called a" in fault(auth={"tenants": tenants})
    assert "auth.tenants[0].tokens_per_minute" in fault(
        auth={"tenants": [{"name": "a", "tokens_per_minute": 0}]}
    )


@pytest.mark.parametrize(
    "origin", ["*", "https://chat.example.org", "http://localhost:3000", "chrome-extension://abc"]
)
def test_origins(origin):
    assert read(cors={"origins": [origin]}).cors.origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["", "null", "chat.example.org", "https://chat.example.org/", "https://chat.example.org/x",
     "https://*.example.org", "https://", "https://a b", "https://a\r\nX: y", "https://a@b"],
)  # fmt: skip
def test_what_is_no_origin(origin):
    message = fault(cors={"origins": ["https://good.example.org", origin]})
    assert "cors.origins[1]: expected * or a scheme and a host" in message
