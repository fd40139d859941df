"""How hard a model is to think, as clients say it and as chat templates are told."""

from typing import Any, Literal

from config.errors import InvalidRequest
from gateway.text.model import TextModel

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# Templates that know efforts know three.
_KNOWN: dict[Effort, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def effort_arguments(effort: Effort | None) -> dict[str, Any]:
    """The template's variables; one that can only think or not takes all but none for yes."""
    if effort is None:
        return {}
    if effort == "none":
        return {"enable_thinking": False}
    return {"enable_thinking": True, "reasoning_effort": _KNOWN[effort]}


def check_effort(effort: Effort | None, text: TextModel, param: str) -> None:
    """See that the model can do what is said of its thoughts.

    Raises:
        InvalidRequest: it never thinks, or always.
    """
    able = text.capabilities
    if effort not in {None, "none"} and not able.reasoning:
        raise InvalidRequest(f"the model '{text.name}' does not think; leave it out", param=param)
    if effort == "none" and able.reasoning and not able.reasoning_optional:
        raise InvalidRequest(f"the model '{text.name}' always thinks", param=param)
