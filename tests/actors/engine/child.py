"""An engine process whose lifeline, control and gateways are in the test's hands."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import zmq

from actors.engine.args import EngineArgs
from transport.codec import Codec
from transport.lifeline import FrameBuffer, frame, from_child, to_child
from transport.messages import control as c
from transport.messages import data as d
from transport.messages import lifeline as life
from transport.sockets import dealer, peer_name, router

to_engine, from_engine = Codec(d.ToEngine), Codec(d.FromEngine)
to_control, from_control = Codec(c.ToControl), Codec(c.FromControl)
PEER = b"engine:tiny:0#3"


class Engine:
    """A child process with the lifeline, the control socket and a gateway's socket in our hands."""

    def __init__(self, folder, **changed):
        self.run = Path(tempfile.mkdtemp(prefix="mlxs-", dir="/tmp"))
        args = {
            "source": str(folder), "model": "tiny", "number": 0, "replica": 0,
            "wired_limit_bytes": 1 << 30, "budget_fraction": 0.8, "max_concurrent": None,
            "max_waiting": 50, "max_context_tokens": None, "prefill_chunk_tokens": 64,
        }  # fmt: skip
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "supervisor.child", str(theirs.fileno()), str(os.getpid())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self.lifeline, self.buffer = ours, FrameBuffer()
        ours.settimeout(60)
        encoded = msgspec.Raw(msgspec.msgpack.encode(EngineArgs(**args | changed)))
        entry = "actors.engine.process:run"
        self.say(life.Start("engine:tiny:0", 3, entry, encoded, {}, str(self.run), "info"))
        self.context = zmq.Context()
        self.control = router(self.context, f"ipc://{self.run}/c.sock")
        self.control.setsockopt(zmq.RCVTIMEO, 30_000)
        facts = {"control_endpoint": f"ipc://{self.run}/c.sock"}
        self.say(life.Announce("control", "control", {}, "ready", 1, None, facts))
        self.events = []
        self.links = []

    def say(self, message):
        self.lifeline.sendall(frame(to_child.encode(message)))

    def hear(self, kind):
        """The next message of this kind on the lifeline."""
        while True:
            for i, message in enumerate(self.events):
                if isinstance(message, kind):
                    return self.events.pop(i)
            data = self.lifeline.recv(65536)
            assert data, f"the child is gone: {self.process.wait(10)}"
            self.events += [from_child.decode(p) for p in self.buffer.feed(data)]

    def report(self, kind):
        """The next message of this kind that control gets, and from whom."""
        while True:
            peer, payload = self.control.recv_multipart()
            message = to_control.decode(payload)
            if isinstance(message, kind):
                return peer, message

    def connect(self, name=None):
        """A new gateway's socket."""
        name = name or f"gateway:{len(self.links)}"
        link = dealer(self.context, self.ready.facts["endpoint"], peer_name(name, 1), keep=True)
        link.setsockopt(zmq.RCVTIMEO, 30_000)
        self.links.append(link)
        return link

    def close(self):
        self.lifeline.close()
        if self.process.poll() is None:
            self.process.wait(20)
        for link in [self.control, *self.links]:
            link.close(linger=0)
        self.context.term()
        shutil.rmtree(self.run, ignore_errors=True)


def send(link, *items):
    """To the engine, in one batch."""
    link.send(to_engine.encode(d.Batch(list(items))))
