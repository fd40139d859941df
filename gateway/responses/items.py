"""What conversations are made of: the items that are stored, sent and listed.

Source: https://platform.openai.com/docs/api-reference/responses/object, and the types of the
official Python client.
"""

from typing import Any, Literal

from msgspec import Struct

from gateway.http.logprobs import TokenLogprob

Status = Literal["in_progress", "completed", "incomplete"]
Role = Literal["user", "system", "developer", "assistant"]


class InputText(Struct, frozen=True, tag="input_text", tag_field="type"):
    """What somebody said to the model."""

    text: str


class OutputText(Struct, frozen=True, tag="output_text", tag_field="type"):
    """What the model said."""

    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class Refusal(Struct, frozen=True, tag="refusal", tag_field="type"):
    """How another model declined; ours say so in their text."""

    refusal: str


class ReasoningText(Struct, frozen=True, tag="reasoning_text", tag_field="type"):
    """What the model thought."""

    text: str


class SummaryText(Struct, frozen=True, tag="summary_text", tag_field="type"):
    """A summary of that, as other servers make them."""

    text: str


class Message(Struct, frozen=True, tag="message", tag_field="type"):
    """A message, whoever it is from."""

    id: str
    role: Role
    content: list[InputText | OutputText | Refusal]
    status: Status = "completed"


class Reasoning(Struct, frozen=True, tag="reasoning", tag_field="type"):
    """Thoughts; those of our models are whole, in `content`."""

    id: str
    summary: list[SummaryText] = []
    content: list[ReasoningText] = []
    encrypted_content: str | None = None
    status: Status = "completed"


class FunctionCall(Struct, frozen=True, tag="function_call", tag_field="type"):
    """A call that the model made; `call_id` is what its result names."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: Status = "completed"


class FunctionCallOutput(Struct, frozen=True, tag="function_call_output", tag_field="type"):
    """What a function gave back."""

    id: str
    call_id: str
    output: str
    status: Status = "completed"


Item = Message | Reasoning | FunctionCall | FunctionCallOutput
