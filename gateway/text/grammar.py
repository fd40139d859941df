"""What an answer must match, from what clients send to what engines take.

Every function is pure and checks the grammar with llguidance, so that what it does not support is
refused before a request takes anybody's place. That takes a millisecond for the usual schema and
up to half a second for the worst of 32 KiB, nearly all of it without the interpreter's lock:
call them in a thread.
"""

import functools
import json
import re
from collections.abc import Iterable
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from config.errors import InvalidRequest
from gateway.text.schema_limits import check_schema, closed
from transport.messages.data import Grammar

# Room for a line break and an indent, and no more: models that fall into white space get out of it.
_WHITE_SPACE = r"[ \t\r\n]{1,24}"
_PROBE_STEPS = 4
_PRINTED = 0x21  # bytes from here on: white space leads nowhere
_MOST_OPERATORS = 16  # intersections and complements multiply: 32 of them take minutes
_LONGEST_REASON = 300
_LIMITS = LLParserLimits(
    step_max_items=10_000, max_lexer_states=50_000, max_grammar_size=500_000, verbose_errors=False
)
# The lexemes of llguidance (parser/src/lark/lexer.rs), so that its operators are found.
_LARK_TEXT = re.compile(
    r'"(?:\\.|[^"\\\n])*"i?|/(?:\\.|[^/\\])+/[imslux]*|//[^\n]*|#[^\n]*|<[^<>\s]+>'
)
_LARK_JSON = re.compile(r"%json\s*(?=\{)")


def json_object(*, param: str) -> Grammar:
    """Any JSON object."""
    return json_schema({"type": "object"}, strict=False, param=param)


def json_schema(
    schema: dict[str, Any] | bool, *, strict: bool, param: str, max_bytes: int | None = None
) -> Grammar:
    """JSON that satisfies a schema; properties come in the schema's order.

    The schema holds either way. `strict` is as OpenAI means it: objects that list their properties
    have no others, and what cannot be held to exactly is refused. Otherwise, as in JSON Schema,
    objects are open unless they say so, and `oneOf` is held to as `anyOf`.

    Raises:
        InvalidRequest: too large, not a schema, nothing satisfies it, or a keyword or format that
            is not supported; `param` is named.
    """
    _check_size(_json_text(schema, param), max_bytes, param)
    return Grammar(_checked(_from_schema(schema, strict, param), param))


def regex(expression: str, *, param: str, max_bytes: int | None = None) -> Grammar:
    """Text that matches all of a regular expression, in the syntax of Rust's regex.

    Raises:
        InvalidRequest: too large, or not valid.
    """
    _check_size(expression, max_bytes, param)
    return Grammar(_checked(LLMatcher.grammar_from_regex(expression), param))


def choice(texts: Iterable[str], *, param: str, max_bytes: int | None = None) -> Grammar:
    """Exactly one of these texts.

    Raises:
        InvalidRequest: there is none, or they are too large.
    """
    alternatives = [_literal(text) for text in texts]
    if not alternatives:
        raise InvalidRequest(f"{param} must hold at least one text", param=param)
    _check_size("|".join(texts), max_bytes, param)
    source = LLMatcher.grammar_from_regex(f"(?:{'|'.join(alternatives)})")
    return Grammar(_checked(source, param))


def lark(source: str, *, param: str, max_bytes: int | None = None) -> Grammar:
    """A grammar in llguidance's dialect of Lark, which begins at the rule "start".

    Special tokens may be named; whether a model has them shows only in its engine.

    Raises:
        InvalidRequest: too large, or not valid.
    """
    _check_size(source, max_bytes, param)
    rules = _LARK_TEXT.sub(lambda found: "<>" if found[0].startswith("<") else " ", source)
    if rules.count("&") + rules.count("~") > _MOST_OPERATORS:
        raise InvalidRequest(
            f"{param} may hold up to {_MOST_OPERATORS} operators & and ~", param=param
        )
    try:
        for schema in _schemas_in(source):
            check_schema(schema, param)
    except RecursionError as error:
        raise InvalidRequest(f"{param} is nested too deeply", param=param) from error
    if not re.search(r"\bstart\b", rules):  # else it could be taken for serialised JSON
        raise InvalidRequest(f'{param} has no rule "start"', param=param)
    if "<" in rules:  # tokens that only the model's own vocabulary has
        _refuse(LLMatcher.validate_grammar(source, limits=_LIMITS), param)
        return Grammar(source)
    return Grammar(_checked(source, param))


def embedded(schema: dict[str, Any] | bool, *, strict: bool, param: str) -> str:
    """A schema as an expression inside a Lark grammar; see `json_schema`.

    Raises:
        InvalidRequest: as `json_schema`, but for what only shows when the grammar is checked.
    """
    source = _from_schema(schema, strict, param)
    return "%json " + json.dumps(json.loads(source)["grammars"][0]["json_schema"])


def oversized(size: int, max_bytes: int, param: str) -> InvalidRequest:
    """The refusal of a schema, or what is in its place, of so many bytes."""
    return InvalidRequest(
        f"{param} has {size} bytes, and up to {max_bytes} are allowed "
        "(structured_output.max_schema_bytes)",
        param=param,
    )


def _from_schema(schema: dict[str, Any] | bool, strict: bool, param: str) -> str:
    if isinstance(schema, dict) and "x-guidance" in schema:
        raise InvalidRequest(f"{param}: x-guidance is not a keyword of JSON Schema", param=param)
    if schema is False:
        raise InvalidRequest(f"{param}: nothing satisfies the schema false", param=param)
    try:
        check_schema(schema, param)
        text = _json_text(closed(schema) if strict and schema is not True else schema, param)
    except RecursionError as error:
        raise InvalidRequest(f"{param} is nested too deeply", param=param) from error
    try:
        return LLMatcher.grammar_from_json_schema(
            "{}" if schema is True else text,
            overrides={"whitespace_pattern": _WHITE_SPACE, "coerce_one_of": not strict},
        )
    except ValueError as error:
        raise _refused(str(error), param) from error


def _json_text(schema: object, param: str) -> str:
    try:
        return json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{param} is not JSON: {error}", param=param) from error
    except RecursionError as error:
        raise InvalidRequest(f"{param} is nested too deeply", param=param) from error


def _check_size(text: str, max_bytes: int | None, param: str) -> None:
    size = len(text.encode(errors="replace"))
    if max_bytes is not None and size > max_bytes:
        raise oversized(size, max_bytes, param)


def _literal(text: str) -> str:
    return "".join([char if char.isalnum() else f"\\x{{{ord(char):X}}}" for char in text])


def _schemas_in(source: str) -> Iterable[Any]:
    """The schemas in a Lark grammar; what does not parse is llguidance's to refuse."""
    decoder = json.JSONDecoder()
    for match in _LARK_JSON.finditer(source):
        try:
            yield decoder.raw_decode(source, match.end())[0]
        except (ValueError, RecursionError):
            continue


def _checked(source: str, param: str) -> str:
    """The source, once a vocabulary of bytes has taken the first steps in it."""
    try:
        state = LLMatcher(_byte_tokenizer(), source, log_level=0, limits=_LIMITS)
        for _ in range(_PROBE_STEPS):
            if state.is_stopped():
                break
            mask = int.from_bytes(state.compute_bitmask(), "little")
            if not state.is_error():
                state.consume_token(_first(mask >> _PRINTED << _PRINTED or mask))
        _refuse(state.get_error() if state.is_error() else "", param)
    except InvalidRequest:
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
            raise
        raise _refused("it is too complex", param) from error
    return source


def _first(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


@functools.cache
def _byte_tokenizer() -> LLTokenizer:
    return LLTokenizer("byte")


def _refuse(reason: str, param: str) -> None:
    if reason:
        raise _refused(reason, param)


def _refused(reason: str, param: str) -> InvalidRequest:
    text = reason.removesuffix("\n<non-verbose/>").strip()
    if text == "NoExtensionBias":
        text = "nothing satisfies it"
    if len(text) > _LONGEST_REASON:
        text = text[:_LONGEST_REASON] + "…"
    return InvalidRequest(f"{param} cannot be held to: {text}", param=param)
