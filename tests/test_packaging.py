import re
from pathlib import Path

import pytest

from hatch_build import shade

ROOT = Path(__file__).parent.parent


@pytest.fixture
def shaded(tmp_path):
    def shaded(source):
        path = tmp_path / "file.py"
        path.write_text(source, "utf-8")
        shade(path)
        return path.read_text("utf-8")

    return shaded


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from config.errors import X\n", "from mlx_serving.config.errors import X\n"),
        ("from config import legacy\n", "from mlx_serving.config import legacy\n"),
        ("    from transport.codec import X\n", "    from mlx_serving.transport.codec import X\n"),
        ("from gateway.http.app import (\n", "from mlx_serving.gateway.http.app import (\n"),
    ],
)
def test_our_imports_are_rewritten(shaded, before, after):
    assert shaded(before) == after


@pytest.mark.parametrize(
    "source",
    [
        "from configparser import X\n",
        "from mlx_serving.cli import config\n",
        "import os\nfrom supervisord import X\n",
        "from actors_of_others import X\n",
        "text = 'from config'\n",
        "import configparser\n",
    ],
)
def test_everything_else_stays(shaded, source):
    assert shaded(source) == source


@pytest.mark.parametrize("source", ["import config\n", "    import transport.codec as c\n"])
def test_a_plain_import_of_ours_fails_the_build(shaded, source):
    with pytest.raises(ValueError, match="write 'from FOLDER"):
        shaded(source)


@pytest.mark.parametrize("lock", ["uv.lock", "docs/examples/uv.lock"])
def test_a_lock_names_no_index_but_pypi(lock):
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / lock).read_text("utf-8")))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_the_lock_of_node_names_no_place():
    assert "resolved" not in (ROOT / "docs/examples/package-lock.json").read_text("utf-8")
