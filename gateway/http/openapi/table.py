"""The tables of docs/api.md: which endpoints there are, and what each does with which parameter."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from gateway.http.body import READERS, BodyReader
from gateway.http.openapi.document import HEADERS
from gateway.http.openapi.schemas import JsonSchema, of_query, schemas_of
from gateway.http.server.routes import Route

_WHO = {"public": "anybody", "user": "any key", "admin": "keys with the role `admin`"}


def tables(routes: Sequence[Route]) -> str:
    """Markdown that says all of it."""
    bodies = [route.body for route in routes if route.body is not None]
    _, components = schemas_of(bodies)
    parts = [
        "## Endpoints",
        _table(("endpoint", "for", "what it does"), map(_endpoint, routes)),
        "## Headers of requests",
        _table(("header", "what it says"), ((f"`{name}`", it[0]) for name, it in HEADERS.items())),
        "## Parameters",
    ]
    for route in routes:
        if route.body is not None:
            parts += [f"### {route.method} {route.path}", _parameters(route.body, components)]
        if route.query is not None:
            parts += [f"### {route.method} {route.path}", _query(route.query)]
    return "\n\n".join(parts) + "\n"


def _endpoint(route: Route) -> tuple[str, ...]:
    path = route.path.replace("+}", "}")
    return f"`{route.method} {path}`", _WHO[route.role], route.summary


def _parameters(body: type, components: Mapping[str, JsonSchema]) -> str:
    reader, schema = READERS[body], components[body.__name__]
    rows = _rows(schema, reader, components, required=schema.get("required", []))
    return _table(("parameter", "", "may be"), rows)


def _query(query: type[Struct]) -> str:
    rows = (
        (f"`{name}`", f"{type_text(schema)}{_default(schema)}", text)
        for name, (text, schema) in of_query(query).items()
    )
    return _table(("in the query", "may be", "what it says"), rows)


def _default(schema: JsonSchema) -> str:
    return f"; `{json.dumps(schema['default'])}`" if "default" in schema else ""


def _rows(
    schema: JsonSchema,
    reader: BodyReader[Any],
    components: Mapping[str, JsonSchema],
    *,
    required: Sequence[str] = (),
    prefix: str = "",
) -> Iterator[tuple[str, ...]]:
    for key, value in schema["properties"].items():
        name = prefix + key
        inner = _object(value, components)
        if inner is None or prefix or name in reader.ignored:
            status = "required" if key in required else _status(name, reader)
            yield f"`{name}`", status, _may_be(name, value, reader)
        else:
            yield from _rows(inner, reader, components, prefix=f"{name}.")


def _status(name: str, reader: BodyReader[Any]) -> str:
    if name in reader.inert:
        return "refused unless" if reader.inert[name] else "refused"
    return "ignored" if name in reader.ignored else "supported"


def _may_be(name: str, schema: JsonSchema, reader: BodyReader[Any]) -> str:
    if name not in reader.inert:
        return "; ".join(filter(None, (type_text(schema), reader.notes.get(name))))
    values = ", ".join(f"`{json.dumps(it)}`" for it in reader.inert[name])
    hint = reader.instead.get(name, "").removeprefix("; ")
    return "; ".join(filter(None, (values, hint)))


def _object(schema: JsonSchema, components: Mapping[str, JsonSchema]) -> JsonSchema | None:
    """The object that a parameter is, if it is one and nothing else."""
    branches = [it for it in schema.get("anyOf", [schema]) if it != {"type": "null"}]
    ref = branches[0].get("$ref") if len(branches) == 1 else None
    found = components[ref.rpartition("/")[2]] if ref else None
    return found if found is not None and "properties" in found else None


def type_text(schema: JsonSchema) -> str:
    """A schema in words."""
    if "anyOf" in schema:
        texts = [type_text(it) for it in schema["anyOf"] if it != {"type": "null"}]
        return " or ".join(dict.fromkeys(texts))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(it)}`" for it in schema["enum"] if it is not None)
    if "$ref" in schema:
        return "object"
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        items = type_text(schema.get("items", {}))
        return f"list of ({items})" if " or " in items else f"list of {items}s"
    return kind + _bounds(schema)


def _bounds(schema: JsonSchema) -> str:
    low, over = schema.get("minimum"), schema.get("exclusiveMinimum")
    text = f" over {over}" if over is not None else f" from {low}" if low is not None else ""
    return text + (f" to {schema['maximum']}" if "maximum" in schema else "")


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
