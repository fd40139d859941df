"""The programs in docs/examples do what they say, against a real server that wants a key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.mlx, pytest.mark.timeout(300)]

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
CLIENTS = FOLDER / ".venv" / "bin"  # other clients need other versions than we do
PARIS = "The capital of France is Paris."
COUNTED = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
CALL = "call: get_weather {'city': 'Paris'}"
BOB = "Bob is 7"
# What is in each line that it prints.
PRINTED = {
    "openai_chat.py": [PARIS, COUNTED, "31 tokens"],
    "openai_tools.py": [CALL.replace("'", '"'), "21"],
    "openai_structured.py": [BOB],
    "openai_responses.py": ["Ada", "Your name is Ada.", "completed, 7 tokens"],
    "openai_embeddings.py": ["0.76 The kitten", "-0.02 Stock markets", "-0.03 It will rain"],
    "openai_node.mjs": [PARIS, COUNTED, BOB],
    "anthropic_messages.py": [f"26 tokens asked: {PARIS}", COUNTED, CALL, "21"],
    "langchain_chat.py": [PARIS, COUNTED, CALL, "21", BOB],
    "litellm_chat.py": [PARIS, COUNTED],
    "zeromq_client.py": ["models: demo minilm", PARIS, COUNTED, "4 tokens:|Once| upon| a| time"],
}
OURS = sys.executable
NEED_OTHERS = {"langchain_chat.py": CLIENTS / "python", "litellm_chat.py": CLIENTS / "python"}
PYTHONS = {name: NEED_OTHERS.get(name, OURS) for name in PRINTED if name.endswith(".py")}


@pytest.fixture
def run(server, key):
    def run(*command):
        """The lines that a program prints."""
        addresses = {
            "OPENAI_BASE_URL": f"{server.url}/v1",
            "OPENAI_API_KEY": key,
            "ANTHROPIC_BASE_URL": server.url,
            "ANTHROPIC_API_KEY": key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it fetches one else
            "LANGSMITH_TRACING": "false",
        }
        assert Path(command[0]).exists(), "the clients are not installed: run make clients"
        done = subprocess.run(
            command,
            cwd=FOLDER.parents[1],
            env=os.environ | addresses,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line]

    return run


def assert_printed(lines, expected):
    assert len(lines) == len(expected), lines
    assert [part for line, part in zip(lines, expected, strict=True) if part not in line] == []


def test_all_programs_are_tried():
    programs = {path.name for path in FOLDER.iterdir() if path.suffix in {".py", ".mjs", ".sh"}}
    assert programs == {*PRINTED, "curl.sh"}


@pytest.mark.parametrize("name", [name for name in PYTHONS if name != "zeromq_client.py"])
def test_a_python_client(run, name):
    assert_printed(run(PYTHONS[name], FOLDER / name), PRINTED[name])


def test_the_openai_client_of_the_version_before(run):
    name = "openai_chat.py"
    assert_printed(run(CLIENTS / "python", FOLDER / name), PRINTED[name])


def test_the_node_client(run):
    name = "openai_node.mjs"
    assert_printed(run(CLIENTS / "node", FOLDER / name), PRINTED[name])


def test_the_zeromq_client(run, server):
    name = "zeromq_client.py"
    assert_printed(run(OURS, FOLDER / name, server.runtime.path), PRINTED[name])


def test_curl(run):
    lines = run("/bin/sh", FOLDER / "curl.sh")
    assert '"id":"demo"' in lines[0]
    assert PARIS in lines[1]
    assert '"delta":{"content":"3"}' in lines[-4]
    assert lines[-1] == "data: [DONE]"
