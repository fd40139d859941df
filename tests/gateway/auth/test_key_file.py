from gateway.auth.jwks import parse_jwks, parse_secret
from gateway.auth.key_sources import KeyFile, KeyUrl, sources_of
from tests.gateway.auth.signing import SECRET, jwk, jwks, settings


def kids(file, now):
    return [key.kid for key in file.keys(now).keys]


def test_a_changed_file_has_other_keys(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk("EdDSA", "one")))
    file = KeyFile(str(path), parse_jwks)
    assert kids(file, 0.0) == ["one"]
    assert file.keys(5.0) is file.keys(9.0)
    path.write_bytes(jwks(jwk("EdDSA", "two"), jwk("ES256", "three")))
    assert kids(file, 10.0) == ["two", "three"]
    assert file.awaited_s(b"token", 10.0) is None


def test_a_bad_or_missing_file_leaves_the_keys(tmp_path, caplog):
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(jwk("EdDSA", "one")))
    file = KeyFile(str(path), parse_jwks)
    file.start()
    path.write_text("{")
    assert kids(file, 1e9) == ["one"]
    path.unlink()
    assert kids(file, 2e9) == ["one"]
    assert caplog.text.count("stay as they were") == 2


def test_where_there_never_was_one_it_is_waited_for(tmp_path):
    file = KeyFile(str(tmp_path / "gone"), parse_secret)
    assert kids(file, 0.0) == []
    assert file.awaited_s(b"token", 0.0) == 1.0
    (tmp_path / "gone").write_bytes(SECRET)
    assert kids(file, 9.0) == [None]
    assert file.awaited_s(b"token", 9.0) is None


def test_only_what_is_configured_has_keys():
    assert set(sources_of(settings(hs256_secret_file="s"))) == {"HS256"}
    found = sources_of(settings(jwks_file="f"))
    assert set(found) == {"RS256", "ES256", "EdDSA"}
    assert len(set(found.values())) == 1
    found = sources_of(settings(jwks_url="http://127.0.0.1:1", hs256_secret_file="s"))
    assert isinstance(found["RS256"], KeyUrl)
    assert found["HS256"] not in (found["RS256"], found["ES256"], found["EdDSA"])
