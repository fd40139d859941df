"""Every error the product raises on purpose, in one tree.

ServingError                    code            retryable
├── ConfigError                 config_error
├── InvalidRequest              invalid_request
│   ├── ContextTooLong          context_length_exceeded
│   ├── ResponseNotFound        response_not_found
│   └── NoPreviousResponse      previous_response_not_found
├── AccessError
│   ├── Unauthenticated         invalid_api_key
│   └── Forbidden               forbidden
├── TransportError
│   ├── ProtocolError           protocol_error
│   ├── PeerUnreachable         peer_unreachable    yes
│   └── RequestTimeout          request_timeout
├── EngineError
│   ├── ModelNotFound           model_not_found
│   ├── ModelLoadFailed         model_load_failed
│   ├── EngineUnavailable       engine_unavailable  yes
│   └── EngineFailed            engine_failed       yes
├── AdmissionError
│   ├── QueueFull               queue_full          yes
│   ├── RateLimited             rate_limit_exceeded yes
│   │   └── OverLimit           request_over_limit
│   └── Draining                draining            yes
├── Cancelled                   cancelled
├── ActorDied                   actor_died          yes
└── SupervisorError
    ├── ChildStartFailed        child_start_failed
    ├── IntensityExceeded       intensity_exceeded
    └── ConflictingCommand      conflicting_command
        └── UnknownChild        unknown_child

`code` is the stable name on the wire and in metrics. HTTP status is decided in the gateway alone.
"""

from typing import ClassVar

from config.limits import Allowance
from config.load_faults import LoadFault


class ServingError(Exception):
    """Root of the tree; `param` names the request field at fault, where there is one."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class ConfigError(ServingError):
    """A setting is wrong; the message lists every fault with its path."""

    code = "config_error"


class InvalidRequest(ServingError):
    """The client asked for something that cannot be done; asking again will not help."""

    code = "invalid_request"


class ContextTooLong(InvalidRequest):
    """Prompt and answer do not fit the model's context."""

    code = "context_length_exceeded"


class ResponseNotFound(InvalidRequest):
    """No such response is stored, for whoever asks."""

    code = "response_not_found"


class NoPreviousResponse(InvalidRequest):
    """There is nothing (any more) that a conversation could go on from."""

    code = "previous_response_not_found"


class AccessError(ServingError):
    """Whoever asks may not have this."""

    code = "access_error"


class Unauthenticated(AccessError):
    """No key, or none that is valid; the message does not tell which part of it was wrong."""

    code = "invalid_api_key"


class Forbidden(AccessError):
    """The key is valid, but may not do this."""

    code = "forbidden"


class TransportError(ServingError):
    """Something went wrong between two processes."""

    code = "transport_error"


class ProtocolError(TransportError):
    """A frame is not a message of the expected protocol; the receiver drops it and lives on."""

    code = "protocol_error"


class PeerUnreachable(TransportError):
    """Nobody listens at the other end."""

    code = "peer_unreachable"
    retryable = True


class RequestTimeout(TransportError):
    """The caller's deadline passed."""

    code = "request_timeout"


class EngineError(ServingError):
    """A model cannot answer."""

    code = "engine_error"


class ModelNotFound(EngineError):
    """No such model is served here."""

    code = "model_not_found"


class ModelLoadFailed(EngineError):
    """The model's files are missing, damaged or of an unsupported kind.

    An engine's message is for the operator; what clients are told is made of `fault` alone.
    """

    code = "model_load_failed"

    def __init__(
        self,
        message: str,
        *,
        fault: LoadFault = "files",
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.fault = fault


class EngineUnavailable(EngineError):
    """The model is served here, but no engine of it is ready just now."""

    code = "engine_unavailable"
    retryable = True


class EngineFailed(EngineError):
    """The engine failed while it worked on this request."""

    code = "engine_failed"
    retryable = True


class AdmissionError(ServingError):
    """The request was not taken; nothing was computed."""

    code = "admission_error"


class QueueFull(AdmissionError):
    """Too many requests wait already."""

    code = "queue_full"
    retryable = True


class RateLimited(AdmissionError):
    """The key or its tenant has used up what it may use for now; `allowance` is what is left."""

    code = "rate_limit_exceeded"
    retryable = True
    allowance: Allowance | None = None


class OverLimit(RateLimited):
    """The request alone is more than its key or tenant may ever use at once."""

    code = "request_over_limit"
    retryable = False


class Draining(AdmissionError):
    """The server finishes what it has and takes nothing new."""

    code = "draining"
    retryable = True


class Cancelled(ServingError):
    """The client went away or took its request back."""

    code = "cancelled"


class ActorDied(ServingError):
    """The actor that was asked died before it answered; its successor may be asked."""

    code = "actor_died"
    retryable = True


class SupervisorError(ServingError):
    """The supervisor cannot do what was asked."""

    code = "supervisor_error"


class ChildStartFailed(SupervisorError):
    """A child did not become ready."""

    code = "child_start_failed"


class IntensityExceeded(SupervisorError):
    """Children died more often than the restart intensity allows."""

    code = "intensity_exceeded"


class ConflictingCommand(SupervisorError):
    """The command does not fit the state of what it names."""

    code = "conflicting_command"


class UnknownChild(ConflictingCommand):
    """No child, group or model has this name."""

    code = "unknown_child"


def _tree(root: type[ServingError]) -> dict[str, type[ServingError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_CODE: dict[str, type[ServingError]] = _tree(ServingError)


def from_wire(
    code: str, message: str, retry_after_s: float | None = None, param: str | None = None
) -> ServingError:
    """The typed error for a code that came in a message; unknown codes give the root."""
    return BY_CODE.get(code, ServingError)(message, param=param, retry_after_s=retry_after_s)


def load_fault(error: Exception) -> LoadFault:
    """What clients may know of a failure to load a model."""
    return error.fault if isinstance(error, ModelLoadFailed) else "other"
