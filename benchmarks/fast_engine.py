"""`mlx-serving serve demo` whose engine has no model and answers every request at once.

The engine is a process of the real tree and speaks over the real sockets; what is measured is all
around it. With `FAST_ENGINE_STEPS` in the environment it gives each request a token at a time, so
many steps a second; without, all tokens in one message.
Run: python -m benchmarks.fast_engine serve demo [--port N]
"""

import os
import queue
import threading
import time

import msgspec
import zmq

from actors.engine.args import EngineArgs
from mlx_serving.tree import demo_folder
from transport.codec import Codec
from transport.fake import fake_card
from transport.messages.control import EngineHello, LoadReport, ToControl
from transport.messages.data import (
    Cancel,
    Delta,
    Finished,
    FromEngine,
    Generate,
    StepOutput,
    ToEngine,
)
from transport.messages.lifeline import Announce
from transport.sockets import dealer, peer_name, router

WORDS = range(300, 1300)  # tokens of the demo model that are text
REPORT_S = 0.2
_in, _out, _control = Codec(ToEngine), Codec(FromEngine), Codec(ToControl)


class FastEngine:
    """One thread; all that came in one turn goes out in one message to each gateway."""

    def __init__(self, lifeline, model, controls):
        self.id, self.incarnation = lifeline.child_id, lifeline.incarnation
        self.context = zmq.Context()
        endpoint = lifeline.runtime.of_incarnation("fast", self.incarnation)
        self.socket = router(self.context, endpoint)
        card = msgspec.structs.replace(
            fake_card(model),
            folder=str(demo_folder()),
            vocab_size=3072,
            eos_token_ids=[2],
            context_tokens=4096,
        )
        self.hello = EngineHello(self.id, self.incarnation, endpoint, card)
        self.controls = controls
        self.control = None
        self.running = {}  # request id: gateway, request, tokens given
        rate = float(os.environ.get("FAST_ENGINE_STEPS", "0"))
        self.step_s = 1 / rate if rate else 0.0
        self.generated = 0

    def join(self):
        """Say hello to a control that has come up."""
        if not self.controls.empty():
            name = peer_name(self.id, self.incarnation)
            self.control = dealer(self.context, self.controls.get(), name, keep=True)
            self.control.send(_control.encode(self.hello))

    def run(self, stopped):
        step_at = report_at = time.monotonic()
        while not stopped.is_set():
            self.join()
            waits = [report_at] + ([step_at] if self.running else [])
            self.socket.poll(max(0, round((min(waits) - time.monotonic()) * 1000)))
            self.receive()
            now = time.monotonic()
            if self.running and now >= step_at:
                step_at = max(step_at + self.step_s, now)
                self.step()
            if now >= report_at:
                report_at = now + REPORT_S
                self.report()

    def receive(self):
        while True:
            try:
                gateway, frame = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            for item in _in.decode(frame).items:
                if isinstance(item, Generate):
                    self.running[item.request_id] = [gateway, item, 0]
                elif isinstance(item, Cancel):
                    self.running.pop(item.request_id, None)

    def step(self):
        outputs = {}
        for request_id, run in list(self.running.items()):
            gateway, request, given = run
            deltas, ended = outputs.setdefault(gateway, ([], []))
            count = request.max_tokens if not self.step_s else 1
            tokens = [WORDS[(given + i) % len(WORDS)] for i in range(count)]
            deltas.append(Delta(request_id, tokens))
            run[2] = given = given + count
            self.generated += count
            if given >= request.max_tokens:
                ended.append(Finished(request_id, "length", len(request.tokens), given))
                del self.running[request_id]
        for gateway, (deltas, ended) in outputs.items():
            frame = _out.encode(StepOutput(self.id, self.incarnation, deltas, ended))
            self.socket.send_multipart([gateway, frame])

    def report(self):
        if self.control is None:
            return
        report = LoadReport(
            engine_id=self.id,
            incarnation=self.incarnation,
            running=len(self.running),
            waiting=0,
            running_tokens=0,
            waiting_tokens=0,
            generated_tokens=self.generated,
            idle_s=0.0,
        )
        self.control.send(_control.encode(report))


def run(lifeline, args):
    """Entry of the engine's process, in the place of the real one's."""
    controls, stopped = queue.Queue(), threading.Event()

    def heard(announced):
        if not isinstance(announced, Announce) or announced.kind != "control":
            return
        if announced.state == "ready":
            controls.put(announced.facts["control_endpoint"])

    lifeline.on_announce = heard
    lifeline.on_drain = lambda _: None
    lifeline.on_stop = lifeline.on_orphaned = lambda *_: stopped.set()
    lifeline.listen()
    model = msgspec.msgpack.decode(args, type=EngineArgs).model
    engine = FastEngine(lifeline, model, controls)
    lifeline.ready({"model": model, "endpoint": engine.hello.endpoint})
    engine.run(stopped)
    lifeline.close()
    return 0


if __name__ == "__main__":
    from benchmarks import fast_engine
    from mlx_serving import tree
    from mlx_serving.cli import main

    tree.run_engine = fast_engine.run
    main()
