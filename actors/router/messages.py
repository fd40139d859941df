"""What the router is told inside the control process."""

from msgspec import Struct

from actors.registry.messages import Event
from config.errors import ServingError
from config.limits import Allowance
from transport.messages.control import Lease, LeaseBatch, LoadReport, Refusal, Release, Route
from transport.refusals import refusal_of


class Admission(Struct, frozen=True):
    """The limits let a route through; its lease says so."""

    ticket: str
    allowance: Allowance | None


class Routes(Struct, frozen=True):
    """The routes of one loop turn of a gateway; answered to `peer`, each once."""

    peer: bytes
    routes: list[Route]
    admissions: dict[str, Admission] = {}  # by route; those without are not limited


class Unused(Struct, frozen=True):
    """To the limiter: these tickets of a peer got no lease."""

    peer: bytes
    tickets: list[str]


class Releases(Struct, frozen=True):
    """The releases that a gateway sent together, and when they came (monotonic)."""

    peer: bytes
    releases: list[Release]
    at: float


class RouterStatus(Struct, frozen=True):
    """For people to see."""

    leases: dict[str, int]  # by engine
    leased_tokens: dict[str, int]  # by engine
    answers: dict[str, int]  # by "lease" or the code of the refusal, since the last status
    blocks: dict[str, int] = {}  # stored prefix blocks known of, by engine


ToRouter = Routes | Releases | LoadReport | Event


def refusals(routes: list[Route], error: ServingError, retry_after_s: float) -> LeaseBatch:
    """The same answer to all of them."""
    answers: list[Lease | Refusal] = [
        refusal_of(route.route_id, error, retry_after_s=retry_after_s) for route in routes
    ]
    return LeaseBatch(answers)
