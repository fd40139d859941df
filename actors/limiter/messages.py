"""What the limiter is told inside the control process."""

from msgspec import Struct

from actors.limiter.scope import Kind, Limit
from actors.registry.messages import Event
from actors.router.messages import Releases, Routes, Unused
from transport.messages.control import Admit


class Asked(Struct, frozen=True):
    """A gateway, to which the answer goes, asks for something that needs no engine."""

    peer: bytes
    admit: Admit


class LimiterStatus(Struct, frozen=True):
    """For people to see."""

    scopes: int  # keys and tenants that used some of what they may
    streams: int  # answers that are being written for them
    answers: dict[str, int]  # refused routes by code, since the last status
    refused: dict[tuple[Kind, Limit], int]  # refused requests, since the last status


ToLimiter = Routes | Asked | Releases | Unused | Event
