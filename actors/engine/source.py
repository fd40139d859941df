"""From a model's name to a folder with its files: a local folder, or a download from the hub."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from tqdm import tqdm

from actors.engine.damage import first_line
from config.errors import ModelLoadFailed

Report = Callable[[str, float | None], None]

WANTED = ("*.json", "model*.safetensors", "*.jinja", "*.model", "*.txt")
REPORT_S = 1.0
REQUIRED = ("config.json", "tokenizer.json")


def locate(source: str, report: Report) -> Path:
    """The folder of a model; downloads it when `source` is a hub id that is not here yet.

    `report` is told the stage and the share done.

    Raises:
        ModelLoadFailed: no such folder or hub id, or the folder misses a file.
    """
    path = Path(source).expanduser()
    folder = path.resolve() if path.is_dir() else _from_hub(source, report)
    for name in REQUIRED:
        if not (folder / name).is_file():
            text = f"model {source}: the folder has no {name}"
            raise ModelLoadFailed(text, fault="missing")
    if not any(folder.glob("model*.safetensors")):
        text = f"model {source}: the folder has no model*.safetensors"
        raise ModelLoadFailed(text, fault="missing")
    return folder


def _from_hub(source: str, report: Report) -> Path:
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ModelLoadFailed(
            f"model {source}: no such folder; name 'demo', a local folder or a hub id such "
            "as mlx-community/Qwen3-4B-4bit",
            fault="missing",
        )
    try:
        return _download(source, report)
    except ModelLoadFailed:
        raise
    except Exception as error:  # the hub's client lets its HTTP library's errors through
        return _cached(source, error)


def _download(source: str, report: Report) -> Path:
    report(f"looking up {source}", None)
    info = HfApi().model_info(source, files_metadata=True, timeout=30)
    files = [f for f in info.siblings or [] if any(Path(f.rfilename).match(w) for w in WANTED)]
    total = sum(f.size or 0 for f in files) or 1
    done = 0
    folder = None
    for number, file in enumerate(files, 1):
        stage = f"downloading {source}: file {number} of {len(files)}"
        report(stage, done / total)
        meter = _meter(report, stage, done, total)
        path = hf_hub_download(source, file.rfilename, revision=info.sha, tqdm_class=meter)
        if "/" not in file.rfilename:
            folder = Path(path).parent
        done += file.size or 0
    if folder is None:
        text = f"model {source}: the hub has no usable files for it"
        raise ModelLoadFailed(text, fault="hub")
    return folder


def _meter(report: Report, stage: str, done: int, total: int) -> type[Any]:
    """A progress bar that draws nothing and reports the share of all bytes, at most each second."""

    class Meter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            super().__init__(*args, **kwargs | {"disable": True})
            self._bytes = 0.0
            self._told_at = time.monotonic()

        def update(self, n: float | None = 1) -> bool | None:
            self._bytes += n or 0
            if time.monotonic() - self._told_at >= REPORT_S:
                self._told_at = time.monotonic()
                report(stage, min(1.0, (done + self._bytes) / total))
            return None

    return Meter


def _cached(source: str, cause: Exception) -> Path:
    """What an earlier download left, when the hub cannot be asked."""
    try:
        return Path(snapshot_download(source, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        text = f"model {source}: cannot be downloaded: {first_line(cause)}"
        raise ModelLoadFailed(text, fault="hub") from cause
