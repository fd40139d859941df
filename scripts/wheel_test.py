"""Tests what users install: sdist → wheel → an empty venv → the tests, then a real server.

The tests are copied and their imports rewritten by the rule of the wheel build. Run it with the
Python of .venv; it needs uv there or on the path.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hatch_build import FOLDERS, shade  # noqa: E402

NEEDED = ("pytest", "pytest-timeout", "hypothesis", "openai", "anthropic")
# These look at the checkout itself, or need more than the wheel does.
SKIPPED = (
    "tests/demo",
    "tests/examples",
    "tests/test_api_page.py",
    "tests/test_packaging.py",
    "tests/benchmarks",
    "tests/gateway/http/test_schemathesis.py",
)
START_S, STOP_S = 180, 60
_NAME = re.compile(rf"(?<=[\"'])(?:{'|'.join(FOLDERS)})(?:\.\w+)+")


def main() -> int:
    """Raises on the first failure."""
    with tempfile.TemporaryDirectory(prefix="wheel-test-") as scratch:
        place = Path(scratch)
        wheel = build(place)
        python = install(wheel, place)
        copy_tests(place)
        command = [
            python,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-m",
            "not processes and not mlx",
        ]
        run(*command, *(f"--ignore={path}" for path in SKIPPED), cwd=place)
        serve_and_ask(python.parent / "mlx-serving", place)
    print("wheel-test: the wheel works")
    return 0


def run(*command: object, cwd: Path = ROOT) -> None:
    """Run to the end; raises CalledProcessError."""
    words = [str(word) for word in command]
    print("+", *words, flush=True)
    subprocess.run(words, cwd=cwd, check=True, env=environment())


def environment() -> dict[str, str]:
    """Ours, without what points Python or uv at the checkout."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def uv() -> str:
    """The program uv."""
    ours = Path(sys.executable).parent / "uv"
    found = str(ours) if ours.exists() else shutil.which("uv")
    if not found:
        raise SystemExit("wheel-test: uv is missing; run make install")
    return found


def build(place: Path) -> Path:
    """The wheel, built from the sdist."""
    run(uv(), "build", "--quiet", "--out-dir", place / "dist")
    (wheel,) = (place / "dist").glob("*.whl")
    return wheel


def install(wheel: Path, place: Path) -> Path:
    """The Python of a new venv that has the wheel and pytest, in the locked versions."""
    locked = place / "locked.txt"
    export = ["export", "--quiet", "--frozen", "--no-hashes", "--no-emit-project"]
    run(uv(), *export, "--output-file", locked)
    run(uv(), "venv", "--quiet", "--python", sys.executable, place / "venv")
    python = place / "venv" / "bin" / "python"
    target = ["pip", "install", "--quiet", "--python", python, "--constraint", locked]
    run(uv(), *target, wheel, *NEEDED)
    return python


def copy_tests(place: Path) -> None:
    """The tests as they would be written against the wheel, and the model that they read."""
    shutil.copytree(ROOT / "demo" / "model", place / "demo" / "model")
    shutil.copytree(ROOT / "tests", place / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    for path in (place / "tests").rglob("*.py"):
        shade(path)
        path.write_text(_NAME.sub(shaded_name, path.read_text("utf-8")), "utf-8")


def shaded_name(match: re.Match[str]) -> str:
    """The name in the wheel, if a text in quotes begins with the name of a module of ours."""
    words = match[0].split(".")
    folder = ROOT / words[0] / words[1]
    is_module = folder.is_dir() or folder.with_suffix(".py").exists()
    return f"mlx_serving.{match[0]}" if is_module else match[0]


def serve_and_ask(program: Path, place: Path) -> None:
    """Start the server, get an answer in words, stop it."""
    run(program, "version", cwd=place)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(program), "serve", "--port", str(port), "--runtime-dir", str(place / "run")]
    print("+", *command, flush=True)
    server = subprocess.Popen(command, cwd=place, env=environment())
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", server)
        print("wheel-test: asked, answered:", ask(f"http://127.0.0.1:{port}"))
        server.send_signal(signal.SIGTERM)
        code = server.wait(STOP_S)
    finally:
        server.kill()
        server.wait(STOP_S)
    if code != 0:
        raise SystemExit(f"wheel-test: the server stopped with {code}")


def wait_until_ready(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Until `/ready` says so."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"wheel-test: the server ended with {server.returncode}")
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"wheel-test: the server was not ready after {START_S} s")


def ask(url: str) -> str:
    """One answer."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = str(json.load(response)["choices"][0]["message"]["content"])
    if not text.strip():
        raise SystemExit("wheel-test: the answer is empty")
    return text


if __name__ == "__main__":
    sys.exit(main())
