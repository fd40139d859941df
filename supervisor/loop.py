"""The supervisor's loop: waits for what happens, asks `decide`, does what it says.

One thread, no waiting but in the poll; signal handlers only wake it.
"""

import logging
import math
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, assert_never

import zmq

from supervisor.admin.counter import Counter
from supervisor.admin.desk import Loader
from supervisor.bulletin import Bulletin
from supervisor.deadlines import next_deadline
from supervisor.decide import decide
from supervisor.happenings import (
    Action,
    Exit,
    Happening,
    Publish,
    Resumed,
    Said,
    SendDrain,
    SendSignal,
    SendStop,
    Spawn,
    Spawned,
    SpawnFailed,
    StopTree,
    Tick,
)
from supervisor.journal import Journal
from supervisor.processes import Processes
from supervisor.spec import GroupSpec
from supervisor.state import Tree, planted
from supervisor.validate import check_group
from supervisor.wakeup import STOP_SIGNALS, Wakeup, waking_signals
from supervisor.wishes import grant
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import ChildOutput, ChildStateChanged, Event
from transport.messages.lifeline import Drain, Removed, Stop

POLL_S = 1.0  # at most, between two looks at the clock
ABSENT_S = 3.0  # a turn that took so much longer: the supervisor itself did not run
TOUCH_S = 3600.0  # between two touches of the runtime directory's files

log = logging.getLogger(__name__)


class Supervisor:
    """Runs a tree of children until it is told to stop or the tree fails.

    `runtime` is created, and so locked, by the caller. `on_event` and `on_output` run in the loop:
    they must return at once. `exit_on_eof`: a file descriptor whose end means that whoever embeds
    this server is gone; the tree stops in order then. `config_text` gives the configuration in
    force as YAML.

    Raises:
        ConfigError: the tree cannot be meant.
    """

    def __init__(
        self,
        root: GroupSpec,
        runtime: RuntimeDirectory,
        *,
        node: str,
        version: str,
        loader: Loader | None,
        config_text: Callable[[], str],
        on_event: Callable[[Event], None],
        on_output: Callable[[ChildOutput], None],
        drain_timeout_s: float,
        exit_on_eof: int | None = None,
        log_level: str = "info",
    ) -> None:
        check_group(root, None)
        self.node, self.version, self.loader = node, version, loader
        self.drain_timeout_s = drain_timeout_s
        self.started_at = self.now()
        self.journal = Journal()
        self.tree: Tree = planted(root, seed=random.getrandbits(32))
        self._runtime, self._config_text = runtime, config_text
        self._on_event, self._on_output = on_event, on_output
        self._parent_fd = exit_on_eof
        self._bulletin = Bulletin()
        self._exit: Exit | None = None
        self._follow_ups: deque[Happening] = deque()
        self._turn_at = self._touched_at = self.started_at
        self._poller = zmq.Poller()
        self._processes = Processes(
            self._poller,
            self._write,
            self.journal.last_words,
            runtime_dir=str(runtime.path),
            log_level=log_level,
        )

    def run(self) -> int:
        """Start the tree and keep it; main thread only.

        Returns 0 after an asked-for stop, 1 when the tree failed, with the reason on stderr.
        """
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._counter = Counter(context, self._runtime)
        try:
            with waking_signals() as wakeup:
                ended = self._loop(wakeup)
        finally:
            self._processes.kill_all()
            self._counter.close()
            context.term()
        if ended.code != 0:
            print(f"mlx-serving: {ended.reason}", file=sys.stderr, flush=True)
        return ended.code

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def config_text(self) -> str:
        """The configuration in force, as YAML."""
        return self._config_text()

    def apply(self, happening: Happening) -> None:
        """Decide and act.

        Raises:
            ServingError: a command that cannot be met; nothing has changed.
        """
        self._decide(happening)
        while self._follow_ups:
            self._decide(self._follow_ups.popleft())

    def _decide(self, happening: Happening) -> None:
        before = self.tree
        decision = decide(before, happening, self.now())
        self.tree = decision.tree
        self._tell_changes(before)
        for action in decision.actions:
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(child_id, incarnation):
                self._follow_ups.append(self._spawn(child_id, incarnation))
            case SendStop(child_id, timeout_s):
                self._processes.send(child_id, Stop(timeout_s))
            case SendDrain(child_id, timeout_s):
                self._processes.send(child_id, Drain(timeout_s))
            case SendSignal(child_id, signum):
                self._processes.signal(child_id, signum)
            case Publish(event):
                self._tell(event)
            case Exit():
                self._exit = action
            case _ as never:
                assert_never(never)

    def _spawn(self, child_id: str, incarnation: int) -> Happening:
        spec = self.tree.children[child_id].spec
        try:
            pid = self._processes.spawn(spec, incarnation, [*self._bulletin.all()])
        except Exception as error:  # whatever the cause, it is a failed start and no more
            return SpawnFailed(child_id, incarnation, f"could not be spawned: {error}")
        return Spawned(child_id, incarnation, pid)

    def _loop(self, wakeup: Wakeup) -> Exit:
        self._poller.register(wakeup.fd, zmq.POLLIN)
        self._poller.register(self._counter.requests, zmq.POLLIN)
        if self._parent_fd is not None:
            self._poller.register(self._parent_fd, zmq.POLLIN)
        self.apply(Tick())
        while self._exit is None:
            self._turn(wakeup)
        return self._exit

    def _turn(self, wakeup: Wakeup) -> None:
        self._processes.prepare()
        ready = self._wait()
        for signum in wakeup.signals():
            if signum in STOP_SIGNALS:
                self.apply(StopTree("asked to stop by a signal", self.drain_timeout_s))
        if self._parent_fd is not None and self._parent_fd in ready:
            self._read_parent(self._parent_fd)
        for happening in self._processes.happenings(ready):
            self.apply(happening)
            if isinstance(happening, Said) and (answer := grant(happening, self)) is not None:
                self._processes.send(happening.child_id, answer)
        if self._counter.requests in ready:
            self._counter.serve(self)
        self.apply(Tick())
        self._touch()
        self._announce()
        self._counter.settle(self.tree)

    def _wait(self) -> dict[Any, int]:
        deadline = next_deadline(self.tree, self.now())
        left_s = POLL_S if deadline is None else max(0.0, min(POLL_S, deadline - self.now()))
        ready = dict(self._poller.poll(math.ceil(left_s * 1000)))
        lost_s = self.now() - self._turn_at - POLL_S
        self._turn_at = self.now()
        if lost_s > ABSENT_S:
            self.apply(Resumed(lost_s))
        return ready

    def _read_parent(self, fd: int) -> None:
        if not os.read(fd, 4096):
            self._poller.unregister(fd)
            self._parent_fd = None
            if self.tree.phase == "running":
                self.apply(StopTree("the embedding program is gone", self.drain_timeout_s))

    def _touch(self) -> None:
        if self.now() - self._touched_at >= TOUCH_S:
            self._touched_at = self.now()
            self._runtime.touch()

    def _announce(self) -> None:
        for news in self._bulletin.news(self.tree, self.now()):
            self._processes.broadcast(news)
            if isinstance(news, Removed):
                self.journal.forget(news.child_id)

    def _tell_changes(self, before: Tree) -> None:
        for child_id, child in self.tree.children.items():
            known = before.children.get(child_id)
            old = known.state if known else "stopped"
            if old != child.state:
                facts = child.facts if child.state == "ready" else {}
                changed = ChildStateChanged(child_id, child.incarnation, old, child.state, facts)
                self._tell(changed)

    def _tell(self, event: Event) -> None:
        self._counter.publish(self.journal.record(event))
        try:
            self._on_event(event)
        except Exception:  # who listens must not take the tree down
            log.exception("an event was not taken")

    def _write(self, line: ChildOutput) -> None:
        self.journal.write(line)
        try:
            self._on_output(line)
        except Exception:  # e.g. the terminal is gone
            log.exception("a line of output was not taken")
