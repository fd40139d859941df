"""What a key or a tenant may use and what is left of it; settings, keys, messages and errors
speak of it alike."""

from typing import Annotated

from msgspec import Meta, Struct

Limit = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class KeyLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a key or a tenant may use; None is no limit.

    As much as comes back in a minute may be used at once. A token is one of a prompt or of an
    answer. Each answer that is being written is a stream, whether its client asked for a stream
    or not.
    """

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    concurrent_streams: Limit | None = None


class Left(Struct, frozen=True):
    """Of one limit: `reset_s` after now everything is there again."""

    limit: int
    remaining: int
    reset_s: float


class Allowance(Struct, frozen=True):
    """What is left a minute to whoever asked; where both a key and its tenant have a limit, the
    one of which less is left. None: there is no limit."""

    requests: Left | None = None
    tokens: Left | None = None
