"""An identity provider: keys, their JWKS, and tokens signed with them."""

import json
import time
from functools import cache

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from config.settings import JwtSettings

ISSUER, AUDIENCE = "https://id.example.org/", "llm"
SECRET = b"0123456789abcdef0123456789abcdef"
HOUR_S = 3600


def private(algorithm, number=0, bits=2048):
    """The same key each time it is asked for."""
    return _private(algorithm, number, bits)


@cache
def _private(algorithm, number, bits):
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, bits)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm, kid=None, number=0, bits=2048, **more):
    makers = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    public = private(algorithm, number, bits).public_key()
    made = makers[algorithm].to_jwk(public, as_dict=True)
    made.pop("key_ops", None)
    return made | ({"kid": kid} if kid else {}) | more


def jwks(*keys):
    return json.dumps({"keys": list(keys)}).encode()


def claims(**more):
    now = int(time.time())
    basic = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now + HOUR_S, "iat": now}
    return {name: value for name, value in (basic | more).items() if value is not None}


def token(algorithm="ES256", kid="k1", number=0, head=None, **more):
    key = SECRET if algorithm == "HS256" else private(algorithm, number)
    headers = ({"kid": kid} if kid else {}) | (head or {})
    return jwt.encode(claims(**more), key, algorithm, headers=headers)


def settings(**more):
    return JwtSettings(**({"issuer": ISSUER, "audience": AUDIENCE} | more))
