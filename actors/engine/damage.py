"""What libraries say of a model that they cannot load, told in one line, and sorted for clients."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx

from config.errors import ModelLoadFailed
from config.load_faults import LoadFault

_RAISED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    AttributeError,
    MemoryError,
)


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Around what reads the model in a folder into memory.

    Raises:
        ModelLoadFailed: in place of what the libraries raise.
    """
    try:
        yield
    except _RAISED as error:
        text = f"model in {folder.name}: {first_line(error)}"
        raise ModelLoadFailed(text, fault=_fault(folder, error)) from error


def first_line(error: Exception) -> str:
    """What an error says, or its name if that is nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fault(folder: Path, error: Exception) -> LoadFault:
    if isinstance(error, MemoryError) or "alloc" in str(error):
        return "memory"
    if isinstance(error.__context__, ImportError):  # of the module that is called as the kind
        return "unsupported"
    readable = all(map(_is_readable, folder.glob("model*.safetensors")))
    # Arrays are read when they are computed, and what fails then is a RuntimeError.
    return "config" if readable and not isinstance(error, RuntimeError) else "weights"


def _is_readable(file: Path) -> bool:
    try:
        mx.load(str(file))
    except (OSError, ValueError, RuntimeError):
        return False
    return True
