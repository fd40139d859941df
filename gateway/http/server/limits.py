"""What connections may take; all that comes from outside is bounded by one of these."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """What one connection may take, and `held_body_bytes` all of them together."""

    body_bytes: int
    free_body_bytes: int = 64 * 1024  # more is kept only of those who may ask
    held_body_bytes: int = 256 * 1024 * 1024  # of what is more than free
    head_bytes: int = 16 * 1024
    headers: int = 128
    unsent_bytes: int = 1024 * 1024
    head_s: float = 75.0  # also how long a connection may idle
    body_s: float = 60.0
    linger_s: float = 10.0  # for a refused body to stop coming
