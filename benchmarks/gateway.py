"""What a gateway does for each request: requests a second, CPU time, added latency.

The real tree serves the demo model with an engine that answers at once (`fast_engine`), to a client
with a key and limits that are never reached, so that all is checked and counted. The load comes
from `wrk`. On Linux the gateway has core 0 for itself, control and engine share core 1, and so does
the load where there are but two. What a gateway adds is its answer's time less that of the engine,
asked directly (`gateway_floor`) in the same run. New text is other words in each request, known
text the same words. With `--gateways 2` there are two, on a core each where there are four cores,
else both on core 0: that shows what a second one costs, and no scaling.
Run: python -m benchmarks.gateway [--seconds 5] [--gateways 2]
"""

import argparse
import contextlib
import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.gateway_floor import ask_directly
from benchmarks.load import (
    HEADERS,
    KEY,
    KEY_ID,
    NEW_TEXT,
    Cores,
    cores_for,
    cpu_s,
    head,
    pin,
    row,
    wrk,
)
from config.limits import KeyLimits
from gateway.auth.key_store import KeyStore
from gateway.auth.keys import KeyRecord, digest
from tests.e2e.server import Server, wait_for

ANSWER_TOKENS = 8
NEVER_REACHED = KeyLimits(10**9, 10**9, 10**9)
TOKEN_IDS = {"prompt": [300 + i for i in range(200)]}
SYSTEM = {"role": "system", "content": "You are a helpful assistant. " * 8}
OFTEN_SAID = {"role": "user", "content": "Tell me about a fox who lost his way home. " * 18}
NEWLY_SAID = {"role": "user", "content": NEW_TEXT}
MORE = {"model": "fast", "max_tokens": ANSWER_TOKENS, "temperature": 0}
CHATS = "/v1/chat/completions"
LOADS = {
    "token ids": ("/v1/completions", TOKEN_IDS | MORE),
    "chat of 1 KB, new text": (CHATS, {"messages": [SYSTEM, NEWLY_SAID]} | MORE),
    "chat of 1 KB, known text": (CHATS, {"messages": [SYSTEM, OFTEN_SAID]} | MORE),
}


@contextlib.contextmanager
def fast_server(gateways=1, cores=None, **env):
    """The tree with an engine that answers at once; its metrics are for the same key."""
    settings = {"MLX_SERVING_SERVER__GATEWAYS": str(gateways)} | env
    cores = cores or Cores((0,) * gateways)
    with tempfile.TemporaryDirectory() as folder:
        settings["MLX_SERVING_AUTH__KEYS_FILE"] = keys_file(folder)
        with Server("demo=fast", program="benchmarks.fast_engine", env=settings) as server:
            server.url = server.wait_ready()
            wait_for(lambda: ready(server, gateways), what="all gateways")
            wait_for(lambda: answer(server.url, *LOADS["token ids"]), what="a first answer")
            server.gateways = [server.child(f"gateway:{i}").pid for i in range(gateways)]
            server.engine = server.child("engine:fast:0")
            server.others = {"control": server.child("control").pid, "engine": server.engine.pid}
            for pid, core in zip(server.gateways, cores.gateways, strict=True):
                pin(pid, core)
            for pid in server.others.values():
                pin(pid, cores.others)
            yield server


def keys_file(folder):
    path = str(Path(folder) / "keys.json")
    secret = digest(KEY).hex()
    KeyStore(path).add(
        KeyRecord(
            id=KEY_ID,
            sha256=secret,
            name="load",
            created_time=int(time.time()),
            role="admin",
            limits=NEVER_REACHED,
        )
    )
    return path


def ready(server, gateways):
    return all(server.child(f"gateway:{i}").state == "ready" for i in range(gateways))


def answer(url, path, body):
    """One answer; None where there is none."""
    request = urllib.request.Request(url + path, json.dumps(body).encode(), HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except (OSError, urllib.error.HTTPError):
        return None


def measure(server, path, body, connections, seconds, core=1):
    """One load, and the CPU microseconds that the gateways and others spent for a request."""
    pids = {"gateway": server.gateways} | {name: [pid] for name, pid in server.others.items()}
    before = {name: cpu_s(*of) for name, of in pids.items()}
    found = wrk(server.url + path, body, connections, seconds, core=core)
    requests = found.per_second * seconds
    spent = {name: (cpu_s(*of) - before[name]) / requests * 1e6 for name, of in pids.items()}
    return found, spent


def show(name, connections, found, spent):
    """A line of the table that `COLUMNS` is the head of."""
    own = [f"{spent[key]:.0f}" if key in spent else "" for key in ("gateway", "control")]
    latency = [f"{value:.2f}" for value in found.latency_ms.values()]
    row(name, connections, f"{found.per_second:.0f}", *own, *latency, found.failed)


COLUMNS = (
    "who or what, load", "connections", "requests/s", "own us", "control us",
    "p50 ms", "p95 ms", "p99 ms", "failed",
)  # fmt: skip


def added(server, name, path, body, found, seconds):
    """The same requests past the gateway, and what lies between; `found` by connections."""
    tokens = answer(server.url, path, body)["usage"]["prompt_tokens"]
    for connections, through in found.items():
        direct = ask_directly(server.engine, tokens, ANSWER_TOKENS, connections, seconds)
        times = [f"{ms:.2f}" for ms in (*through.latency_ms.values(), *direct.values())]
        row(name, connections, *times, f"{through.latency_ms['p50'] - direct['p50']:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=LOADS)
    parser.add_argument("--connections", type=int, nargs="*", default=(1, 16, 64, 128))
    parser.add_argument("--gateways", type=int, default=1)
    arguments = parser.parse_args()
    seconds = 2 if arguments.quick else arguments.seconds
    loads = {name: it for name, it in LOADS.items() if arguments.only in (None, name)}
    found = {name: {} for name in loads}
    cores = cores_for(arguments.gateways, os.cpu_count())
    with fast_server(arguments.gateways, cores) as server:
        head(*COLUMNS)
        for name, load in loads.items():
            for connections in arguments.connections:
                measured, spent = measure(server, *load, connections, seconds, cores.load)
                found[name][connections] = measured
                show(name, connections, measured, spent)
        print()
        shares = ("p50 ms", "p95 ms", "p99 ms")
        head("load", "at a time", *shares, *(f"direct {it}" for it in shares), "added at p50")
        for name, load in loads.items():
            at_most_16 = {n: it for n, it in found[name].items() if n <= 16}
            added(server, name, *load, at_most_16, seconds)


if __name__ == "__main__":
    main()
