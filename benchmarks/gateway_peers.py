"""Our gateway next to routers and proxies that others put in front of engines.

Each gets core 0 and the same load from `wrk` on core 1. The engine behind the others is an nginx on
core 1 that answers with a fixed completion, which costs less than any engine; behind ours it is the
`fast_engine`, over the real sockets. Ours checks a key, counts its limits, tokenises, routes. The
peers are what is found under `--peers FOLDER`, a virtual environment each, made so:
`uv venv FOLDER/litellm; uv pip install --python FOLDER/litellm/bin/python "litellm[proxy]"`, and
`vllm-router` and `sglang-router` likewise.
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
from pathlib import Path

from benchmarks.gateway import COLUMNS, LOADS, fast_server, measure, show
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
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
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
        with started(command):
            yield


@contextlib.contextmanager
def started(command):
    with tempfile.TemporaryFile() as log:
        # LiteLLM asks the network for its list of prices otherwise.
        env = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def commands(folder):
    """By name: how a peer is started."""
    backend = f"http://127.0.0.1:{BACKEND}"
    router = ["--worker-urls", backend, "--host", "127.0.0.1", "--port", str(PORT)]
    config = folder / "litellm.yaml"
    if folder.is_dir():
        entry = {"model": "openai/fast", "api_base": f"{backend}/v1", "api_key": "none"}
        settings = {
            "model_list": [{"model_name": "fast", "litellm_params": entry}],
            "general_settings": {"master_key": KEY},
        }
        config.write_text(json.dumps(settings))
    known = {
        "sglang-router (Rust)": [*_found(folder, "sglang-router"), "launch", *router],
        "vllm-router (Rust)": [*_found(folder, "vllm-router"), *router],
        "LiteLLM proxy": [*_found(folder, "litellm"), "--config", str(config), "--port", str(PORT)],
    }
    return {name: command for name, command in known.items() if Path(command[0]).exists()}


def _found(folder, program):
    return [str(path) for path in sorted(folder.glob(f"*/bin/{program}"))[:1]] or ["/nowhere"]


def answering(path, body, timeout_s=90):
    """Wait until the peer answers as an engine would."""
    url, data = f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        request = urllib.request.Request(url, data, HEADERS)
        with (
            contextlib.suppress(OSError, urllib.error.HTTPError, ValueError),
            urllib.request.urlopen(request, timeout=5) as answer,
        ):
            return json.load(answer)["choices"] is not None
        time.sleep(0.5)
    return False


def peer(name, command, arguments):
    with started([*pinned(0), *command]) as process:
        for load, (path, body) in LOADS.items():
            if not answering(path, body):
                print(f"| {name}, {load} | did not answer |", flush=True)
                continue
            for connections in arguments.connections:
                before = cpu_s(process.pid)
                url = f"http://127.0.0.1:{PORT}{path}"
                found = wrk(url, body, connections, arguments.seconds)
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
    with nginx(1, BACKEND, engine):
        with nginx(0, PORT, _PROXY):
            path, body = LOADS["token ids"]
            answering(path, body)
            for connections in arguments.connections:
                url = f"http://127.0.0.1:{PORT}{path}"
                show("nginx as a proxy", connections, wrk(url, body, connections, 3), {})
        for name, command in commands(arguments.peers).items():
            peer(name, command, arguments)


if __name__ == "__main__":
    main()
