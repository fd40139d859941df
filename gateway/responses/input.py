"""The input of a response: items as clients send them become the items that are kept."""

import re
from collections.abc import Callable

from msgspec import Struct

from config.errors import InvalidRequest
from gateway.messages import MAX_MESSAGES, is_name
from gateway.responses.ids import ItemIds
from gateway.responses.items import (
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    Message,
    OutputText,
    Reasoning,
    ReasoningText,
    Refusal,
    Role,
    SummaryText,
)
from transport.parameters import clipped

_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ROLES: dict[str, Role] = {
    "user": "user",
    "system": "system",
    "developer": "developer",
    "assistant": "assistant",
}
_TEXTS = {"input_text", "output_text", "text"}


class InputPart(Struct, frozen=True):
    """A part of what an item holds; parts that are no text have other fields, not looked at."""

    type: str
    text: str | None = None
    refusal: str | None = None


class InputItem(Struct, frozen=True):
    """Any item, as clients write it or send it back.

    Fields that are not here are those of kinds that are refused, and what clients' own types add.
    """

    type: str | None = None  # "message" and references may leave it out
    id: str | None = None
    role: str | None = None
    content: str | list[InputPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None
    summary: list[InputPart] | None = None
    encrypted_content: str | None = None

    @property
    def kind(self) -> str:
        """What it is, said or not."""
        if self.type is not None:
            return self.type
        return "item_reference" if self.role is None and self.id is not None else "message"


def kept_items(
    given: str | list[InputItem], ids: ItemIds, known: Callable[[str], Item | None]
) -> list[Item]:
    """The items of an input; `known` finds those that are only referred to.

    Raises:
        InvalidRequest: names the place of what cannot be used.
    """
    if isinstance(given, str):
        return [Message(ids.new("msg"), "user", [InputText(given)])]
    if not 0 < len(given) <= MAX_MESSAGES:
        raise InvalidRequest(
            f"input must hold 1 to {MAX_MESSAGES} items, not {len(given)}", param="input"
        )
    return [_kept(item, f"input[{place}]", ids, known) for place, item in enumerate(given)]


def referred_ids(given: str | list[InputItem]) -> list[str]:
    """The ids of the items that are only referred to."""
    if isinstance(given, str):
        return []
    return [item.id for item in given if item.kind == "item_reference" and item.id is not None]


def _kept(item: InputItem, where: str, ids: ItemIds, known: Callable[[str], Item | None]) -> Item:
    match item.kind:
        case "message":
            return _message(item, where, ids)
        case "function_call":
            return _call(item, where, ids)
        case "function_call_output":
            return _output(item, where, ids)
        case "reasoning":
            return _reasoning(item, where, ids)
        case "item_reference":
            return _known(item, where, known)
    raise InvalidRequest(
        f"items of type '{clipped(item.kind)}' are not supported", param=f"{where}.type"
    )


def _message(item: InputItem, where: str, ids: ItemIds) -> Message:
    role = _ROLES.get(item.role or "")
    if role is None:
        raise InvalidRequest(
            f"role '{clipped(item.role or '')}' is not one of {', '.join(_ROLES)}",
            param=f"{where}.role",
        )
    if item.content is None:
        raise InvalidRequest("a message needs content", param=f"{where}.content")
    parts = [InputPart("text", item.content)] if isinstance(item.content, str) else item.content
    own = role == "assistant"
    content = [_part(it, f"{where}.content[{at}]", own=own) for at, it in enumerate(parts)]
    return Message(_id(item, "msg", ids), role, content)


def _part(part: InputPart, where: str, *, own: bool) -> InputText | OutputText | Refusal:
    """A part of a message; `own` when it is the model's."""
    if own and part.type == "refusal" and part.refusal is not None:
        return Refusal(part.refusal)
    text = _text(part, where)
    return OutputText(text) if own else InputText(text)


def _text(part: InputPart, where: str) -> str:
    if part.type not in _TEXTS:
        raise InvalidRequest(
            f"content of type '{clipped(part.type)}' is not supported; this model reads text",
            param=f"{where}.type",
        )
    if part.text is None:
        raise InvalidRequest("a text part needs text", param=f"{where}.text")
    return part.text


def _call(item: InputItem, where: str, ids: ItemIds) -> FunctionCall:
    if not item.name or not is_name(item.name):
        raise InvalidRequest(
            f"'{clipped(item.name or '')}' is no function name", param=f"{where}.name"
        )
    return FunctionCall(
        _id(item, "fc", ids), _call_id(item, where), item.name, item.arguments or "{}"
    )


def _output(item: InputItem, where: str, ids: ItemIds) -> FunctionCallOutput:
    if item.output is None:
        raise InvalidRequest("the result of a call needs output", param=f"{where}.output")
    output = item.output
    if not isinstance(output, str):
        output = "".join(_text(it, f"{where}.output[{at}]") for at, it in enumerate(output))
    return FunctionCallOutput(_id(item, "fco", ids), _call_id(item, where), output)


def _reasoning(item: InputItem, where: str, ids: ItemIds) -> Reasoning:
    content = item.content if isinstance(item.content, list) else []
    for at, part in enumerate(content):
        if part.type != "reasoning_text":
            raise InvalidRequest(
                f"thoughts are of type 'reasoning_text', not '{clipped(part.type)}'",
                param=f"{where}.content[{at}].type",
            )
    return Reasoning(
        _id(item, "rs", ids),
        [SummaryText(part.text or "") for part in item.summary or ()],
        [ReasoningText(part.text or "") for part in content],
        item.encrypted_content,
    )


def _known(item: InputItem, where: str, known: Callable[[str], Item | None]) -> Item:
    found = known(item.id or "")
    if found is None:
        raise InvalidRequest(
            f"there is no item '{clipped(item.id or '')}' here (any more); send the item itself",
            param=f"{where}.id",
        )
    return found


def _call_id(item: InputItem, where: str) -> str:
    if not item.call_id:
        raise InvalidRequest("a call and its result need a call_id", param=f"{where}.call_id")
    return item.call_id


def _id(item: InputItem, prefix: str, ids: ItemIds) -> str:
    """Its own id where it has one that may be said back."""
    return item.id if item.id and _GOOD_ID.fullmatch(item.id) else ids.new(prefix)
