"""A tree of plain values against the settings' types: every fault at once, each with its path."""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from config.settings import Settings

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SIGNS = {"<=": "≤", ">=": "≥"}


class Fault(NamedTuple):
    """What is wrong where; `path` as the user wrote it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def snake(key: str) -> str:
    """The key as we spell it: `maxBodyBytes` becomes `max_body_bytes`."""
    return _CAMEL.sub("_", key).lower()


def join(path: str, key: object) -> str:
    """The path of `key` below `path`."""
    return f"{path}.{key}" if path else str(key)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def check(kind: type[Struct], tree: object, path: str, faults: list[Fault]) -> dict[str, Any]:
    """`tree` under our spelling of the keys and without nulls; what is wrong goes to `faults`.

    Defaults are not filled in. What a section lacks may come from another source: see `missing`.
    """
    if not isinstance(tree, dict):
        faults.append(Fault(path, f"expected a mapping, got {_short(tree)}"))
        return {}
    fields = {field.name: field for field in structs.fields(kind)}
    good: dict[str, Any] = {}
    for key, value in tree.items():
        name, where = snake(str(key)), join(path, key)
        if name not in fields:
            faults.append(Fault(where, _unknown(name, path, fields)))
        elif name in good:
            faults.append(Fault(where, f"given twice, in two spellings of {name}"))
        elif value is not None:
            good[name] = _value(fields[name].type, value, where, faults)
    return good


def missing(kind: type[Struct], tree: Mapping[str, Any], path: str = "") -> Iterator[Fault]:
    """What must be there in a tree that `check` made, or several of them merged, and is not."""
    for field in structs.fields(kind):
        section, value = _section(field.type), tree.get(field.name)
        if field.required and value is None:
            yield Fault(join(path, field.name), "is missing")
        elif section is not None and value is not None:
            yield from missing(section, value, join(path, field.name))


def _section(kind: Any) -> type[Struct] | None:  # noqa: ANN401
    """The section's type, also of one that may be left out; None for a plain value."""
    kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Struct)), None)


def _value(kind: Any, value: object, path: str, faults: list[Fault]) -> object:  # noqa: ANN401
    section = _section(kind)
    if section is not None:
        return check(section, value, path, faults)
    item = _section(get_args(kind)[0]) if get_origin(kind) is tuple else None
    if item is not None:
        if not isinstance(value, list):
            faults.append(Fault(path, f"expected a list, got {_short(value)}"))
            return []
        return [_item(item, each, f"{path}[{n}]", faults) for n, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        faults.append(Fault(path, f"expected a finite number, got {value}"))
        return value
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        faults.append(Fault(path, _explain(kind, str(error), value)))
    return value


def _item(kind: type[Struct], value: object, path: str, faults: list[Fault]) -> dict[str, Any]:
    """A list comes from one source, so each item must be whole."""
    good = check(kind, value, path, faults)
    if isinstance(value, dict):
        faults += missing(kind, good, path)
    return good


def _explain(kind: Any, message: str, value: object) -> str:  # noqa: ANN401
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        guess = nearest(value, choices) if isinstance(value, str) else None
        hint = f"; did you mean {guess}?" if guess else ""
        return f"expected one of {', '.join(choices)}, got {_short(value)}{hint}"
    message = message.replace(" | null", "")
    for plain, sign in _SIGNS.items():
        message = message.replace(plain, sign)
    expected = message[:1].lower() + message[1:].split(", got ")[0]
    return f"{expected}, got {_short(value)}"


def _unknown(name: str, path: str, fields: Iterable[str]) -> str:
    guess = nearest(name, fields)
    if guess is None:
        guess = _elsewhere(name)
    return f"unknown key; did you mean {guess}?" if guess else "unknown key"


def _elsewhere(name: str) -> str | None:
    """The path of a setting that has this very name in some section."""
    for section in structs.fields(Settings):
        kind = section.type
        is_section = isinstance(kind, type) and issubclass(kind, Struct)
        if is_section and name in {field.name for field in structs.fields(kind)}:
            return f"{section.name}.{name}"
    return None


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
