"""Keeps the actors of one process running.

A failed actor is followed at once by a fresh one from its factory. When that happens more than
`intensity` times in `period_s`, the host gives the actor up and says so to `on_escalate`; the
process then ends with non-zero and its supervisor takes over.
"""

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from actors.base import Actor, Address, Binding, Inbox, Timer, wake
from actors.crew import Crew
from config.errors import ServingError

M = TypeVar("M")
Escalate = Callable[[str, BaseException], None]
log = logging.getLogger(__name__)


class Intensity:
    """How many restarts fall into a sliding window; the rule of OTP's supervisors."""

    def __init__(self, intensity: int, period_s: float) -> None:
        self._intensity = intensity
        self._period_s = period_s
        self._restarts_at: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Count one more restart and say whether it may happen."""
        while self._restarts_at and self._restarts_at[0] < now - self._period_s:
            self._restarts_at.popleft()
        self._restarts_at.append(now)
        return len(self._restarts_at) <= self._intensity


class _Alarm:
    """The one timer thread of a host."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._closed = False
        threading.Thread(target=self._run, name="timers", daemon=True).start()

    def schedule(self, at: float, timer: Timer) -> None:
        with self._changed:
            heapq.heappush(self._heap, (at, next(self._order), timer))
            if self._heap[0][2] is timer:
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._heap and self._heap[0][0] <= now:
                    timer = heapq.heappop(self._heap)[2]
                    timer.fire()
                self._changed.wait(self._heap[0][0] - now if self._heap else None)


class _Post:
    """One name under which actors serve, one after the other."""

    def __init__(
        self,
        inbox: Inbox,
        factory: Callable[[], Actor],
        limit: Intensity,
        schedule: Callable[[float, Timer], None],
        on_escalate: Escalate,
    ) -> None:
        self.inbox = inbox
        self.stopping = threading.Event()
        self.vacant = threading.Event()  # for good
        self.restarts = 0
        self._on_escalate = on_escalate
        self._factory = factory
        self._limit = limit
        self._binding = Binding(inbox, self.stopping, schedule, self._ended)

    def fill(self) -> None:
        """Start an actor; a factory that fails counts like an actor that does."""
        try:
            self._factory().begin(self._binding)
        except BaseException as error:
            self._ended(error)

    def stop(self) -> None:
        self.stopping.set()
        wake(self.inbox)

    def _ended(self, failure: BaseException | None) -> None:
        if failure is not None:
            known = isinstance(failure, ServingError)
            log.error(
                "actor %s failed: %s", self.inbox.name, failure, exc_info=None if known else failure
            )
        if failure is None or self.stopping.is_set():
            self._leave()
        elif self._limit.admits(time.monotonic()):
            self.restarts += 1
            self.fill()
        else:
            self._leave()
            self._on_escalate(self.inbox.name, failure)

    def _leave(self) -> None:
        self.inbox.close(logging.DEBUG if self.stopping.is_set() else logging.WARNING)
        self.vacant.set()


class Host:
    """The actors of one process, restarted when they fail, stopped in reverse order.

    `on_escalate(name, error)` is called when an actor failed too often; it runs in the thread of
    the failed actor, must return at once and must not call `stop` itself.
    """

    def __init__(self, on_escalate: Escalate) -> None:
        self._on_escalate = on_escalate
        self._alarm = _Alarm()
        self._posts: dict[str, _Post] = {}

    def start(
        self,
        name: str,
        factory: Callable[[], Actor],
        *,
        intensity: int = 5,
        period_s: float = 60.0,
        inbox: int = 10_000,
        crew: Crew | None = None,
    ) -> Address[M]:
        """Start an actor, and a fresh one from `factory` each time it failed; does not wait.

        `factory` runs in the caller's thread the first time and in the failed actor's later. With
        a `crew` it has no thread of its own.
        """
        if name in self._posts:
            raise ValueError(f"an actor named {name!r} exists")
        limit = Intensity(intensity, period_s)
        box = Inbox(name, inbox, crew)
        post = _Post(box, factory, limit, self._alarm.schedule, self._on_escalate)
        self._posts[name] = post
        post.fill()
        return Address(post.inbox)

    def restarts(self) -> dict[str, int]:
        """How often each actor was restarted."""
        return {name: post.restarts for name, post in self._posts.items()}

    def stop(self, timeout_s: float) -> list[str]:
        """Stop all, the last started first; the names of those that did not end in time.

        Each finishes the message it is at; what waits in its inbox is dropped, and asks get
        `ActorDied`. A hung actor takes only its share of the time from the others.
        """
        deadline = time.monotonic() + timeout_s
        hung = []
        posts = list(reversed(self._posts.values()))
        for left, post in zip(range(len(posts), 0, -1), posts, strict=True):
            post.stop()
            if not post.vacant.wait(max(0.0, deadline - time.monotonic()) / left):
                log.error("actor %s did not stop in time", post.inbox.name)
                hung.append(post.inbox.name)
        self._alarm.close()
        return hung
