"""What a gateway process is told when it starts; light, because the supervisor imports it."""

from typing import Self

from msgspec import Struct

from config.settings import (
    AuthSettings,
    CircuitBreakerSettings,
    CorsSettings,
    LimitsSettings,
    ResponsesSettings,
    ServerSettings,
    Settings,
    StructuredOutputSettings,
)


class GatewayArgs(Struct, frozen=True, kw_only=True):
    """The settings of one gateway; its listening socket comes as the file descriptor `http`."""

    number: int
    server: ServerSettings
    patience: CircuitBreakerSettings
    structured: StructuredOutputSettings
    pinned_prompts: dict[str, tuple[str, ...]] = {}  # by model name
    auth: AuthSettings = AuthSettings()
    cors: CorsSettings = CorsSettings()
    limits: LimitsSettings = LimitsSettings()
    responses: ResponsesSettings = ResponsesSettings()

    @classmethod
    def of(cls, settings: Settings, number: int) -> Self:
        """What gateway number `number` needs of the settings."""
        return cls(
            number=number,
            server=settings.server,
            patience=settings.circuit_breaker,
            structured=settings.structured_output,
            auth=settings.auth,
            cors=settings.cors,
            limits=settings.limits,
            responses=settings.responses,
            pinned_prompts={
                model.name: model.pinned_prompts
                for model in settings.models
                if model.pinned_prompts
            },
        )
