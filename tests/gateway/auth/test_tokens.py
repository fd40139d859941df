import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from config.errors import PeerUnreachable, Unauthenticated
from gateway.auth import tokens as tokens_module
from gateway.auth.identity import KeyLimits
from gateway.auth.jwks import KeySet, parse_jwks, parse_secret
from gateway.auth.tokens import MAX_TOKEN_BYTES, Tokens
from tests.gateway.auth.signing import (
    AUDIENCE,
    HOUR_S,
    SECRET,
    claims,
    jwk,
    jwks,
    private,
    settings,
    token,
)  # fmt: skip

ASYMMETRIC = ("RS256", "ES256", "EdDSA")
PUBLIC = parse_jwks(jwks(*(jwk(algorithm, "k1") for algorithm in ASYMMETRIC)), "set")


class Held:
    """Keys that the test holds."""

    def __init__(self, keys, wait_s=None):
        self.held, self.wait_s, self.wishes = keys, wait_s, []

    def keys(self, now):
        return self.held

    def awaited_s(self, digest, now):
        self.wishes.append(digest)
        return self.wait_s


def checker(*, public=PUBLIC, secret=None, **more):
    sources = dict.fromkeys(ASYMMETRIC, public if isinstance(public, Held) else Held(public))
    if secret is not None:
        sources["HS256"] = Held(secret)
    return Tokens(settings(**more), {"acme": KeyLimits(5)}, sources)


def identify(tokens, text):
    return tokens.identify(text, 0.0, time.time())


def refused(tokens, text):
    with pytest.raises(Unauthenticated) as caught:
        identify(tokens, text)
    return caught.value.message


NOT_VALID = "this API key or token is not valid"


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_good_token_is_taken(algorithm):
    found = identify(checker(), token(algorithm, tenant="acme"))
    assert (found.name, found.tenant, found.tenant_limits) == ("ann", "acme", KeyLimits(5))


@pytest.mark.parametrize("audience", [AUDIENCE, ["other", AUDIENCE]])
def test_an_audience_is_one_of_several(audience):
    identify(checker(), token(aud=audience))


NOW = int(time.time())
BAD_CLAIMS = [
    ({"exp": NOW - HOUR_S}, "the token has expired"),
    ({"nbf": NOW + HOUR_S}, "the token is not valid yet"),
    ({"iat": NOW + HOUR_S}, "the token is not valid yet"),
    ({"iss": "https://evil.example.org/"}, NOT_VALID),
    ({"iss": ["https://id.example.org/"]}, NOT_VALID),
    ({"aud": "other"}, NOT_VALID),
    ({"aud": []}, NOT_VALID),
    ({"aud": {"llm": 1}}, NOT_VALID),
    ({"exp": None}, NOT_VALID),
    ({"iss": None}, NOT_VALID),
    ({"aud": None}, NOT_VALID),
    ({"sub": None}, NOT_VALID),
    ({"exp": "soon"}, NOT_VALID),
    ({"exp": float("inf")}, NOT_VALID),
    ({"exp": float("nan")}, NOT_VALID),
    ({"nbf": {}}, NOT_VALID),
    ({"jti": 5}, NOT_VALID),
]


def signed(payload, algorithm="ES256", key=None, head=None):
    """A token whose claims nobody checked when it was signed."""
    key = private(algorithm) if key is None else key
    body = json.dumps(payload).encode()
    return jwt.api_jws.encode(body, key, algorithm, headers={"kid": "k1"} | (head or {}))


@pytest.mark.parametrize(("wrong", "message"), BAD_CLAIMS, ids=str)
def test_a_wrong_claim_is_refused(wrong, message):
    payload = {k: v for k, v in (claims() | wrong).items() if v is not None}
    assert refused(checker(), signed(payload)) == message


@pytest.mark.parametrize(("claim", "ahead_s"), [("exp", -20), ("nbf", 20)])
def test_clocks_may_differ_a_little(claim, ahead_s):
    wrong = {claim: int(time.time()) + ahead_s}
    identify(checker(leeway_s=60), token(**wrong))
    refused(checker(leeway_s=0), token(**wrong))


def test_the_payload_must_be_an_object():
    for payload in (5, [], "x", None):
        assert refused(checker(), signed(payload)) == NOT_VALID


def encoded(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_no_algorithm_is_never_taken(name, signature):
    forged = f"{encoded({'alg': name, 'kid': 'k1'})}.{encoded(claims())}.{signature}"
    assert refused(checker(), forged) == NOT_VALID
    assert refused(checker(secret=parse_secret(SECRET, "f")), forged) == NOT_VALID


@pytest.mark.parametrize("configured", [False, True])
def test_a_public_key_is_no_secret_for_hs256(configured):
    public = private("RS256").public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        jwks(jwk("RS256", "k1")),
        json.dumps(jwk("RS256", "k1")).encode(),
    ]
    tokens = checker(secret=parse_secret(SECRET, "f") if configured else None)
    for form in forms:
        assert refused(tokens, _hmac({"alg": "HS256", "kid": "k1"}, form)) == NOT_VALID


def _hmac(head, secret):
    import hashlib
    import hmac

    text = f"{encoded(head)}.{encoded(claims())}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"


def test_a_token_cannot_choose_the_algorithm_of_a_key():
    for signer in ASYMMETRIC:
        _, body, signature = token(signer).split(".")
        for name in ({*ASYMMETRIC} - {signer}) | {"RS512", "PS256", "ES384", "ES256K", "HS512"}:
            forged = f"{encoded({'alg': name, 'kid': 'k1'})}.{body}.{signature}"
            assert refused(checker(), forged) == NOT_VALID


def test_hs256_is_taken_only_where_there_is_a_secret():
    good = token("HS256", kid=None)
    assert refused(checker(), good) == NOT_VALID
    secret = parse_secret(SECRET, "file")
    assert identify(checker(secret=secret), good).name == "ann"
    assert identify(checker(secret=secret), token("HS256", kid="any")).name == "ann"
    other = jwt.encode(claims(), b"x" * 32, "HS256")
    assert refused(checker(secret=secret), other) == NOT_VALID


def test_a_secret_alone_takes_nothing_else():
    tokens = Tokens(settings(), {}, {"HS256": Held(parse_secret(SECRET, "f"))})
    assert refused(tokens, token("ES256")) == NOT_VALID


def test_another_signer_is_refused():
    for algorithm in ASYMMETRIC:
        assert refused(checker(), token(algorithm, number=1)) == NOT_VALID


def test_a_key_that_the_token_brings_along_is_not_believed():
    mine = jwk("ES256", "k1", number=1)
    for head in ({"jwk": mine}, {"jku": "https://evil.example.org"}, {"x5c": ["AA"]}):
        assert refused(checker(), token(number=1, head=head)) == NOT_VALID


@pytest.mark.parametrize("head", [{"crit": ["exp"]}, {"crit": []}, {"crit": "x"}, {"crit": {}}])
def test_critical_extensions_are_refused(head):
    assert refused(checker(), signed(claims(), head=head)) == NOT_VALID


def test_a_detached_payload_is_refused():
    head = {"alg": "ES256", "kid": "k1", "b64": False, "crit": ["b64"]}
    assert refused(checker(), f"{encoded(head)}..{'A' * 86}") == NOT_VALID


def test_a_changed_token_is_refused_wherever_it_was_changed():
    good = token("EdDSA")
    tokens = checker()
    identify(tokens, good)
    for place in range(0, len(good), 7):
        other = "A" if good[place] != "A" else "B"
        assert refused(tokens, good[:place] + other + good[place + 1 :]) == NOT_VALID
    head, body, signature = good.split(".")
    for changed in (f"{head}.{encoded(claims(role='admin'))}.{signature}", f"{head}.{body}.",
                    f"{good}.", f".{good}", f"{good}=", f"{good} ", f"{head}.{body}"):  # fmt: skip
        refused(tokens, changed)


DEEP = encoded(b"[" * 2000)
JUNK = [
    *("", ".", "..", "...", "a.b.c", "é.é.é", "\udcff.a.b", "\x00.\x00.\x00", "=.=.="),
    f"{DEEP}.a.b",
    encoded(b'{"x": ' + b"[" * 5000) + ".a.b",
    f"{encoded(b'5')}.a.b",
    f"{encoded({'alg': 5})}.a.b",
    f"{encoded({'kid': 'k1'})}.a.b",
    f"{encoded({'alg': 'ES256', 'kid': ['k1']})}.a.b",
    f"{encoded({'alg': 'ES256', 'kid': 'k1'})}.{DEEP}.{'A' * 86}",
    f"{encoded({'alg': 'RS256', 'kid': 'k1'})}..",
    f"{encoded({'alg': 'RS256', 'kid': 'k1'})}.\udcff.é",
    f"{encoded(b'{}' + bytes(9))}.a.b",
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: ascii(junk)[:30])
def test_junk_is_refused(junk):
    assert refused(checker(), junk) == NOT_VALID


@given(st.text(max_size=200) | st.builds("{}.{}.{}".format, st.text(), st.text(), st.text()))
def test_whatever_comes_is_refused(text):
    refused(checker(), text)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=100))
def test_whatever_is_encoded_is_refused(head, body, signature):
    refused(checker(), ".".join(map(encoded, (head, body, signature))))


def test_deep_claims_of_a_good_signature_are_refused():
    body = b"[" * 3000
    deep = jwt.api_jws.encode(body, private("ES256"), "ES256", headers={"kid": "k1"})
    assert refused(checker(), deep) == NOT_VALID


def test_a_huge_token_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(tokens_module, "_head", None)
    assert "longer than" in refused(checker(), "a" * (MAX_TOKEN_BYTES + 1))


def test_an_unknown_key_is_asked_for():
    held = Held(PUBLIC, wait_s=3.5)
    with pytest.raises(PeerUnreachable, match="try again") as caught:
        identify(checker(public=held), token(kid="k2"))
    assert caught.value.retryable
    assert caught.value.retry_after_s == 3.5
    held.wait_s = None
    assert refused(checker(public=held), token(kid="k2", sub="bob")) == NOT_VALID
    assert len(set(held.wishes)) == 2  # each is of one token, not of its key


def test_a_known_key_asks_for_nothing():
    held = Held(PUBLIC, wait_s=1.0)
    identify(checker(public=held), token())
    refused(checker(public=held), token(number=1))
    assert not held.wishes


def test_a_token_is_checked_once(monkeypatch):
    tokens, good = checker(), token()
    first = identify(tokens, good)
    monkeypatch.setattr(tokens_module.jwt, "decode", None)
    assert identify(tokens, good) is first


def test_what_is_remembered_expires_with_the_token(monkeypatch):
    exp = int(time.time()) + HOUR_S
    tokens, good = checker(leeway_s=300), token(exp=exp)
    identify(tokens, good)
    monkeypatch.setattr(tokens, "_check", lambda *_: 1 / 0)
    tokens.identify(good, 0.0, exp + 299)
    with pytest.raises(ZeroDivisionError):  # it is checked again
        tokens.identify(good, 0.0, exp + 300)


def test_a_key_that_was_withdrawn_ends_its_tokens_at_once():
    held = Held(PUBLIC)
    tokens, good = checker(public=held), token()
    identify(tokens, good)
    held.held = KeySet()
    assert refused(tokens, good) == NOT_VALID


def test_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(tokens_module, "REMEMBERED", 3)
    tokens = checker()
    for number in range(10):
        identify(tokens, token("EdDSA", sub=f"s{number}"))
    assert len(tokens._known) == 3


def test_refusals_are_not_remembered():
    tokens = checker()
    for text in (token(number=1), token(exp=NOW - HOUR_S), "a.b.c"):
        refused(tokens, text)
    assert not tokens._known
