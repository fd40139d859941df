"""What the configuration says about models; light, as the supervisor reads it too."""

from msgspec import Struct


class ModelPlan(Struct, frozen=True, kw_only=True):
    """A model of the configuration, which may be loaded at any time."""

    name: str
    source: str  # a folder or a hub id
    replicas: int = 1
    pinned: bool = False
    permanent: bool = False  # loaded at the start: after a failure it comes back by itself
