"""JSON Schemas of all that is sent and answered, made from the types that decode and encode it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.http.body import READERS, BodyReader
from gateway.parameters import Range

REF = "#/components/schemas/{name}"
JsonSchema = dict[str, Any]


def schemas_of(types: Iterable[Any]) -> tuple[dict[Any, JsonSchema], dict[str, JsonSchema]]:
    """A schema for each type, and those that they refer to, by name."""
    wanted = list(dict.fromkeys(types))
    found, components = msgspec.json.schema_components(wanted, ref_template=REF)
    for kind in wanted:
        reader = READERS.get(kind)
        if reader is not None:
            _tell(components[kind.__name__]["properties"], reader)
    names = {name: _name(name) for name in components}
    text = msgspec.json.encode([found, components]).decode()
    for name, shown in names.items():
        text = text.replace(f'"{REF.format(name=name)}"', f'"{REF.format(name=shown)}"')
    schemas, described = msgspec.json.decode(text)
    for schema in described.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
    return (
        dict(zip(wanted, schemas, strict=True)),
        {names[name]: schema for name, schema in described.items()},
    )


def of_query(kind: type[msgspec.Struct]) -> dict[str, tuple[str, JsonSchema]]:
    """What each parameter of a query says, and what it may be."""
    found = {}
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        text = schema.pop("description")
        if field.default not in (None, ""):
            schema["default"] = field.default
        found[field.encode_name] = text, schema
    return found


def _name(name: str) -> str:
    """Types of the same name are told apart by their package, which msgspec does by their path."""
    *path, last = name.removeprefix("mlx_serving.").split(".")  # as it is called when installed
    return f"{path[1].capitalize()}{last}" if path else last


def _tell(properties: dict[str, JsonSchema], reader: BodyReader[Any]) -> None:
    """Say what is refused and ignored, and what numbers may be."""
    for name, harmless in reader.inert.items():
        text = f"Not supported{reader.instead.get(name, '')}."
        properties[name] = {"enum": [*harmless, None], "default": None, "description": text}
    for name, kind in reader.types.items():
        properties[name] = {**msgspec.json.schema(kind), "default": None}
    for name in reader.notes.keys() & properties.keys():
        properties[name]["description"] = f"May be {reader.notes[name]}."
    for name in reader.ignored & properties.keys():
        properties[name]["description"] = "Accepted, and changes nothing."
    for name, allowed in reader.ranges.items():
        _bound(properties[name], allowed)


def _bound(schema: JsonSchema, allowed: Range) -> None:
    for branch in schema.get("anyOf", [schema]):
        if branch.get("type") in ("integer", "number"):
            branch["exclusiveMinimum" if allowed.over else "minimum"] = allowed.low
            if allowed.high is not None:
                branch["maximum"] = allowed.high
