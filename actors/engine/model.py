"""Loads a model and finds out what must be known to serve it. Runs on the engine's own thread."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from msgspec import Struct
from tokenizers import Tokenizer

from actors.engine.adapter import head_shapes, is_cuttable, quantisation_group
from actors.engine.cache_cost import CacheCost, measured
from actors.engine.damage import loading
from actors.engine.kv.precision import HeadShape, Precision
from actors.engine.parity import Batching, Sample, check_batching, check_groups
from config.errors import ModelLoadFailed
from transport.messages.topology import ModelCard

_WRONG: dict[str, str] = {
    "prefill_alone": "batches of unequal prompts, so they are read one by one",
    "serial": "batches, so its requests are answered one by one",
}
Report = Callable[[str, float | None], None]
_FALLBACK_CONTEXT_TOKENS = 4096
log = logging.getLogger(__name__)


class LoadedModel(Struct, frozen=True):
    """A model in memory, its card, and what its caches cost and allow.

    `shapes` is by layer, and empty where caches cannot be cut. `grouped`: attention by groups of
    rows works. Caches may be quantised to `quantised_bits`, in groups of `group_size`.
    """

    model: Any
    card: ModelCard
    batching: Batching
    cost: CacheCost
    shapes: list[HeadShape] = []
    grouped: bool = False
    group_size: int = 0
    quantised_bits: list[int] = []


def load(folder: Path, name: str, max_context: int | None, report: Report) -> LoadedModel:
    """Load the weights and check how the model may be batched.

    Raises:
        ModelLoadFailed: damaged or missing files, or an architecture that mlx-lm does not know.
    """
    report("loading weights", None)
    model, config = _read(folder)
    text = config.get("text_config") or {}
    vocab_size = int(config.get("vocab_size") or text.get("vocab_size") or _vocab_size(model))
    report("checking that batches compute right", None)
    sample = Sample(model, vocab_size)
    batching = check_batching(sample)
    if batching != "batch":
        log.warning("%s computes wrongly in %s", name, _WRONG[batching])
    shapes = head_shapes(model) if is_cuttable(model) else []
    grouped = batching != "serial" and check_groups(sample)
    group_size = quantisation_group(shapes) if grouped else 0
    possible = (8, 4) if group_size else ()
    bits = [bits for bits in possible if check_groups(sample, Precision(bits, group_size))]
    cost = measured(model)
    card = ModelCard(
        name=name,
        folder=str(folder),
        context_tokens=_context_tokens(config | text, max_context),
        eos_token_ids=_eos_token_ids(folder, config | text),
        vocab_size=vocab_size,
        architecture=str(config.get("model_type", "unknown")),
        batching="serial" if batching == "serial" else "batch",
        weights_bytes=sum(p.nbytes for _, p in tree_flatten(model.parameters())),
        kv_bytes_per_token=cost.first_tokens,
        created_time=int((folder / "config.json").stat().st_mtime),
    )
    return LoadedModel(model, card, batching, cost, shapes, grouped, group_size, bits)


def _read(folder: Path) -> tuple[Any, dict[str, Any]]:
    with loading(folder):
        model, config = load_model(folder, lazy=True)
        if _compute_in_float32(config):
            model.set_dtype(mx.float32)
        mx.eval(model.parameters())
    return model, config


def _compute_in_float32(config: dict[str, Any]) -> bool:
    """On a CPU, 16-bit arithmetic is many times slower than 32-bit; quantised weights stay."""
    on_cpu: bool = mx.default_device().type == mx.DeviceType.cpu
    return on_cpu and "quantization" not in config and "quantization_config" not in config


def _vocab_size(model: Any) -> int:  # noqa: ANN401
    return int(model(mx.array([[0]])).shape[-1])


def _context_tokens(config: dict[str, Any], limit: int | None) -> int:
    own = int(config.get("max_position_embeddings") or _FALLBACK_CONTEXT_TOKENS)
    return min(own, limit) if limit else own


def _eos_token_ids(folder: Path, config: dict[str, Any]) -> list[int]:
    """What the model's configuration names, and what the tokenizer does: they differ at times."""
    found = _ids(config.get("eos_token_id"))
    path = folder / "tokenizer_config.json"
    if path.is_file():
        found |= _ids(_tokenizer_eos(folder, path))
    return sorted(found)


def _tokenizer_eos(folder: Path, path: Path) -> int | None:
    try:
        token = json.loads(path.read_text("utf-8")).get("eos_token")
        name = token.get("content") if isinstance(token, dict) else token
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return None if name is None else tokenizer.token_to_id(str(name))
    except Exception as error:  # tokenizers raises plain Exception
        text = f"model in {folder.name}: tokenizer: {error}"
        raise ModelLoadFailed(text, fault="tokenizer") from error


def _ids(value: object) -> set[int]:
    if isinstance(value, int):
        return {value}
    return {v for v in value if isinstance(v, int)} if isinstance(value, list) else set()
