"""Conversations that are checked as far as that goes without a model."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gateway.constraints import Constraint, constraint, held_by
from gateway.messages import template_messages
from gateway.tools import ToolUse, template_arguments, tool_use
from transport.messages.client import ChatMessage, GenerationParameters


class Conversation(Struct, frozen=True):
    """What a chat template is given, and what the answer is held to."""

    turns: list[dict[str, Any]]
    arguments: dict[str, Any]
    use: ToolUse | None
    form: Constraint | None

    @property
    def tools(self) -> list[dict[str, Any]] | None:
        """What the model may call."""
        return None if self.use is None else self.use.tools

    @property
    def parallel(self) -> bool:
        """Whether it may make several calls."""
        return self.use is None or self.use.parallel

    @property
    def held(self) -> str | None:
        """The parameter that a grammar is to be made from; None: there is none."""
        return held_by(self.use, self.form)


def conversation(
    messages: Sequence[ChatMessage], asked: GenerationParameters, max_schema_bytes: int
) -> Conversation:
    """A conversation, and what is asked of it.

    Raises:
        InvalidRequest: names what is wrong.
    """
    return Conversation(
        turns=template_messages(list(messages)),
        use=tool_use(asked, max_schema_bytes),
        form=constraint(asked),
        arguments=template_arguments(asked),
    )
