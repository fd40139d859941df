import json

import pytest

from config.errors import ConfigError
from gateway.auth.jwks import CheckingKey, KeySet, parse_jwks, parse_secret
from tests.gateway.auth.signing import SECRET, jwk, jwks, private

RSA = jwk("RS256", "r")


def parsed(*keys):
    return {(key.algorithm, key.kid) for key in parse_jwks(jwks(*keys), "set").keys}


def test_each_kind_of_key_has_its_algorithm():
    keys = [RSA, jwk("ES256", "e"), jwk("EdDSA", "d")]
    assert parsed(*keys) == {("RS256", "r"), ("ES256", "e"), ("EdDSA", "d")}


def test_what_else_a_key_says_does_no_harm():
    more = {"use": "sig", "alg": "RS256", "x5c": ["junk"], "x5t": 5, "key_ops": ["verify"]}
    assert parsed(RSA | more) == {("RS256", "r")}


OTHERS = [
    RSA | {"use": "enc"},
    RSA | {"alg": "HS256"},
    RSA | {"alg": "RS512"},
    RSA | {"alg": "ES256"},
    RSA | {"kid": 5},
    RSA | {"n": "AQAB"},
    RSA | {"n": 5},
    RSA | {"e": "!"},
    RSA | {"e": "Ag"},  # even
    RSA | {"e": ["AQAB"]},
    {"kty": "RSA"},
    {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "r"},
    {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
    jwk("ES256", "e") | {"y": "AA"},
    jwk("ES256", "e") | {"y": "A" * 43},  # no point of the curve
    jwk("EdDSA", "d") | {"x": "AA"},
    {"kty": ["RSA"]},
    {},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_what_is_no_key_for_signatures_we_know_is_left_out(other):
    assert parsed(other, jwk("ES256", "good")) == {("ES256", "good")}
    with pytest.raises(ConfigError, match="set: has no RS256, ES256 or EdDSA key"):
        parse_jwks(jwks(other), "set")


def test_a_short_rsa_key_is_left_out():
    with pytest.raises(ConfigError, match="has no RS256"):
        parse_jwks(jwks(jwk("RS256", "s", bits=1024)), "set")


def test_of_a_published_private_key_the_public_half_is_used():
    both = RSA | json.loads(_private_jwk())
    (key,) = parse_jwks(jwks(both), "set").keys
    assert not hasattr(key.key.key, "private_numbers")


def _private_jwk():
    from jwt.algorithms import RSAAlgorithm

    return RSAAlgorithm.to_jwk(private("RS256"))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b'{"keys": {}}', b'{"keys": [5]}', b"<html>", b"[" * 200_000,
     b'{"keys": [{"a": ' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_key_set_is_refused(data):
    with pytest.raises(ConfigError, match="set: no JSON Web Key set"):
        parse_jwks(data, "set")


def key(algorithm, kid):
    return CheckingKey(kid, algorithm, object())


def test_a_key_is_found_by_algorithm_and_kid():
    one, two, three = key("RS256", "a"), key("RS256", "b"), key("ES256", "a")
    keys = KeySet((one, two, three))
    assert keys.find("RS256", "a") is one
    assert keys.find("RS256", "b") is two
    assert keys.find("ES256", "a") is three
    assert keys.find("ES256", "b") is None
    assert keys.find("EdDSA", "a") is None


def test_without_a_kid_there_must_be_no_choice():
    keys = KeySet((key("RS256", "a"), key("RS256", "b"), only := key("ES256", "a")))
    assert keys.find("RS256", None) is None
    assert keys.find("ES256", None) is only


def test_a_key_without_a_kid_fits_where_no_other_is_named():
    named, unnamed = key("RS256", "a"), key("RS256", None)
    keys = KeySet((named, unnamed))
    assert keys.find("RS256", "a") is named
    assert keys.find("RS256", "b") is unnamed


def test_a_secret():
    (found,) = parse_secret(b" " + SECRET + b"\n", "file").keys
    assert found == CheckingKey(None, "HS256", SECRET)


@pytest.mark.parametrize("short", [b"", b"secret", SECRET[:-1] + b"\n"])
def test_a_short_secret_is_refused(short):
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        parse_secret(short, "file")


@pytest.mark.parametrize("form", ["pem", "jwk", "jwks"])
def test_a_public_key_is_no_secret(form):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = private("RS256").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    data = {"pem": pem, "jwk": json.dumps(RSA).encode(), "jwks": jwks(RSA)}[form]
    with pytest.raises(ConfigError, match="no secret"):
        parse_secret(data, "file")
