"""The base of every actor, and the address by which others reach it.

pykka gives the thread, its name and the future; the loop is ours, because pykka's treats a failing
`ask` and a failing `on_start` otherwise than a failing `tell`, and a `SystemExit` in one actor
stops all of them. Here every failure is the same one: the actor ends, whoever asked gets
`ActorDied` at once, and its host puts a fresh one behind the same address.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import pykka

from actors.crew import Crew
from config.errors import ActorDied, QueueFull, RequestTimeout, ServingError

M = TypeVar("M", contravariant=True)
log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Timer:
    """A message that comes later; see `Actor.after`."""

    owner: "Actor"
    message: object
    cancelled: bool = False

    def cancel(self) -> None:
        """The message does not come any more, even if it is due already. Owner's thread only."""
        self.cancelled = True
        self.message = None

    def fire(self) -> None:
        """Put the message into its owner's inbox; any thread."""
        self.owner.inbox.put_own(Delivery(self.message, timer=self))


@dataclass(slots=True, eq=False)
class Delivery:
    """One entry of an inbox."""

    message: object
    reply: "pykka.ThreadingFuture[object] | None" = None
    timer: Timer | None = None

    def answer(self, answer: object) -> None:
        """Hand the result to whoever asked; nobody did: drop it."""
        if self.reply is not None:
            self.reply.set(answer)

    def refuse(self, error: ServingError) -> bool:
        """Hand an error to whoever asked; False: nobody did."""
        if self.reply is None:
            return False
        self.reply.set_exception((type(error), error, error.__traceback__))
        return True


_WAKE = Delivery(None)


class Inbox:
    """A bounded queue that outlives the actor, so a successor goes on where the dead one ended."""

    def __init__(self, name: str, limit: int, crew: Crew | None = None) -> None:
        """`crew`: works its actor, and is called when there is something to do."""
        self.name = name
        self.limit = limit
        self.crew = crew
        self._queue: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._closed = False

    def put(self, delivery: Delivery, *, limited: bool = True) -> None:
        """Queue it from any thread, without waiting.

        Raises:
            QueueFull: too many wait already; not when it is not `limited`.
            ActorDied: nobody will ever read it.
        """
        if limited and self._queue.qsize() >= self.limit:
            raise QueueFull(f"the inbox of {self.name} is full ({self.limit} messages)")
        if self._closed:
            raise ActorDied(f"{self.name} has ended")
        self.put_own(delivery)
        if self._closed:  # closed in between, perhaps after its last look
            self._drop_all()

    def put_own(self, delivery: Delivery) -> None:
        """Queue what the actor or its host sends itself; never refused."""
        self._queue.put(delivery)
        if self.crew is not None:
            self.crew.call()

    def get(self) -> Delivery:
        """The next one; waits for it, and `put_own` of the host ends the wait."""
        return self._queue.get()

    def get_now(self) -> Delivery | None:
        """The next one; None: there is none now."""
        try:
            return self._queue.get_nowait() if self._queue.qsize() else None
        except queue.Empty:
            return None

    def close(self, level: int) -> None:
        """Nobody reads it any more: asks are answered `ActorDied`, the rest is dropped, which is
        logged with this level."""
        self._closed = True
        self._drop_all(level)

    def _drop_all(self, level: int = logging.DEBUG) -> None:
        dropped = 0
        while True:
            try:
                delivery = self._queue.get_nowait()
            except queue.Empty:
                break
            lost = not delivery.refuse(ActorDied(f"{self.name} ended before it answered"))
            dropped += lost and delivery is not _WAKE and delivery.timer is None
        if dropped:
            log.log(level, "%s ended; %d messages to it are dropped", self.name, dropped)


@final
class Address(Generic[M]):
    """Where an actor is reached, from any thread; the same over all its restarts.

    What waits in the inbox when an actor fails is handled by its successor, in order, except for
    the message that it failed on.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._inbox.name

    def tell(self, message: M) -> None:
        """Send and forget; never waits.

        Raises:
            QueueFull: its inbox is full.
            ActorDied: it has ended for good.
        """
        self._inbox.put(Delivery(message))

    def insist(self, message: M) -> None:
        """As `tell`, but never refused for want of room: for what frees room, and for what a
        process has to tell itself. Whoever uses it sees to it that these are few.

        Raises:
            ActorDied: it has ended for good.
        """
        self._inbox.put(Delivery(message), limited=False)

    def ask(self, message: M, timeout_s: float) -> object:
        """Send and wait for what `receive` returns. Never on an event loop: it blocks.

        Raises:
            ServingError: whatever `receive` refused the message with.
            ActorDied: it failed on this message (the failure is the `__cause__`) or has ended for
                good; comes at once.
            QueueFull: its inbox is full.
            RequestTimeout: no answer in time; the message may still be handled later.
        """
        future: pykka.ThreadingFuture[object] = pykka.ThreadingFuture()
        self._inbox.put(Delivery(message, future))
        try:
            answer: object = future.get(timeout=timeout_s)
        except pykka.Timeout:
            raise RequestTimeout(f"{self.name} did not answer within {timeout_s} s") from None
        return answer


@dataclass(slots=True, frozen=True)
class Binding:
    """What ties one incarnation of an actor to its host."""

    inbox: Inbox
    stopping: threading.Event
    schedule: Callable[[float, Timer], None]  # monotonic seconds; any thread
    ended: Callable[[BaseException | None], None]  # last call, in the actor's thread


class Actor(pykka.ThreadingActor):
    """Handles one message after the other, in a thread of its own or that of a `Crew`; started by
    `Host.start`.

    Subclasses implement `receive`, and `on_start` and `on_stop` where they need them; all run in
    that thread, `__init__` in another. A `ServingError` that `receive` raises is an
    answer, and the actor lives on; anything else it raises ends this actor, whether the message
    came by `tell`, by `ask` or by a timer, and the same goes for anything that `on_start` raises.
    """

    use_daemon_thread = True  # a hung actor must not keep the process from ending
    _binding: Binding

    def __init__(self) -> None:
        super().__init__()
        self._timers: set[Timer] = set()
        self._started = False  # by a crew

    @property
    def address(self) -> Address[object]:
        """Its own address, from `on_start` on."""
        return Address(self._binding.inbox)

    @property
    def inbox(self) -> Inbox:
        """Where its messages wait; for the host and timers, others use the address."""
        return self._binding.inbox

    def on_start(self) -> None:
        """Before the first message; not in the constructor's thread."""

    def receive(self, message: object) -> object:
        """Handle one message; what is returned answers an `ask`."""
        raise NotImplementedError

    def on_stop(self) -> None:
        """After the last message of an orderly stop; not called after a failure."""

    @final
    def after(self, delay_s: float, message: object) -> Timer:
        """Receive `message` once, later; 0: behind what is in the inbox now, without a timer.

        Own thread only. It is never refused, and it dies with this actor: a successor does not
        receive it. Re-arm it in `receive` for a period.
        """
        timer = Timer(self, message)
        self._timers.add(timer)
        if delay_s > 0:
            self._binding.schedule(time.monotonic() + delay_s, timer)
        else:
            timer.fire()
        return timer

    @final
    def begin(self, binding: Binding) -> None:
        """Start the thread, or join the crew. For the host only; pykka's registry is left out on
        purpose, so that its `stop_all` reaches nobody here."""
        self._binding = binding
        if binding.inbox.crew is None:
            self._start_actor_loop()
        else:
            binding.inbox.crew.seat(binding.inbox, self)

    @final
    def turn(self) -> bool:
        """For the crew: handle what waits now; False: there was nothing, or it has ended."""
        inbox, stopping = self._binding.inbox, self._binding.stopping
        starts, self._started = not self._started, True
        try:
            if starts:
                self.on_start()
            delivery = inbox.get_now()
            if delivery is None:
                return starts
            while delivery is not None and not stopping.is_set():
                self._deliver(delivery)
                delivery = inbox.get_now()
            if not stopping.is_set():
                return True
            if delivery is not None:
                inbox.put_own(delivery)  # answered or dropped when the inbox is closed
            self.on_stop()
        except BaseException as error:
            self._over(error)
            return True  # its successor goes on with what waits
        self._over(None)
        return False

    @final
    def on_receive(self, message: object) -> object:
        """pykka's own way in, which we do not use."""
        raise NotImplementedError("send to an actor through its Address")

    def _actor_loop(self) -> None:
        failure: BaseException | None = None
        try:
            self.on_start()
            self._work()
            self.on_stop()
        except BaseException as error:
            failure = error
        self._over(failure)

    def _over(self, failure: BaseException | None) -> None:
        self.actor_stopped.set()
        for timer in self._timers:
            timer.cancel()
        if self._binding.inbox.crew is not None:
            self._binding.inbox.crew.leave(self._binding.inbox)
        self._binding.ended(failure)

    def _work(self) -> None:
        inbox, stopping = self._binding.inbox, self._binding.stopping
        while not stopping.is_set():
            delivery = inbox.get()
            if stopping.is_set():
                inbox.put_own(delivery)  # answered or dropped when the inbox is closed
            else:
                self._deliver(delivery)

    def _deliver(self, delivery: Delivery) -> None:
        if delivery.timer is None:
            self._handle(delivery)
        elif delivery.timer.owner is self and not delivery.timer.cancelled:
            self._timers.discard(delivery.timer)
            self._handle(delivery)

    def _handle(self, delivery: Delivery) -> None:
        try:
            answer = self.receive(delivery.message)
        except ServingError as refusal:
            if not delivery.refuse(refusal):
                log.warning("%s: %s", self._binding.inbox.name, refusal)
        except BaseException as error:
            died = ActorDied(f"{self._binding.inbox.name} failed: {error!r}")
            died.__cause__ = error
            delivery.refuse(died)
            raise
        else:
            delivery.answer(answer)


def wake(inbox: Inbox) -> None:
    """End the wait of the actor behind this inbox, so that it sees that it should stop."""
    inbox.put_own(_WAKE)
