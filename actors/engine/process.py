"""Entry of an engine process: one actor that owns the model, one thread that owns the sockets."""

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.base import Actor, Address
from actors.engine.args import STORE_CLOSE_S, EngineArgs
from actors.engine.embedding.files import is_embedding_model
from actors.engine.io import Close, ToIO, UseControl
from actors.engine.place import Own, Place
from actors.engine.source import locate
from actors.host import Host
from config.errors import ActorDied, ServingError, load_fault
from transport.lifeline import Lifeline
from transport.messages.lifeline import Announce, News
from transport.outbox import Outbox

CLOSE_S = 5.0


def run(lifeline: Lifeline, args: bytes) -> int:
    """Serve one replica until told to stop. Exit code 0, or 1 when the model or a step failed."""
    outbox: Outbox[ToIO] = Outbox()
    place = Place(lifeline, msgspec.msgpack.decode(args, type=EngineArgs), outbox)
    host = Host(lambda _, error: place.fail(error))
    engine = _Engine(place, host)
    lifeline.on_announce = lambda announced: _on_announce(announced, outbox)
    lifeline.on_drain = lambda _: engine.insist(Own.DRAIN)
    lifeline.on_stop = lambda _: _stop(place, engine)
    lifeline.on_orphaned = place.stopped.set
    lifeline.listen()
    threading.Thread(target=engine.begin, name="engine-begin", daemon=True).start()
    place.stopped.wait()
    return _end(lifeline, place, host)


class _Engine:
    """The actor. It is begun when the model's files are here and say of which kind it has to be,
    which may be a download away; what it is told before waits for it."""

    def __init__(self, place: Place, host: Host) -> None:
        self._place = place
        self._host = host
        self._lock = threading.Lock()
        self._actor: Address[object] | None = None
        self._early: list[Own] = []

    def begin(self) -> None:
        """Find the model and start the actor; in a thread of its own."""
        place = self._place
        try:
            folder = locate(place.args.source, place.lifeline.loading)
            kind = _actor_of(folder, place.args.source)
        except BaseException as error:  # the process must not wait for ever
            place.fail(error)
            return
        place.args = msgspec.structs.replace(place.args, source=str(folder))
        with self._lock:
            # A failed step leaves a batch in an unknown state: the whole process ends.
            self._actor = self._host.start("engine", lambda: kind(place), intensity=0)
            for message in self._early:
                self._insist(self._actor, message)

    def insist(self, message: Own) -> None:
        """Tell the actor, now or when it is there; any thread."""
        with self._lock:
            if self._actor is None:
                self._early.append(message)
            else:
                self._insist(self._actor, message)

    def _insist(self, actor: Address[object], message: Own) -> None:
        try:
            actor.insist(message)
        except ActorDied:
            if message is Own.STOP:  # nobody will get a good-bye
                self._place.stopped.set()


def _actor_of(folder: Path, source: str) -> Callable[[Place], Actor]:
    """Either imports much that the other does not need."""
    if is_embedding_model(folder, source):
        from actors.engine.embedding.actor import EmbeddingActor

        return EmbeddingActor
    from actors.engine.actor import EngineActor

    return EngineActor


def _on_announce(announced: News, outbox: Outbox[ToIO]) -> None:
    if isinstance(announced, Announce) and announced.kind == "control":
        endpoint = announced.facts.get("control_endpoint")
        if announced.state == "ready" and isinstance(endpoint, str):
            outbox.put(UseControl(endpoint))


def _stop(place: Place, engine: _Engine) -> None:
    if place.io is None:  # still loading: there is nobody to say good-bye to
        place.stopped.set()
    else:
        engine.insist(Own.STOP)


def _end(lifeline: Lifeline, place: Place, host: Host) -> int:
    failures = list(place.failures)
    for error in failures:
        if isinstance(error, ServingError):
            lifeline.start_failed(error.code, error.message, load_fault(error))
    if place.io is not None:
        place.outbox.put(Close())
        place.io.join(CLOSE_S)
    if place.io is not None and not failures:
        host.stop(CLOSE_S + STORE_CLOSE_S)
    lifeline.close()
    return 1 if failures else 0
