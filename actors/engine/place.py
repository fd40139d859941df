"""What an engine's process and its actor share, whatever the model is for."""

import enum
import threading
from dataclasses import dataclass, field

from actors.base import Address
from actors.engine.args import EngineArgs
from actors.engine.io import EngineIO, ToIO
from transport.lifeline import Lifeline
from transport.messages.control import EngineHello
from transport.messages.topology import ModelCard
from transport.outbox import Outbox

TICK_S = 0.1
REPORT_S = 1.0
EXPIRE_S = 0.5


class Own(enum.Enum):
    """What the actor and its process tell it."""

    STEP = enum.auto()
    COMPILED = enum.auto()
    TICK = enum.auto()
    DRAIN = enum.auto()
    STOP = enum.auto()


@dataclass(slots=True)
class Place:
    """What the process gives its actor; `args.source` is a folder by then."""

    lifeline: Lifeline
    args: EngineArgs
    outbox: Outbox[ToIO]
    stopped: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)
    io: EngineIO | None = None

    def fail(self, error: BaseException) -> None:
        """End the process with failure; any thread."""
        self.failures.append(error)
        self.stopped.set()

    def open(self, card: ModelCard, actor: Address[object]) -> None:
        """Bind the sockets for the actor and say that the engine is ready."""
        life = self.lifeline
        name = f"e{self.args.number}-{self.args.replica}"
        endpoint = life.runtime.of_incarnation(name, life.incarnation)
        hello = EngineHello(life.child_id, life.incarnation, endpoint, card)
        self.io = EngineIO(hello, actor, self.outbox, self.fail)
        self.io.start()
        life.ready(
            {
                "model": card.name,
                "kind": card.kind,
                "endpoint": endpoint,
                "context_tokens": card.context_tokens,
                "architecture": card.architecture,
                "batching": card.batching,
                "weights_bytes": card.weights_bytes,
            }
        )


def is_resource_error(error: RuntimeError) -> bool:
    """Whether only a fresh process can go on. Source: mlx, allocator.cpp of the Metal back end, and
    ml-explore/mlx-lm#1672."""
    return "metal::malloc" in str(error) and "esource limit" in str(error)
