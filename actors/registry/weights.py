"""How much memory a model's weights will take, from its files, before it is loaded."""

import os
from pathlib import Path

WEIGHTS = "model*.safetensors"


def estimated_bytes(source: str) -> int:
    """Of the weights in a folder, or in the hub's cache on this machine; 0 when they are not here
    yet or cannot be looked at, so that nobody is refused a model because of it."""
    try:
        return max((_size(folder) for folder in folders_of(source)), default=0)
    except (OSError, RuntimeError, ValueError):  # also no home directory, no path at all
        return 0


def folders_of(source: str) -> list[Path]:
    """Where the files of a model are on this machine, as far as they are.

    Raises:
        OSError, RuntimeError, ValueError: they cannot be looked for.
    """
    folder = Path(source).expanduser()
    return [folder] if folder.is_dir() else _snapshots(source)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob(WEIGHTS))


def _snapshots(source: str) -> list[Path]:
    """Of a hub id; the layout is that of huggingface_hub, which takes long to import."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    snapshots = hub / f"models--{source.replace('/', '--')}" / "snapshots"
    return [path for path in snapshots.iterdir() if path.is_dir()]
