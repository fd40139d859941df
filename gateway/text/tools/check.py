"""Checks tools as clients send them."""

from collections.abc import Sequence
from typing import Any

from config.errors import InvalidRequest
from gateway.text.tools.family import Function

MAX_DESCRIPTION_CHARS = 16 * 1024
_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
_COMPOSED = {"anyOf", "oneOf", "allOf", "$ref", "if", "patternProperties"}


def functions_of(tools: Sequence[dict[str, Any]]) -> list[Function]:
    """The functions of tools, whose names and sizes have been checked.

    Raises:
        InvalidRequest: a description or a schema cannot be used; names the place.
    """
    return [_function(tool["function"], place) for place, tool in enumerate(tools)]


def _function(given: dict[str, Any], place: int) -> Function:
    where = f"tools[{place}].function"
    if len(given.get("description") or "") > MAX_DESCRIPTION_CHARS:
        raise InvalidRequest(
            f"a description may have up to {MAX_DESCRIPTION_CHARS} characters",
            param=f"{where}.description",
        )
    parameters = given.get("parameters")
    if not parameters:
        return Function(given["name"], _NOTHING, place)
    _check_parameters(parameters, f"{where}.parameters")
    return Function(given["name"], parameters, place)


def _check_parameters(schema: dict[str, Any], where: str) -> None:
    if schema.get("type", "object") != "object":
        raise InvalidRequest("parameters must be the schema of an object", param=f"{where}.type")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict):
        raise InvalidRequest("properties must be an object", param=f"{where}.properties")
    if not isinstance(required, list) or not all(isinstance(it, str) for it in required):
        raise InvalidRequest("required must be a list of names", param=f"{where}.required")


def closed(function: Function) -> Function:
    """The same where arguments that are not declared are not made up."""
    schema: dict[str, Any] = {"type": "object"} | function.parameters
    if "additionalProperties" not in schema and not _COMPOSED & set(schema):
        schema["additionalProperties"] = False
    return Function(function.name, schema, function.place)
