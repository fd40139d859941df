"""Reads what callers ask for: either spelling, the original's names, and no unknown ones."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from config.errors import InvalidRequest
from mlx_serving.api.records import snake_case
from transport.messages.client import Parameters
from transport.parameters import parameters_from, unknown_parameter

_SAME = {
    "stop_sequences": "stop",
    "model_id": "model",
    "prompt_tokens": "prompt",
    "local_path": "model",
}
# Known to the original and not done, with the values that ask for nothing.
_INERT: dict[str, tuple[object, ...]] = {
    "streaming": (True, False),
    "stream": (True, False),
    "multimodal": (),
    "draft_model": (),
    "draft": (False,),
    "revision": (),
    "quantization": (),
    "signal": (),
    "stream_id": (),
}
_OWN = {"model", "prompt", "messages", "timeout_ms", "structured"}
_LOADING = {"model", "alias", "replicas", "timeout_s", "parameters"}
_OF_ONE_REQUEST = {"timeout_s", "n", "tools", "tool_choice"}
_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Asked(Struct, frozen=True, kw_only=True):
    """A generation that is asked for; exactly one of `prompt` and `messages` is set."""

    model: str | None
    prompt: str | list[int] | None
    messages: list[Any] | None
    parameters: dict[str, Any]


class Loading(Struct, frozen=True, kw_only=True):
    """A model to load, and what its generations use when they do not say otherwise."""

    model: str
    alias: str | None
    replicas: int | None
    timeout_s: float
    defaults: dict[str, Any]


def read_generation(params: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Asked:
    """What `create_generator` is asked for.

    Raises:
        InvalidRequest: an unknown, unsupported or wrong parameter, by name.
    """
    given = _named({**(params or {}), **more})
    known = {*Parameters.__struct_fields__, *_OWN}
    _refuse_unknown(given, known)
    if (milliseconds := given.pop("timeout_ms", None)) is not None:
        given["timeout_s"] = _number(milliseconds, "timeout_ms") / 1000
    if (structured := given.pop("structured", None)) is not None:
        given["structured_outputs"] = _structured(structured)
    model, prompt, messages = (given.pop(it, None) for it in ("model", "prompt", "messages"))
    if (prompt is None) == (messages is None):
        raise InvalidRequest("give a prompt or messages, one of them", param="prompt")
    parameters_from(given)
    return Asked(
        model=_optional_text(model, "model"),
        prompt=None if prompt is None else _prompt(prompt),
        messages=messages,
        parameters=given,
    )


def read_loading(model: str | Mapping[str, Any] | None, more: Mapping[str, Any]) -> Loading:
    """What `load_model` is asked for.

    Raises:
        InvalidRequest: an unknown, unsupported or wrong parameter, by name.
    """
    first = {"model": model} if isinstance(model, str) else dict(model or {})
    given = _named(first | dict(more))
    _refuse_unknown(given, _LOADING | (set(Parameters.__struct_fields__) - _OF_ONE_REQUEST))
    name = _optional_text(given.pop("model", None), "model")
    if not name:
        raise InvalidRequest("which model? Name it, e.g. 'demo'", param="model")
    alias = _optional_text(given.pop("alias", None), "alias")
    replicas = given.pop("replicas", None)
    if replicas is not None and not (isinstance(replicas, int) and 1 <= replicas <= 64):
        raise InvalidRequest("replicas must be from 1 to 64", param="replicas")
    timeout_s = _number(given.pop("timeout_s", 900.0), "timeout_s")
    defaults = _named(given.pop("parameters", None) or {}) | given
    parameters_from(defaults)
    return Loading(
        model=name, alias=alias, replicas=replicas, timeout_s=timeout_s, defaults=defaults
    )


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """In our spelling and without None; of two spellings the camelCase one counts."""
    ordered = sorted(given.items(), key=lambda item: snake_case(item[0]) != item[0])
    found = {}
    for name, value in ordered:
        ours = snake_case(name)
        if value is not None:
            found[_SAME.get(ours, ours)] = value
    return found


def _refuse_unknown(given: dict[str, Any], known: set[str]) -> None:
    for name in list(given):
        if name in known:
            continue
        if name not in _INERT:
            raise unknown_parameter(name, known)
        if given.pop(name) not in _INERT[name]:
            raise InvalidRequest(f"{name} is not supported", param=name)


def _structured(given: object) -> dict[str, Any]:
    """The original's way of asking for JSON."""
    if not isinstance(given, Mapping) or not given.keys() <= {"schema", "format"}:
        raise InvalidRequest('structured is {"schema": {...}}', param="structured")
    if given.get("format", "json") != "json":
        raise InvalidRequest("the only structured format is json", param="structured")
    if not isinstance(given.get("schema"), dict | str):
        raise InvalidRequest("structured needs a schema", param="structured")
    return {"json": given["schema"]}


def _prompt(prompt: object) -> str | list[int]:
    if isinstance(prompt, Mapping):
        if "tokens" in prompt:
            return _prompt(prompt["tokens"])
        if "template" in prompt:
            return _filled(str(prompt["template"]), prompt.get("variables") or {})
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(token, int) for token in prompt):
        return prompt
    raise InvalidRequest(
        'prompt is a text, a list of token ids, {"tokens": [...]} or '
        '{"template": ..., "variables": {...}}',
        param="prompt",
    )


def _filled(template: str, variables: Mapping[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in variables:
            raise InvalidRequest(f"the template's variable '{name}' is missing", param="prompt")
        return str(variables[name])

    return _VARIABLE.sub(value, template)


def _optional_text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest(f"{name} is a text", param=name)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidRequest(f"{name} is a number over 0", param=name)
    return float(value)
