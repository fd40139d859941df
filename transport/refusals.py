"""Errors as control tells gateways of them, and back."""

from config.errors import RateLimited, ServingError, from_wire
from config.limits import Allowance
from transport.messages.control import Refusal


def refusal_of(
    request_id: str,
    error: ServingError,
    *,
    retry_after_s: float | None = None,
    allowance: Allowance | None = None,
) -> Refusal:
    """The answer to a route or an `Admit`; `retry_after_s` goes before what the error says."""
    return Refusal(
        request_id,
        error.code,
        error.message,
        error.retryable,
        error.retry_after_s if retry_after_s is None else retry_after_s,
        error.param,
        allowance,
    )


def error_of(refusal: Refusal) -> ServingError:
    """What was refused with, and what is left to those whose limits it was for."""
    error = from_wire(refusal.code, refusal.message, refusal.retry_after_s, refusal.param)
    if isinstance(error, RateLimited):
        error.allowance = refusal.allowance
    return error
