import pytest

from config.errors import ConfigError
from config.settings import AuthSettings
from gateway.auth.check import check_files
from tests.gateway.auth.signing import SECRET, jwk, jwks, settings


@pytest.fixture
def file(tmp_path):
    def file(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        return str(path)

    return file


def fault(**auth):
    with pytest.raises(ConfigError) as caught:
        check_files(AuthSettings(**auth))
    return caught.value.message


def test_nothing_configured_is_good():
    check_files(AuthSettings())


def test_good_files(file):
    check_files(
        AuthSettings(
            keys_file=file("keys", b'{"keys": []}'),
            jwt=settings(
                jwks_file=file("jwks", jwks(jwk("EdDSA", "k"))),
                hs256_secret_file=file("secret", SECRET),
            ),
        )
    )


def test_keys_may_be_made_later(tmp_path):
    check_files(AuthSettings(keys_file=str(tmp_path / "gone")))


def test_each_fault_names_setting_and_file(file, tmp_path):
    gone = str(tmp_path / "gone")
    assert fault(keys_file=file("k", b"{")).startswith(f"auth.keys_file: {tmp_path}/k: no file of")
    assert fault(jwt=settings(jwks_file=gone)) == f"auth.jwt.jwks_file: {gone}: no such file"
    assert "has no RS256" in fault(jwt=settings(jwks_file=file("j", b'{"keys": []}')))
    assert "at least 32 bytes" in fault(jwt=settings(hs256_secret_file=file("s", b"short")))
    assert fault(keys_file="/etc/passwd/keys").endswith("Not a directory")
