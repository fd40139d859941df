"""What the registry is told, and tells, inside the control process."""

from msgspec import Struct

from actors.base import Address
from transport.messages.control import EngineHello, LoadReport, NoLongerAdmits, Wanted
from transport.messages.lifeline import Announce, News
from transport.messages.topology import BreakerChanged, Topology


class GatewayDown(Struct, frozen=True):
    """This incarnation of a gateway, and every one before, is gone."""

    gateway_id: str
    incarnation: int

    def was(self, peer: bytes) -> bool:
        """Whether this peer of the control socket is one of them."""
        gateway_id, _, incarnation = peer.decode(errors="replace").rpartition("#")
        is_it = gateway_id == self.gateway_id and incarnation.isdecimal()
        return is_it and int(incarnation) <= self.incarnation


Event = Topology | GatewayDown


class Used(Struct, frozen=True):
    """Requests for these models came to the router."""

    models: set[str]


class Weights(Struct, frozen=True):
    """Of one model: how many engines hold them or will, and what they take in each."""

    replicas: int
    bytes_each: int


class Reservation(Struct, frozen=True):
    """To the KV governor: all models that are in memory, being loaded, or about to be.

    Replaces the one before. Which of their engines are up, and so count by themselves, the
    governor knows.
    """

    models: dict[str, Weights] = {}


class Granted(Struct, frozen=True):
    """From the KV governor: the caches that are in use leave room for all of it."""

    reservation: Reservation


class Introduce(Struct, frozen=True):
    """From an actor that just (re)started: tell me how things stand."""

    to: Address[Event]


class SnapshotWanted(Struct, frozen=True):
    """A peer said hello; it gets a `Snapshot` once the registry has heard from all engines."""

    peer: bytes


class RegistryStatus(Struct, frozen=True):
    """For people to see."""

    engines_up: int
    models: dict[str, tuple[int, int]]  # ready replicas, replicas
    children: list[Announce]
    idle_s: dict[str, float] = {}  # by loaded model, since it was used last


ToRegistry = (
    News
    | EngineHello
    | LoadReport
    | NoLongerAdmits
    | Used
    | Wanted
    | BreakerChanged
    | Granted
    | Introduce
    | SnapshotWanted
)
