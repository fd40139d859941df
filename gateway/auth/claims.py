"""What the claims of a token that was found good say about whoever sent it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from config.errors import Unauthenticated
from config.settings import JwtSettings
from gateway.auth.identity import Identity, KeyLimits, Role

MAX_MODELS = 1000
_MAX_TEXT = 256
Claims = Mapping[str, Any]


def identity_of(
    claims: Claims, settings: JwtSettings, tenants: Mapping[str, KeyLimits]
) -> Identity:
    """Who the token speaks for.

    Raises:
        Unauthenticated: a claim that we go by is not of the form that it should have.
    """
    subject = _text(claims, "sub")
    tenant = _text(claims, settings.tenant_claim, "")
    return Identity(
        name=subject,
        tenant=tenant,
        role=_role(claims, settings),
        key_id=f"jwt:{subject}",
        models=_models(claims, settings.models_claim),
        limits=_limits(claims, settings.limits_claim),
        tenant_limits=tenants.get(tenant),
    )


def claim(claims: Claims, name: str) -> Any:  # noqa: ANN401
    """The claim of this very name, or the one that its dots lead to (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _text(claims: Claims, name: str, default: str | None = None) -> str:
    value = claim(claims, name)
    if value is None and default is not None:
        return default
    if isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable():
        return value
    raise _wrong(name, f"a text of at most {_MAX_TEXT} characters")


def _role(claims: Claims, settings: JwtSettings) -> Role:
    roles = _words(claim(claims, settings.role_claim))
    if roles is None:
        raise _wrong(settings.role_claim, "a text or a list of texts")
    return "admin" if settings.admin_role in roles else "user"


def _models(claims: Claims, name: str) -> frozenset[str] | None:
    value = claim(claims, name)
    if value is None:
        return None
    models = _words(value)
    if models is None or len(models) > MAX_MODELS:
        raise _wrong(name, f"a model's name or a list of at most {MAX_MODELS}")
    return frozenset(models)


def _limits(claims: Claims, name: str) -> KeyLimits | None:
    value = claim(claims, name)
    if value is None:
        return None
    try:
        return msgspec.convert(value, KeyLimits)
    except msgspec.ValidationError:
        raise _wrong(name, "an object of " + ", ".join(KeyLimits.__struct_fields__)) from None


def _words(value: object) -> list[str] | None:
    """A list of texts, or the only one; None: neither."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return None


def _wrong(name: str, expected: str) -> Unauthenticated:
    return Unauthenticated(f"the token's claim '{name}' should be {expected}")
