"""What an answer must look like, as clients say it: one way at a time."""

from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import Struct

from config.errors import InvalidRequest
from gateway.text.grammar import choice, json_object, json_schema, lark, regex
from gateway.text.model import TextModel
from gateway.tools import ToolUse
from transport.messages.client import GenerationParameters
from transport.messages.data import Grammar
from transport.parameters import clipped, typed

MAX_CHOICES = 1024
Kind = Literal["json_object", "json_schema", "regex", "choice", "grammar"]


class Constraint(Struct, frozen=True):
    """A kind, what is said of it, and the parameter that said it, for errors."""

    kind: Kind
    value: Any  # a schema, an expression, texts to choose from or a Lark grammar; none for objects
    param: str
    strict: bool = True


class _Schema(Struct, frozen=True, forbid_unknown_fields=True):
    schema: dict[str, Any] | bool
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class _Format(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    json_schema: _Schema | None = None


class _Structured(Struct, frozen=True, forbid_unknown_fields=True):
    """`structured_outputs`, as in vLLM."""

    json: dict[str, Any] | str | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


_GUIDED: dict[str, Kind] = {
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_choice": "choice",
    "guided_grammar": "grammar",
}
_said = attrgetter(*_GUIDED, "structured_outputs", "response_format")
_UNSAID = (None,) * (len(_GUIDED) + 2)
_STRUCTURED: dict[str, Kind] = {
    "json": "json_schema",
    "regex": "regex",
    "choice": "choice",
    "grammar": "grammar",
}


def constraint(asked: GenerationParameters) -> Constraint | None:
    """What the answer must match, if anything.

    Raises:
        InvalidRequest: names what is wrong, or the second way of saying it.
    """
    if _said(asked) == _UNSAID:
        return None
    found = [
        _checked(Constraint(kind, getattr(asked, name), name))
        for name, kind in _GUIDED.items()
        if getattr(asked, name) is not None
    ]
    if asked.structured_outputs is not None:
        found += _structured(asked.structured_outputs)
    if asked.response_format is not None:
        found += _response_format(asked.response_format)
    if len(found) > 1:
        raise InvalidRequest(
            f"{found[0].param} and {found[1].param} cannot both say what the answer looks like",
            param=found[1].param,
        )
    return found[0] if found else None


def grammar_of(form: Constraint, max_bytes: int) -> Grammar:
    """What holds an answer to it; slow, so not on the event loop.

    Raises:
        InvalidRequest: it is too large, not valid, or cannot be held to.
    """
    match form.kind:
        case "json_object":
            return json_object(param=form.param)
        case "json_schema":
            return json_schema(
                form.value, strict=form.strict, param=form.param, max_bytes=max_bytes
            )
        case "regex":
            return regex(form.value, param=form.param, max_bytes=max_bytes)
        case "choice":
            return choice(form.value, param=form.param, max_bytes=max_bytes)
        case "grammar":
            return lark(form.value, param=form.param, max_bytes=max_bytes)


def held_by(use: ToolUse | None, form: Constraint | None) -> str | None:
    """The parameter that `chat_grammar` or `grammar_of` makes a grammar from; None: there is none.

    Where calls may be made, or else an answer of a form, it is the form.
    """
    if use is not None and use.choice == "required":
        return "tools"
    return None if form is None else form.param


def chat_grammar(
    text: TextModel,
    prompt: list[int],
    use: ToolUse | None,
    form: Constraint | None,
    max_bytes: int,
) -> Grammar | None:
    """What holds an answer to a conversation, where something does; slow, as `grammar_of`.

    Calls that must be made leave no room for anything else. Where they may be made, an answer is
    either calls or of the form.

    Raises:
        InvalidRequest: as `grammar_of`, or as `TextModel.tool_grammar`.
    """
    if use is not None and use.choice == "required":
        return text.tool_grammar(prompt, use.tools, named=use.named, parallel=use.parallel)
    if form is None:
        return None
    answer = text.after_thoughts(grammar_of(form, max_bytes), prompt)
    if use is None:
        return answer
    return either(text.tool_grammar(prompt, use.tools, parallel=use.parallel), answer)


def either(one: Grammar, other: Grammar) -> Grammar:
    """What one of two grammars matches; both begin after the same thoughts, if any."""
    parts = [*_parts(one, "one"), *_parts(other, "other")]
    start = {"lark_grammar": "start: @one | @other"}
    source = msgspec.json.encode({"grammars": [start, *parts]}).decode()
    return Grammar(source, other.starts_after)


def _parts(grammar: Grammar, name: str) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"lark_grammar": grammar.source}]
    if grammar.source.startswith("{"):
        parts = msgspec.json.decode(grammar.source)["grammars"]
    return [parts[0] | {"name": name}, *parts[1:]]


def _response_format(given: dict[str, Any]) -> list[Constraint]:
    form = typed(given, _Format, "response_format")
    if form.type != "json_schema" and form.json_schema is not None:
        raise InvalidRequest(
            "json_schema is only for the type json_schema", param="response_format.json_schema"
        )
    match form.type:
        case "text":
            return []
        case "json_object":
            return [Constraint("json_object", None, "response_format")]
        case "json_schema":
            return [_schema(form.json_schema)]
    raise InvalidRequest(
        f"type is text, json_object or json_schema, not '{clipped(form.type)}'",
        param="response_format.type",
    )


def _schema(given: _Schema | None) -> Constraint:
    param = "response_format.json_schema"
    if given is None:
        raise InvalidRequest("json_schema is missing", param=param)
    return Constraint("json_schema", given.schema, f"{param}.schema", given.strict is True)


def _structured(given: dict[str, Any]) -> list[Constraint]:
    wanted = typed(given, _Structured, "structured_outputs")
    return [
        _checked(Constraint(kind, getattr(wanted, name), f"structured_outputs.{name}"))
        for name, kind in _STRUCTURED.items()
        if getattr(wanted, name) is not None
    ]


def _checked(found: Constraint) -> Constraint:
    if found.kind == "choice" and not 0 < len(found.value) <= MAX_CHOICES:
        raise InvalidRequest(f"{found.param} must hold 1 to {MAX_CHOICES} texts", param=found.param)
    if found.kind == "json_schema" and isinstance(found.value, str):
        return msgspec.structs.replace(found, value=_parsed(found.value, found.param))
    return found


def _parsed(text: str, param: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(f"{param} is not valid JSON: {error}", param=param) from error
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{param} must be an object", param=param)
    return schema
