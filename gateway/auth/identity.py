"""Who asks, and what they may do."""

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from config.errors import PeerUnreachable
from config.limits import KeyLimits as KeyLimits

Role = Literal["user", "admin"]


class Identity(Struct, frozen=True):
    """Somebody who may ask.

    `key_id` is what limits of their own are counted under; it is no secret. `tenant` is empty
    where nothing is shared with others. `models` are those that may be used, None for all.
    """

    name: str = "anonymous"
    tenant: str = ""
    role: Role = "user"
    key_id: str = ""
    models: frozenset[str] | None = None
    limits: KeyLimits | None = None
    tenant_limits: KeyLimits | None = None

    def may_use(self, model: str) -> bool:
        """Whether a model exists for them; `model` is the name it is served under."""
        return self.models is None or model in self.models

    @property
    def salt(self) -> str:
        """What keeps the stored prefixes of one apart from those of others: keys of one tenant
        share theirs, a key without one has its own, and without keys all are one."""
        return self.tenant or (f"\0{self.key_id}" if self.key_id else "")


# Without keys the server is on loopback only: whoever reaches it sits at this machine.
LOCAL = Identity(name="local", role="admin")

# Somebody without a key where one is needed: may see what is for everybody.
NOBODY = Identity(models=frozenset())


class KeysAwaited(PeerUnreachable):
    """The key that a token is checked with is not there yet.

    Strangers can have as many of these as they like: whoever raises it logs it, now and then.
    """


Headers = Callable[[str], str | None]  # the value of a header, whatever the case of its name


class Authenticator(Protocol):
    """Tells who asks."""

    def identify(self, header: Headers) -> Identity:
        """Who sent a request with these headers; event loop only, never blocks.

        Raises:
            Unauthenticated: no or no valid key or token.
            KeysAwaited: what it is checked with is not there yet.
        """
        ...
