"""What the control process is started with."""

from msgspec import Struct

from actors.registry.failures import RETRY_S
from actors.registry.plans import ModelPlan
from config.settings import (
    CircuitBreakerSettings,
    KVCacheSettings,
    Settings,
    WarmupSettings,
)


class ControlArgs(Struct, frozen=True, kw_only=True):
    """The settings its actors need; which engines there should be comes over the lifeline."""

    max_waiting: int
    kv_cache: KVCacheSettings
    circuit_breaker: CircuitBreakerSettings
    warmup: WarmupSettings
    models: list[ModelPlan] = []
    max_loaded_models: int | None = None
    max_context_tokens: int | None = None
    memory_bytes: int = 0  # what models and caches may take together
    # Who counts failures over less than that does not want to wait longer either.
    retry_failed_after_s: float = RETRY_S

    @classmethod
    def of(
        cls, settings: Settings, models: list[ModelPlan], wired_limit_bytes: int
    ) -> "ControlArgs":
        """The part of the configuration that concerns control."""
        return cls(
            models=models,
            max_loaded_models=settings.lifecycle.max_loaded_models,
            max_context_tokens=settings.engine.max_context_tokens,
            memory_bytes=int(wired_limit_bytes * settings.kv_cache.budget_fraction),
            retry_failed_after_s=min(RETRY_S, settings.supervision.period_s),
            max_waiting=settings.engine.max_waiting,
            kv_cache=settings.kv_cache,
            circuit_breaker=settings.circuit_breaker,
            warmup=settings.warmup,
        )
