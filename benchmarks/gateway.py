"""What a gateway does for each request: requests a second, CPU time, added latency.

The real tree serves the demo model with an engine that answers at once (`fast_engine`); the
load comes from `wrk`, which must be installed (`apt install wrk`, `brew install wrk`). On Linux the
gateway has core 0 for itself and all others share core 1. nginx that answers by itself is a floor.
Run: python -m benchmarks.gateway [--seconds 5] [--peers]
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server import Server, wait_for

TICKS = os.sysconf("SC_CLK_TCK")
ANSWER_TOKENS = 8
TOKEN_IDS = {"prompt": [300 + i for i in range(200)]}
CHAT = {
    "messages": [
        {"role": "system", "content": "You are a helpful assistant. " * 8},
        {"role": "user", "content": "Tell me about a fox who lost his way home. " * 18},
    ]
}
MORE = {"model": "fast", "max_tokens": ANSWER_TOKENS, "temperature": 0}
LOADS = {
    "token ids": ("/v1/completions", TOKEN_IDS | MORE),
    "chat of 1 KB": ("/v1/chat/completions", CHAT | MORE),
}


@dataclass(frozen=True)
class Measured:
    per_second: float
    latency_ms: dict  # by share
    failed: int


def wrk(url, body, connections, seconds, headers=()):
    """Load from one thread on core 1, as fast as the server answers."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n')
        script.writelines(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers)
        script.write(f"wrk.body = [==[{json.dumps(body)}]==]\n")
        script.write(_REPORT)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        out = subprocess.run([*pinned(1), *command], capture_output=True, text=True, check=True)
    found = json.loads(re.search(r"\{.*\}", out.stdout).group())
    latency = {share: found[share] / 1e3 for share in ("p50", "p95", "p99")}
    return Measured(found["requests"] / found["us"] * 1e6, latency, found["failed"])


_REPORT = """
done = function(summary, latency)
  local e = summary.errors
  print(string.format('{"requests": %d, "us": %d, "failed": %d, "p50": %d, "p95": %d, "p99": %d}',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""


def pinned(core):
    return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def pin(pid, core):
    if shutil.which("taskset"):
        subprocess.run(["taskset", "-acp", str(core), str(pid)], capture_output=True, check=True)


def cpu_s(pid):
    if not Path("/proc").exists():
        return float("nan")
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def fast_server(gateways=1, **env):
    """The tree with an engine that answers at once; each gateway on core 0, all else on core 1."""
    settings = {"MLX_SERVING_SERVER__GATEWAYS": str(gateways)} | env
    with Server("demo=fast", program="benchmarks.fast_engine", env=settings) as server:
        server.url = server.wait_ready()
        wait_for(lambda: answers(server.url), what="a first answer")
        server.gateways = [server.child(f"gateway:{i}").pid for i in range(gateways)]
        server.others = {
            "control": server.child("control").pid,
            "engine": server.child("engine:fast:0").pid,
        }
        for pid in server.gateways:
            pin(pid, 0)
        for pid in server.others.values():
            pin(pid, 1)
        yield server


def answers(url):
    body = json.dumps(TOKEN_IDS | MORE).encode()
    request = urllib.request.Request(
        f"{url}/v1/completions", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False


def measure(server, path, body, connections, seconds):
    """One load, and the CPU microseconds that each process spent for a request."""
    pids = {"gateway": server.gateways[0]} | server.others
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    found = wrk(server.url + path, body, connections, seconds)
    requests = found.per_second * seconds
    spent = {name: (cpu_s(pid) - before[name]) / requests * 1e6 for name, pid in pids.items()}
    return found, spent


def floor(seconds):
    """nginx on core 0 that answers by itself."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder))
        process = subprocess.Popen(
            [*pinned(0), "nginx", "-c", str(config), "-p", folder], stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(0.5)
            for connections in (1, 64):
                found = wrk("http://127.0.0.1:18971/", TOKEN_IDS | MORE, connections, seconds)
                show("nginx, by itself", connections, found, {})
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


_NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  server {{ listen 127.0.0.1:18971; location / {{ return 200 '{{"ok":true}}'; }} }}
}}
"""


def show(name, connections, found, spent):
    cells = [name, str(connections), f"{found.per_second:.0f}"]
    cells += [f"{spent[key]:.0f}" if key in spent else "" for key in ("gateway", "control")]
    cells += [f"{value:.2f}" for value in found.latency_ms.values()]
    print(f"| {' | '.join([*cells, str(found.failed)])} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=LOADS)
    parser.add_argument("--connections", type=int, nargs="*", default=(1, 16, 64))
    arguments = parser.parse_args()
    seconds = 2 if arguments.quick else arguments.seconds
    columns = ("load", "connections", "requests/s", "gateway us", "control us", "p50 ms", "p95 ms")
    print(f"| {' | '.join([*columns, 'p99 ms', 'failed'])} |\n{'|---' * 9}|")
    if shutil.which("nginx") and not arguments.only:
        floor(seconds)
    with fast_server() as server:
        for name, (path, body) in LOADS.items():
            if arguments.only in (None, name):
                for connections in arguments.connections:
                    show(name, connections, *measure(server, path, body, connections, seconds))


if __name__ == "__main__":
    main()
