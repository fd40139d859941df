"""What the verbs may see and do, and the two ways to answer: now, or when something has come."""

from collections.abc import Callable
from typing import Protocol

from supervisor.happenings import Happening
from supervisor.journal import Journal
from supervisor.spec import GroupSpec
from supervisor.state import Tree
from transport.messages.admin import AdminReply, Load

MODELS = "models"  # the group that loaded models go under

Later = Callable[[Tree], AdminReply | None]
"""Asked after every decision, until it has the reply."""


class Loader(Protocol):
    """Knows how a model becomes children."""

    def group(self, load: Load) -> GroupSpec:
        """The group that serves the model.

        Raises:
            ServingError: there is no such model, or it cannot be served here.
        """
        ...

    def keep(self, load: Load) -> None:
        """It is in the tree now: when control loads it again, that is as it was asked for here."""
        ...

    def configured(self, model: str) -> GroupSpec:
        """The group that serves a model of the configuration, by its name.

        Raises:
            ServingError: the configuration has no such model, or it cannot be served here.
        """
        ...


class Desk(Protocol):
    """The supervisor, as the verbs see it."""

    node: str
    version: str
    started_at: float  # monotonic
    drain_timeout_s: float
    loader: Loader | None
    journal: Journal

    @property
    def tree(self) -> Tree:
        """As it is now."""
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def config_text(self) -> str:
        """The configuration in force, as YAML."""
        ...

    def apply(self, happening: Happening) -> None:
        """Decide and act.

        Raises:
            ServingError: the command cannot be met; nothing has changed.
        """
        ...
