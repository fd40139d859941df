"""A real server as a child process, and what the tests ask of it from the outside."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from transport.admin import AdminClient
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import Status

READY = re.compile(r"ready on (http://\S+?)[,\s]")
# Short times, so that a test of a failure does not wait for production's patience.
QUICK = {
    "MLX_SERVING_ENGINE__STALL_TIMEOUT_S": "4",
    "MLX_SERVING_SUPERVISION__BACKOFF_BASE_S": "0.05",
    "MLX_SERVING_SUPERVISION__INTENSITY": "20",
}


def wait_for(condition, timeout_s=60.0, what="the condition"):
    """Poll until it is true; what it gave."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {timeout_s} s")


class Server:
    """`mlx-serving serve ARGS` with its own runtime directory."""

    def __init__(self, *args, env=None, stdin=None, program="mlx_serving"):
        self.folder = Path(tempfile.mkdtemp(prefix="mlxs-", dir="/tmp"))
        self.runtime = RuntimeDirectory(self.folder / "run")
        self.lines = []
        command = [sys.executable, "-m", program, "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--runtime-dir", str(self.runtime.path), *args],
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | QUICK | (env or {}),
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.admin = AdminClient(self.runtime.admin)

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.admin.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def output(self):
        """All that it wrote so far."""
        return "\n".join(self.lines)

    def wait_ready(self, timeout_s=120.0):
        """Wait for the line that says so; the server's URL."""

        def found():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended:\n{self.output}")
            return READY.search(self.output)

        self.url = wait_for(found, timeout_s, "the ready line").group(1)
        return self.url

    def wait_exit(self, timeout_s=60.0):
        """Its exit code."""
        return self.process.wait(timeout_s)

    def children(self):
        """The children by id, as `admin status` tells."""
        status = self.admin.call(Status(), timeout_s=10.0).status
        return {child.id: child for child in status.children}

    def child(self, child_id):
        """One child."""
        return self.children()[child_id]

    def pids(self):
        """Of all processes of the tree, the supervisor's too."""
        return [self.process.pid, *(c.pid for c in self.children().values() if c.pid)]

    def kill(self, child_id, number=signal.SIGKILL):
        """Send a signal to a child; the child as it was."""
        child = self.child(child_id)
        os.kill(child.pid, number)
        return child

    def wait_successor(self, dead, timeout_s=60.0):
        """Wait until another incarnation of this child is ready."""

        def ready():
            child = self.child(dead.id)
            return child.incarnation > dead.incarnation and child.state == "ready" and child

        return wait_for(ready, timeout_s, f"a successor of {dead.id}")

    def get(self, path):
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def chat(self, text, **parameters):
        """The answer to one question, buffered."""
        body = {"model": "demo", "messages": [{"role": "user", "content": text}], **parameters}
        request = urllib.request.Request(
            self.url + "/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["choices"][0]["message"]["content"]


def alive(pid):
    """Whether a process runs; one that only waits to be reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
