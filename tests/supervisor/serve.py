"""Runs a tree in a process of its own: `python -m tests.supervisor.serve DIRECTORY < RECIPE`.

Writes events and output as JSON lines to stdout.
"""

import os
import sys
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from config.errors import ModelNotFound
from supervisor.loop import Supervisor
from supervisor.spec import Backoff, ChildSpec, GroupSpec, Restart, Strategy
from tests.supervisor import children
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import ChildOutput, Event, Load


class ChildRecipe(Struct, frozen=True, kw_only=True, tag="child"):
    id: str
    do: str = "normal"
    args: children.Args = children.Args()
    restart: Restart = "permanent"
    significant: bool = False
    gate: bool = True
    drains: bool = False
    finishes: bool = False
    heartbeat_s: float = 0.1
    ready_within_s: float = 20.0
    stall_timeout_s: float = 0.5
    shutdown_s: float | None = 5.0
    backoff_s: float = 0.01
    kind: str = "test"

    def spec(self) -> ChildSpec:
        return ChildSpec(
            id=self.id,
            kind=self.kind,
            start=getattr(children, self.do),
            args=self.args,
            restart=self.restart,
            significant=self.significant,
            gate=self.gate,
            drains=self.drains,
            finishes=self.finishes,
            heartbeat_s=self.heartbeat_s,
            ready_within_s=self.ready_within_s,
            stall_timeout_s=self.stall_timeout_s,
            shutdown_s=self.shutdown_s,
            backoff=Backoff(base_s=self.backoff_s, cap_s=1.0),
        )


class GroupRecipe(Struct, frozen=True, kw_only=True, tag="group"):
    id: str
    children: tuple["ChildRecipe | GroupRecipe", ...] = ()
    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period_s: float = 60.0
    restart: Restart = "permanent"
    significant: bool = False
    auto_shutdown: Literal["never", "any_significant", "all_significant"] = "never"
    stop_in_parallel: bool = False
    labels: dict[str, str] = {}

    def spec(self) -> GroupSpec:
        plain = {name: getattr(self, name) for name in self.__struct_fields__}
        return GroupSpec(**plain | {"children": tuple(child.spec() for child in self.children)})


class Recipe(Struct, frozen=True):
    root: GroupRecipe
    drain_timeout_s: float = 5.0
    exit_on_eof: int | None = None


class TestLoader:
    """A model is called after what its one child does; that of the configuration is `normal`."""

    __test__ = False

    def __init__(self) -> None:
        self._replicas = 1  # of the configured model

    def configured(self, model: str) -> GroupSpec:
        if model != "normal":
            raise ModelNotFound(f"the configuration has no model {model}")
        return self.group(Load(model))

    def group(self, load: Load) -> GroupSpec:
        if not hasattr(children, load.model):
            raise ModelNotFound(f"no model {load.model}")
        name = load.alias or load.model
        return GroupRecipe(
            id=f"model:{name}",
            labels={"model": name},
            restart="temporary",
            children=tuple(
                ChildRecipe(
                    id=f"engine:{name}:{n}",
                    do=load.model,
                    kind="engine",
                    gate=False,
                    finishes=True,
                )
                for n in range(load.replicas or (self._replicas if name == "normal" else 1))
            ),
        ).spec()

    def keep(self, load: Load) -> None:
        if load.alias is None and load.model == "normal":
            self._replicas = load.replicas or self._replicas


def tell(event: Event | ChildOutput) -> None:
    data = msgspec.json.encode(event) + b"\n"
    while data:  # a signal may cut a write short
        data = data[os.write(1, data) :]


def main(directory: str) -> int:
    recipe = msgspec.json.decode(sys.stdin.buffer.readline(), type=Recipe)
    runtime = RuntimeDirectory(Path(directory))
    lock = runtime.create()
    supervisor = Supervisor(
        recipe.root.spec(),
        runtime,
        node="test",
        version="0",
        loader=TestLoader(),
        config_text=lambda: "server: {}\n",
        on_event=tell,
        on_output=tell,
        drain_timeout_s=recipe.drain_timeout_s,
        exit_on_eof=recipe.exit_on_eof,
    )
    try:
        return supervisor.run()
    finally:
        lock.release()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
