"""What must hold between settings, beyond the limits of each one."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from config.check import Fault
from config.settings import JwtSettings, ServerSettings, Settings

MIN_WINDOW_MS = 5.0  # less than that gathers nothing and still makes everybody wait
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+")


def broken(settings: Settings) -> list[Fault]:
    """Every rule that does not hold."""
    return [
        *_models(settings),
        *_loaded(settings),
        *_pinned(settings),
        *_order(settings),
        *_window(settings.engine.batch_window_ms),
        *_bodies(settings.server),
        *_host(settings),
        *_tenants(settings),
        *_jwt(settings.auth.jwt),
        *_origins(settings.cors.origins),
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _models(settings: Settings) -> Iterator[Fault]:
    for name, count in Counter(model.name for model in settings.models).items():
        if count > 1:
            remedy = "give each an alias, or one of them more replicas"
            yield Fault("models", f"{count} models are called {name}; {remedy}")


def _loaded(settings: Settings) -> Iterator[Fault]:
    limit = settings.lifecycle.max_loaded_models
    first = sum(model.load == "at_start" for model in settings.models)
    if limit is not None and first > limit:
        yield Fault(
            "lifecycle.max_loaded_models",
            f"expected at least {first}, as many models are loaded at the start, got {limit}; "
            "give some of them load: on_demand",
        )


def _pinned(settings: Settings) -> Iterator[Fault]:
    if settings.kv_cache.stored_fraction:
        return
    for place, model in enumerate(settings.models):
        if model.pinned_prompts:
            yield Fault(
                f"models[{place}].pinned_prompts",
                "expected none, as kv_cache.stored_fraction is 0, so nothing is stored; give it a "
                "larger value",
            )


def _window(window_ms: float) -> Iterator[Fault]:
    if 0 < window_ms < MIN_WINDOW_MS:
        yield Fault(
            "engine.batch_window_ms", f"expected 0 or {MIN_WINDOW_MS:g} to 10, got {window_ms:g}"
        )


def _order(settings: Settings) -> Iterator[Fault]:
    kv_cache, supervision = settings.kv_cache, settings.supervision
    if kv_cache.soft_watermark >= kv_cache.hard_watermark:
        yield Fault(
            "kv_cache.soft_watermark",
            f"expected less than kv_cache.hard_watermark ({kv_cache.hard_watermark}), "
            f"got {kv_cache.soft_watermark}",
        )
    if supervision.backoff_base_s > supervision.backoff_cap_s:
        yield Fault(
            "supervision.backoff_base_s",
            f"expected at most supervision.backoff_cap_s ({supervision.backoff_cap_s}), "
            f"got {supervision.backoff_base_s}",
        )


def _bodies(server: ServerSettings) -> Iterator[Fault]:
    held = server.max_held_body_bytes
    if held is not None and held < server.max_body_bytes:
        yield Fault(
            "server.max_held_body_bytes",
            f"expected at least server.max_body_bytes ({server.max_body_bytes}), got {held}",
        )


def _host(settings: Settings) -> Iterator[Fault]:
    host = settings.server.host
    if not settings.auth.configured and not is_loopback(host):
        yield Fault(
            "server.host",
            f"expected a loopback address such as 127.0.0.1, got {host!r}: without API keys the "
            "server must not be reachable from other machines; set auth.keys_file (--keys-file) "
            "and see mlx-serving keys create",
        )


def _tenants(settings: Settings) -> Iterator[Fault]:
    for name, count in Counter(tenant.name for tenant in settings.auth.tenants).items():
        if count > 1:
            yield Fault("auth.tenants", f"{count} tenants are called {name}")


def _jwt(jwt: JwtSettings | None) -> Iterator[Fault]:
    if jwt is None:
        return
    if jwt.jwks_url and jwt.jwks_file:
        yield Fault("auth.jwt.jwks_file", "expected none, as there is a jwks_url")
    if not (jwt.jwks_url or jwt.jwks_file or jwt.hs256_secret_file):
        yield Fault("auth.jwt", "expected one of jwks_url, jwks_file and hs256_secret_file")
    if jwt.jwks_url and not _is_safe(jwt.jwks_url):
        yield Fault(
            "auth.jwt.jwks_url",
            "expected an https:// address, or an http:// one on loopback; whoever can change what "
            "comes from there can sign tokens",
        )


def _is_safe(url: str) -> bool:
    """Whether nobody on the way can change what comes from there."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return is_loopback(host) if parts.scheme == "http" else parts.scheme == "https" and host != ""


def _origins(origins: tuple[str, ...]) -> Iterator[Fault]:
    for place, origin in enumerate(origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield Fault(
                f"cors.origins[{place}]",
                f"expected * or a scheme and a host such as https://chat.example.org, without a "
                f"path and a slash at the end, got {origin!r}",
            )
