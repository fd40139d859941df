"""The OpenAPI document. Source: https://spec.openapis.org/oas/v3.1.1."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from gateway.http.answers import REQUEST_ID
from gateway.http.body import READERS
from gateway.http.caller import SECONDS, SESSION, TIMEOUT
from gateway.http.errors import AnthropicErrorReply, ErrorReply
from gateway.http.openapi.schemas import JsonSchema, of_query, schemas_of
from gateway.http.server.routes import Route

_PARAMETER = re.compile(r"\{(\w+)\+?\}")
_ERRORS = {"openai": ErrorReply, "anthropic": AnthropicErrorReply}
_WORD = r"^[\x21-\x7e]{1,128}$"
HEADERS = {
    REQUEST_ID: ("What the answer's header of this name shall be.", _WORD),
    SESSION: ("Requests of one session prefer one engine.", _WORD),
    TIMEOUT: ("Seconds after which nobody waits for the answer any more.", f"^{SECONDS}$"),
}
Json = dict[str, Any]


def document(routes: Sequence[Route]) -> Json:
    """The description of these endpoints.

    Its version is that of the API: which release answers is not told to everybody.
    """
    kinds = [kind for route in routes for kind in _kinds(route)]
    schemas, components = schemas_of([*kinds, *_ERRORS.values()])
    paths: dict[str, Json] = {}
    for route in routes:
        operations = paths.setdefault(_path(route), {})
        operations[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.1",
        "info": {"title": "mlx-serving", "version": "v1"},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _errors(schemas),
            "headers": _reply_headers(),
            "parameters": {name: _header(name, *it) for name, it in HEADERS.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _kinds(route: Route) -> Iterable[Any]:
    return (it for it in (route.body, route.answer, *route.also.values()) if it is not None)


def _path(route: Route) -> str:
    return _PARAMETER.sub(r"{\1}", route.path)


def _operation(route: Route, schemas: Mapping[Any, JsonSchema]) -> Json:
    operation: Json = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{_path(route)}").strip("_"),
        "summary": route.summary,
        "security": _security(route),
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _security(route: Route) -> list[Json]:
    if route.role == "public":
        return []
    roles = [route.role] if route.role == "admin" else []
    return [{"bearer": roles}, {"apiKey": roles}]


def _parameters(route: Route) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        found += [
            {"name": name, "in": "query", "description": text, "schema": schema}
            for name, (text, schema) in of_query(route.query).items()
        ]
    names = list(HEADERS) if route.body is not None else [REQUEST_ID]
    return found + [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _responses(route: Route, schemas: Mapping[Any, JsonSchema]) -> Json:
    media_type = route.media_type.partition(";")[0]
    answer = {media_type: _content(schemas[route.answer] if route.answer else None)}
    if _streams(route.body) or _streams(route.query):
        answer["text/event-stream"] = _content(None)
    found = {"200": _response("OK", answer)}
    for status, kind in route.also.items():
        content = {"application/json": _content(schemas[kind])}
        found[str(status)] = _response(HTTPStatus(status).phrase, content)
    for failure in [*map(str, _failures(route)), "default"]:
        found.setdefault(failure, {"$ref": f"#/components/responses/{route.shape}_{failure}"})
    return found


def _streams(asked: type | None) -> bool:
    """Whether this can ask for a stream."""
    ignored = READERS[asked].ignored if asked in READERS else ()
    return "stream" in getattr(asked, "__struct_fields__", ()) and "stream" not in ignored


def _failures(route: Route) -> list[int]:
    found = [] if route.role == "public" else [401, 403]
    if route.body is not None:
        found += [400, 413, 429, 500, 503, 504]
    elif route.query is not None:
        found.append(400)
    if route.body is not None or "{" in route.path:
        found.append(404)
    return sorted(found)


def _errors(schemas: Mapping[Any, JsonSchema]) -> Json:
    """The answers that tell of errors, by shape and status."""
    found = {}
    for shape, kind in _ERRORS.items():
        content = {"application/json": _content(schemas[kind])}
        found[f"{shape}_default"] = _response("Whatever else goes wrong", content)
        for status in (400, 401, 403, 404, 413, 429, 500, 503, 504):
            more = ["Retry-After"] if status in (429, 503) else []
            found[f"{shape}_{status}"] = _response(HTTPStatus(status).phrase, content, more)
    return found


def _content(schema: JsonSchema | None) -> Json:
    return {"schema": schema or {"type": "string"}}


def _response(description: str, content: Json, more: Sequence[str] = ()) -> Json:
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in (REQUEST_ID, *more)}
    return {"description": description, "headers": headers, "content": content}


def _header(name: str, text: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "description": text, "schema": schema}


def _reply_headers() -> Json:
    return {
        REQUEST_ID: {
            "description": "The request's own id, or one that was made.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds to wait before asking again.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
