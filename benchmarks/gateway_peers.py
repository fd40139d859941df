"""Our gateway next to routers and proxies that others put in front of engines.

Each gets core 0 and the same load from `wrk` on core 1. The engine behind the others is an nginx on
core 1 that answers with a fixed completion, which costs less than any engine; behind ours it is the
`fast_engine`, over the real sockets. Ours checks a key, counts its limits, tokenises, routes;
LiteLLM checks the key. None writes a line to its log for each request.

The peers are what is found under `--peers FOLDER`, a virtual environment each, made so:

    for name in sglang-router vllm-router litellm; do uv venv --python 3.11 FOLDER/$name; done
    uv pip install --python FOLDER/sglang-router/bin/python sglang-router
    uv pip install --python FOLDER/vllm-router/bin/python vllm-router
    uv pip install --python FOLDER/litellm/bin/python "litellm[proxy]"

sglang-router takes token ids at `/generate` only, so there it is asked for them. `vllm-router` on
PyPI is the one in Rust; production-stack's, in Python and of the same name, is not there.
Run: python -m benchmarks.gateway_peers --peers FOLDER [--seconds 5]
"""

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import (
    ANSWER_TOKENS,
    COLUMNS,
    LOADS,
    TOKEN_IDS,
    fast_server,
    measure,
    show,
)
from benchmarks.load import HEADERS, KEY, cpu_s, head, pinned, wrk

BACKEND = 18972
PORT = 18973
ANSWER = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "fast",
    "choices": [
        {
            "index": 0,
            "text": "some words of an answer",
            "message": {"role": "assistant", "content": "some words of an answer"},
            "logprobs": None,
            "finish_reason": "length",
        }
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208},
}
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 10000000; default_type application/json;
  upstream engine {{ server 127.0.0.1:{backend}; keepalive 128; }}
  server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""
_ENGINE = """
    location /v1/models {{ return 200 '{{"object":"list","data":[{{"id":"fast"}}]}}'; }}
    location / {{ return 200 '{answer}'; }}
"""
_PROXY = """
    location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; }
"""


@contextlib.contextmanager
def nginx(core, port, location):
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            _NGINX.format(folder=folder, port=port, backend=BACKEND, location=location)
        )
        command = [*pinned(core), "nginx", "-c", str(config), "-p", folder]
        with started(command) as process:
            yield process


@contextlib.contextmanager
def started(command):
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | QUIET)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


@dataclass(frozen=True)
class Peer:
    """Another router; `FOLDER/package/bin/package` begins with these arguments."""

    package: str
    arguments: tuple
    loads: dict

    def command(self, folder):
        return [str(folder / self.package / "bin" / self.package), *self.arguments]

    def version(self, folder):
        code = f"from importlib.metadata import version; print(version('{self.package}'))"
        command = [str(folder / self.package / "bin" / "python"), "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def peers(config):
    """All that are known; `config` is LiteLLM's file of settings."""
    here = ("--host", "127.0.0.1", "--port", str(PORT))
    worker = ("--worker-urls", f"http://127.0.0.1:{BACKEND}", *here)
    ids = {
        "input_ids": TOKEN_IDS["prompt"],
        "sampling_params": {"max_new_tokens": ANSWER_TOKENS, "temperature": 0},
    }
    own = {"token ids": ("/generate", ids)}
    return [
        Peer("sglang-router", ("launch", *worker, "--log-level", "error"), LOADS | own),
        Peer("vllm-router", (*worker, "--log-level", "error"), LOADS),
        Peer("litellm", ("--config", str(config), *here), LOADS),
    ]


# LiteLLM would ask the network for a list of prices, and log each request.
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}


def litellm_settings():
    """No database and no telemetry; without a `master_key` it does not start."""
    backend = f"http://127.0.0.1:{BACKEND}/v1"
    entry = {"model": "openai/fast", "api_base": backend, "api_key": "none"}
    return {
        "model_list": [{"model_name": "fast", "litellm_params": entry}],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": KEY},
    }


def refusal(process, path, body, timeout_s=90):
    """Wait until a peer answers as an engine would: why it does not, or None."""
    url, data = f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode()
    deadline = time.monotonic() + timeout_s
    said = ""
    while process.poll() is None and time.monotonic() < deadline:
        request = urllib.request.Request(url, data, HEADERS)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return None if json.load(answer)["choices"] else "an answer without choices"
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.read()[:200]}"
        except (OSError, ValueError, KeyError) as error:
            said = repr(error)
        time.sleep(0.5)
    if process.poll() is not None:
        return f"ended with {process.returncode}: {' '.join(process.args)}"
    return said


def measure_peer(name, process, loads, arguments):
    for load, (path, body) in loads.items():
        why_not = refusal(process, path, body)
        if why_not is not None:
            print(f"| {name}, {load} | did not answer: {why_not} |", flush=True)
            continue
        for connections in arguments.connections:
            before = cpu_s(process.pid)
            found = wrk(f"http://127.0.0.1:{PORT}{path}", body, connections, arguments.seconds)
            requests = max(found.per_second * arguments.seconds, 1)
            spent = {"gateway": (cpu_s(process.pid) - before) / requests * 1e6}
            show(f"{name}, {load}", connections, found, spent)


def ours(arguments):
    with fast_server() as server:
        for load, (path, body) in LOADS.items():
            for connections in arguments.connections:
                found = measure(server, path, body, connections, arguments.seconds)
                show(f"mlx-serving, {load}", connections, *found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="*", default=(1, 16, 64))
    arguments = parser.parse_args()
    head(*COLUMNS)
    ours(arguments)
    engine = _ENGINE.format(answer=json.dumps(ANSWER))
    with nginx(1, BACKEND, engine), tempfile.TemporaryDirectory() as folder:
        with nginx(0, PORT, _PROXY) as process:
            one = {"token ids": LOADS["token ids"]}
            measure_peer("nginx as a proxy", process, one, arguments)
        config = Path(folder) / "litellm.json"
        config.write_text(json.dumps(litellm_settings()))
        for peer in peers(config):
            command = peer.command(arguments.peers)
            if not Path(command[0]).exists():
                print(f"| {peer.package} | not there: {command[0]} |", flush=True)
                continue
            with started([*pinned(0), *command]) as process:
                name = f"{peer.package} {peer.version(arguments.peers)}"
                measure_peer(name, process, peer.loads, arguments)


if __name__ == "__main__":
    main()
