"""Every setting with its default and its limits; `config.load` fills them from the outside."""

from pathlib import PurePath
from typing import Annotated, Literal

from msgspec import Meta, Struct

from config.limits import KeyLimits, Limit

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
Bits = Literal["auto", 16, 8, 4]
PinnedPrompt = Annotated[str, Meta(min_length=1, max_length=32_768)]


class TlsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM: the certificate with those that signed it, and its key without a password."""

    certificate_file: Annotated[str, Meta(min_length=1)]
    key_file: Annotated[str, Meta(min_length=1)]


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients reach us, and what one request may cost."""

    host: str = "127.0.0.1"
    port: Port = 8080  # 0: any free one
    gateways: Annotated[int, Meta(ge=1, le=64)] = 1
    runtime_dir: str | None = None  # sockets and metrics; default: by user and port
    request_timeout_s: Seconds = 300.0
    drain_timeout_s: Annotated[float, Meta(ge=0)] = 30.0
    max_body_bytes: Positive = 8 * 1024 * 1024
    # Of all large bodies that one gateway holds at a time; default: 32 of the largest.
    max_held_body_bytes: Positive | None = None
    tls: TlsSettings | None = None
    default_max_tokens: Positive = 512


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model to serve."""

    model: Annotated[str, Meta(min_length=1)]  # "demo", a local folder or a hub id
    alias: Annotated[str, Meta(min_length=1)] | None = None
    replicas: Annotated[int, Meta(ge=1, le=64)] = 1
    load: Literal["at_start", "on_demand"] = "at_start"
    pinned: bool = False  # once loaded it stays, however little it is used
    # System prompts that every engine of the model reads as soon as it is up and keeps in memory,
    # so that conversations that begin with one never wait for it to be read.
    pinned_prompts: Annotated[tuple[PinnedPrompt, ...], Meta(max_length=16)] = ()

    @property
    def name(self) -> str:
        """What clients call it: its alias, its hub id or the last part of its path."""
        is_path = self.model.startswith(("/", "./", "../", "~"))
        return self.alias or (PurePath(self.model).name if is_path else "") or self.model


class LifecycleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many models are loaded at a time; the least recently used one makes room."""

    max_loaded_models: Positive | None = None  # default: what memory allows


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine process works."""

    max_concurrent: Positive | None = None  # sequences in the batch; default: what memory allows
    max_waiting: Positive = 4096  # requests that may queue in front of one engine
    # Read at once at most, while nobody waits; default: 2048, on a CPU 512.
    prefill_chunk_tokens: Annotated[int, Meta(ge=16, le=16384)] | None = None
    # Running streams wait at most so long for somebody else's prompt.
    max_decode_stall_ms: Annotated[float, Meta(ge=1, le=10_000)] = 50.0
    # An idle engine waits so long for company of its first request: 0, or 5 to 10.
    batch_window_ms: Annotated[float, Meta(ge=0, le=10)] = 0.0
    # Off: an engine that runs out of Metal resources is replaced without losing a stream anyway,
    # and one replaced in advance costs everybody its time to load. Others met that limit after
    # some 319,000 tokens, so where it is met 250_000 is a good value.
    recycle_after_tokens: Annotated[int, Meta(ge=1000)] | None = None
    max_context_tokens: Positive | None = None  # default: what the model's config says
    ready_within_s: Seconds = 900.0
    stall_timeout_s: Seconds = 30.0
    shutdown_s: Seconds = 120.0


class DiskSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where stored prefixes go that memory has no room for; they survive a restart there."""

    directory: Annotated[str, Meta(min_length=1)]
    max_bytes: Positive = 20 * 1024**3


class KVCacheSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much memory the node may use, as shares of what the device may wire."""

    budget_fraction: Fraction = 0.8
    soft_watermark: Fraction = 0.85  # of the budget: drop stored prefixes, then quantise new caches
    hard_watermark: Fraction = 0.97  # of the budget: stop admitting
    bits: Bits = "auto"  # of live caches; auto: 16 while there is room, then 8, and 4 for long ones
    stored_bits: Bits = "auto"  # of stored prefixes; auto: 8, 4 beyond 8K tokens, 16 on a CPU
    stored_fraction: Annotated[float, Meta(ge=0, le=1)] = 0.5  # of the budget, at most
    disk: DiskSettings | None = None

    @property
    def promised_fraction(self) -> float:
        """Of the budget, what may be promised to sequences: half-way between the watermarks, so
        that a node that is merely full is not taken for one in need."""
        return (self.soft_watermark + self.hard_watermark) / 2


class StructuredOutputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client may ask of an answer's form."""

    max_schema_bytes: Positive = 32 * 1024  # also of expressions, choices and grammars


class SupervisionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Restart intensity of each group of children, and the back-off between restarts."""

    intensity: Annotated[int, Meta(ge=0)] = 5
    period_s: Seconds = 60.0
    backoff_base_s: Seconds = 0.1
    backoff_cap_s: Seconds = 10.0
    stable_after_s: Seconds = 30.0


class CircuitBreakerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an engine gets no new requests for a while."""

    error_rate: Fraction = 0.1
    window_s: Seconds = 30.0
    min_requests: Positive = 10
    failed_health_checks: Positive = 3
    first_token_timeout_s: Seconds = 60.0
    token_gap_timeout_s: Seconds = 30.0
    open_s: Seconds = 60.0
    half_open_probes: Positive = 3


class WarmupSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the capacity is kept warm, in idle time only."""

    enabled: bool = True
    pool_fraction: Fraction = 0.15
    rewarm_after_s: Seconds = 300.0


class LoggingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the supervisor writes what its children say, besides the terminal."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    directory: str | None = None
    max_file_bytes: Positive = 50 * 1024 * 1024


class HardwareSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do on a machine below the recommended size."""

    policy: Literal["warn", "strict", "off"] = "warn"


class JwtSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens that somebody else signs, for one audience, and where the keys to check them are.

    A claim's name may be a path with dots (`realm_access.roles`). Secrets are in files, so that
    the configuration can be shown.
    """

    issuer: Annotated[str, Meta(min_length=1)]  # `iss` has to be this
    audience: Annotated[str, Meta(min_length=1)]  # `aud` has to be or to have this
    jwks_url: str | None = None  # RS256, ES256 and EdDSA keys; or
    jwks_file: str | None = None  # the same in a file
    hs256_secret_file: str | None = None  # without it no HS256 token is taken
    refresh_s: Annotated[float, Meta(ge=10, le=86_400)] = 300.0  # how often the URL is asked
    leeway_s: Annotated[float, Meta(ge=0, le=300)] = 30.0  # of clocks that differ
    tenant_claim: Annotated[str, Meta(min_length=1)] = "tenant"
    role_claim: Annotated[str, Meta(min_length=1)] = "role"  # one role or a list of them
    admin_role: Annotated[str, Meta(min_length=1)] = "admin"  # what makes somebody an admin there
    models_claim: Annotated[str, Meta(min_length=1)] = "models"  # a list; without it all models
    limits_claim: Annotated[str, Meta(min_length=1)] = "limits"  # an object of a key's limits


class TenantSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the keys and tokens of one tenant may use together; left out: no limit."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrent_streams: Limit | None = None


class AuthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask; without keys and tokens everybody who reaches the loopback address."""

    keys_file: Annotated[str, Meta(min_length=1)] | None = None  # see `mlx-serving keys`
    jwt: JwtSettings | None = None
    tenants: tuple[TenantSettings, ...] = ()

    @property
    def configured(self) -> bool:
        """Whether one has to show a key or a token."""
        return self.keys_file is not None or self.jwt is not None


class CorsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which web pages may ask from a browser: `https://chat.example.org`, or `*` for all."""

    origins: tuple[str, ...] = ()


class LimitsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each key, and all keys of a tenant together, may use unless they have limits of their
    own. Without keys everybody counts as one."""

    key: KeyLimits = KeyLimits()
    tenant: KeyLimits = KeyLimits()


class ResponsesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how much is kept of what `/v1/responses` stores; see `gateway/responses/`."""

    ttl_s: Seconds = 86_400.0
    max_bytes: Positive = 256 * 1024**2  # of all tenants; who has most loses the oldest first


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of one node."""

    server: ServerSettings = ServerSettings()
    models: tuple[ModelSettings, ...] = (ModelSettings(model="demo"),)
    lifecycle: LifecycleSettings = LifecycleSettings()
    engine: EngineSettings = EngineSettings()
    kv_cache: KVCacheSettings = KVCacheSettings()
    structured_output: StructuredOutputSettings = StructuredOutputSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    circuit_breaker: CircuitBreakerSettings = CircuitBreakerSettings()
    warmup: WarmupSettings = WarmupSettings()
    logging: LoggingSettings = LoggingSettings()
    hardware: HardwareSettings = HardwareSettings()
    auth: AuthSettings = AuthSettings()
    cors: CorsSettings = CorsSettings()
    limits: LimitsSettings = LimitsSettings()
    responses: ResponsesSettings = ResponsesSettings()
