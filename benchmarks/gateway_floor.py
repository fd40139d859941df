"""The floor under the gateway's latency: the engine's own socket, without gateway, HTTP, control.

A small client of the real protocol in the gateway's place, on its core.
"""

import contextlib
import itertools
import os
import time

import zmq
from msgspec import structs

from benchmarks.ask import quantile
from transport.codec import Codec
from transport.messages.data import Batch, FromEngine, Generate, Sampling, ToEngine
from transport.sockets import dealer

CORE = 0
PATIENCE_MS = 10_000
_out, _in = Codec(ToEngine), Codec(FromEngine)


def ask_directly(engine, prompt_tokens, answer_tokens, at_a_time, seconds):
    """Milliseconds by share from a request to the whole of its answer; `engine` as `admin status`
    tells of it. So many requests are always on their way."""
    request = Generate(
        request_id="",
        incarnation=engine.incarnation,
        tokens=[300 + i for i in range(prompt_tokens)],
        max_tokens=answer_tokens,
        timeout_s=60.0,
        sampling=Sampling(temperature=0.0),
    )
    with on_core(CORE):  # the context as well, whose thread stays where its maker was
        context = zmq.Context()
        try:
            socket = dealer(context, engine.facts["endpoint"], "floor#1", keep=True)
            taken = latencies(socket, request, at_a_time, seconds)
        finally:
            context.destroy(linger=0)
    return {f"p{share}": quantile(taken, share / 100) * 1e3 for share in (50, 95, 99)}


@contextlib.contextmanager
def on_core(core):
    """This thread stays on a core meanwhile; only Linux can be told."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def latencies(socket, request, at_a_time, seconds):
    """Seconds that each answer took."""
    numbers = (f"floor.{number}" for number in itertools.count())
    sent, taken = {}, []

    def send(count):
        ids = list(itertools.islice(numbers, count))
        sent.update(dict.fromkeys(ids, time.perf_counter()))
        items = [structs.replace(request, request_id=request_id) for request_id in ids]
        socket.send(_out.encode(Batch(items)))

    send(at_a_time)
    last = time.perf_counter() + seconds
    while sent:
        if not socket.poll(PATIENCE_MS):
            raise RuntimeError(f"{len(sent)} requests were not answered")
        ended = _in.decode(socket.recv()).ended
        now = time.perf_counter()
        taken += [now - sent.pop(it.request_id) for it in ended]
        if ended and now < last:
            send(len(ended))
    return taken
