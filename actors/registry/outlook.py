"""What a model's folder tells of it before an engine has loaded it."""

import json
from pathlib import Path

from msgspec import Struct

from actors.engine.embedding.files import is_embedding_model
from actors.registry.weights import folders_of
from config.errors import ModelLoadFailed


class Outlook(Struct, frozen=True):
    """What there is to tell; None where the files do not say it simply."""

    context_tokens: int | None = None
    created_time: int | None = None


def outlook(source: str, max_context: int | None) -> Outlook:
    """Of a folder, or of a hub id that is in the cache of this machine."""
    try:
        found = [it for it in folders_of(source) if (it / "config.json").is_file()]
        if len(found) != 1:
            return Outlook()
        path = found[0] / "config.json"
        created_time = int(path.stat().st_mtime)
    except (OSError, RuntimeError, ValueError):  # as for weights: it is only not told
        return Outlook()
    own = None if _is_for_vectors(path.parent, source) else _positions(path)
    return Outlook(own and min(own, max_context or own), created_time)


def _is_for_vectors(folder: Path, source: str) -> bool:
    """Such models read less than their positions, by rules that their engine knows."""
    try:
        return is_embedding_model(folder, source)
    except ModelLoadFailed:
        return True


def _positions(path: Path) -> int | None:
    try:
        config = json.loads(path.read_bytes())
        own = (config | (config.get("text_config") or {})).get("max_position_embeddings")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return own if isinstance(own, int) and own > 0 else None
