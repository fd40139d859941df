import subprocess
import sys

import pytest

from tests.e2e.server import Server
from tests.embedding_models import minilm


def make_key(file, *words):
    """A key of the kind that the words ask for."""
    command = [sys.executable, "-m", "mlx_serving", "keys", "create", "--keys-file", str(file)]
    made = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    return made.stdout.strip()


@pytest.fixture(scope="package")
def keys(tmp_path_factory):
    """A file of keys, and what is in it."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    limited = ["--concurrent-streams", "1", "--tokens-per-minute", "20000"]
    return file, {"plain": make_key(file, "ann"), "limited": make_key(file, "bob", *limited)}


@pytest.fixture(scope="package")
def server(keys):
    """One server for all programs, which wants keys and has a model of each kind."""
    with Server("--keys-file", str(keys[0]), "demo", f"{minilm()}=minilm") as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="package")
def key(keys):
    """The key that may do everything a user may."""
    return keys[1]["plain"]


@pytest.fixture(scope="package")
def limited_key(keys):
    """One stream at a time, and not too many tokens."""
    return keys[1]["limited"]
