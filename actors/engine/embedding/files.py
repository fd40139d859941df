"""What a model's folder says of its kind, and of how vectors come from tokens; no mlx.

Source: https://sbert.net/docs/sentence_transformer/usage/custom_models.html, the files that
sentence-transformers writes: modules.json, 1_Pooling/config.json, sentence_bert_config.json.
"""

import json
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from config.errors import ModelLoadFailed

Pooling = Literal["mean", "cls", "max", "lasttoken"]
# Architectures that read in both directions: they cannot generate, whatever files lie beside.
ENCODERS = frozenset({"bert", "camembert", "modernbert", "roberta", "xlm-roberta"})
_POOLINGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_ENOUGH_TOKENS = 10**9  # tokenizers without a limit of their own write 10**30


class Recipe(Struct, frozen=True):
    """How a text's vector comes from those of its tokens: pooled, through `dense` layers, each in
    a folder of its own, then brought to length 1."""

    pooling: Pooling
    normalise: bool = True
    dense: tuple[Path, ...] = ()


def is_embedding_model(folder: Path, source: str) -> bool:
    """Whether vectors are what the model is for.

    A decoder says so by the files of sentence-transformers, which conversions to mlx often leave
    out; then its name (`source` is what the user wrote) has to.

    Raises:
        ModelLoadFailed: config.json is damaged.
    """
    if (folder / "modules.json").is_file() or (folder / "1_Pooling" / "config.json").is_file():
        return True
    config = read_json(folder / "config.json")
    name = source.rstrip("/").rpartition("/")[2]
    return config.get("model_type") in ENCODERS or "embed" in name.lower()


def read_recipe(folder: Path, default: Pooling) -> Recipe:
    """What the files say; where they say nothing, `default` and vectors of length 1.

    Raises:
        ModelLoadFailed: damaged files, or a step that we do not know.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return Recipe(_pooling(folder / "1_Pooling", default))
    pooling, normalise, dense = default, False, []
    for module in _modules(path):
        kind = str(module.get("type", "")).rpartition(".")[2]
        place = folder / str(module.get("path", ""))
        match kind:
            case "Transformer" | "Dropout":
                pass
            case "Pooling":
                pooling = _pooling(place, default)
            case "Dense":
                dense.append(place)
            case "Normalize":
                normalise = True
            case _:
                text = f"model in {folder.name}: unknown step {kind} in {path.name}"
                raise ModelLoadFailed(text, fault="unsupported")
    return Recipe(pooling, normalise, tuple(dense))


def longest_input(folder: Path) -> int:
    """How many tokens the model's own files allow; its architecture may allow fewer.

    Raises:
        ModelLoadFailed: one of the files is damaged.
    """
    named = [(path, "max_seq_length") for path in sorted(folder.glob("sentence_*_config.json"))]
    named.append((folder / "tokenizer_config.json", "model_max_length"))
    limits = [read_json(path).get(key) for path, key in named if path.is_file()]
    return min([_ENOUGH_TOKENS, *(int(it) for it in limits if isinstance(it, int | float) and it)])


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        ModelLoadFailed: it is missing or damaged.
    """
    found = _parsed(path)
    if not isinstance(found, dict):
        text = f"model in {path.parent.name}: {path.name} is not an object"
        raise ModelLoadFailed(text, fault="config")
    return found


def _parsed(path: Path) -> Any:  # noqa: ANN401 - whatever JSON may hold
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        text = f"model in {path.parent.name}: {path.name}: {error}"
        raise ModelLoadFailed(text, fault="config") from error


def _modules(path: Path) -> list[dict[str, Any]]:
    found = _parsed(path)
    if not isinstance(found, list) or not all(isinstance(it, dict) for it in found):
        text = f"model in {path.parent.name}: {path.name} is no list of steps"
        raise ModelLoadFailed(text, fault="config")
    return found


def _pooling(folder: Path, default: Pooling) -> Pooling:
    path = folder / "config.json"
    if not path.is_file():
        return default
    config = read_json(path)
    asked = [key for key in config if key.startswith("pooling_mode_") and config[key] is True]
    newer = config.get("pooling_mode")  # sentence-transformers 5 writes one name in their place
    known = [_POOLINGS.get(key) for key in asked]
    if newer is not None:
        asked, known = [newer], [it for it in _POOLINGS.values() if it == newer]
    if not asked:
        return default
    if len(known) != 1 or known[0] is None or config.get("include_prompt") is False:
        text = f"pooling {', '.join(map(str, asked))} is not supported"
        raise ModelLoadFailed(f"model in {folder.parent.name}: {text}", fault="unsupported")
    return known[0]
