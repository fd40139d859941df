"""Configurations of version 1: recognised by their keys, translated to ours, and still working.

CFG-01..03: `mlx.default_context_length` and `mlx.cache_weights` are read, three keys warn as
deprecated, and everything else is carried over where we have the setting and told of in one line
where it has no effect.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import structs

from config.check import Fault, nearest, snake
from config.invariants import is_loopback
from config.legacy_table import (
    DEPRECATED,
    GUIDE,
    MODES,
    MOVED,
    PREFIX,
    SECTIONS,
    STRATEGIES,
    TELLING,
)
from config.settings import Settings

_log = logging.getLogger(__name__)
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_OURS = {field.name: field.type for field in structs.fields(Settings)}
_SHARED = _OURS.keys() & SECTIONS.keys()


class Notice(NamedTuple):
    """One line for the user."""

    text: str
    deprecation: bool = False


class Translation(NamedTuple):
    """An old tree in our form."""

    tree: dict[str, Any]
    faults: list[Fault]
    notices: tuple[Notice, ...]
    sources: dict[str, str]  # old path by new path

    def origin(self, path: str) -> str:
        """The path that the user knows for `path`."""
        for new, old in self.sources.items():
            if path == new or path.startswith((f"{new}.", f"{new}[")):
                return f"{old} (now {path})"
        return path


def announce(notices: tuple[Notice, ...]) -> None:
    """Tell a program that embeds us: deprecations as warnings, and every notice to the log."""
    for notice in notices:
        if notice.deprecation:
            warnings.warn(notice.text, DeprecationWarning, stacklevel=3)
        _log.log(logging.WARNING if notice.deprecation else logging.INFO, "%s", notice.text)


def is_legacy(*trees: Mapping[Any, Any]) -> bool:
    """Whether a file with these parts was written for version 1."""
    return any(_tells(snake(str(key)), value) for tree in trees for key, value in tree.items())


def _tells(section: str, value: object) -> bool:
    if section == "mode":
        return value in MODES
    if section not in SECTIONS or not isinstance(value, dict):
        return False
    keys = {snake(str(key)) for key in value}
    return bool(keys & TELLING[section]) if section in TELLING else True


def normal(tree: object) -> Any:  # noqa: ANN401
    """`tree` with all keys in snake_case and without nulls."""
    if isinstance(tree, list):
        return [normal(entry) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    return {snake(str(key)): normal(value) for key, value in tree.items() if value is not None}


def from_environ(environ: Mapping[str, str]) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    """What version 1's own environment variables set."""
    level = environ.get("KR_MLX_LOG_LEVEL", "").lower()
    level = {"warn": "warning"}.get(level, level)
    if level not in ("debug", "info", "warning", "error"):
        return {}, ()
    text = "KR_MLX_LOG_LEVEL is deprecated in v1.2.0+; set MLX_SERVING_LOGGING__LEVEL. " + GUIDE
    return {"logging": {"level": level}}, (_deprecated(text),)


def translate(old: dict[str, Any], environ: Mapping[str, str]) -> Translation:
    """An old tree (as from `normal`) in our form; sections of ours in it are kept."""
    ours, old = _split(old)
    notices = list(_deprecations(old))
    old = _without_disabled(_expanded(old, environ, notices))
    faults = list(_bad_choices(old))
    moved, sources = _moved(old, notices)
    notices += _leftovers(old)
    for section, value in ours.items():
        both = isinstance(value, dict) and isinstance(moved.get(section), dict)
        moved[section] = moved[section] | value if both else value
    return Translation(moved, faults, tuple(notices), sources)


def _deprecated(text: str) -> Notice:
    return Notice(f"{PREFIX} DEPRECATION WARNING: {text}", deprecation=True)


def _split(tree: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is ours and what is old; a section that both know is parted key by key."""
    ours = {key: value for key, value in tree.items() if key in _OURS and key not in _SHARED}
    old = {key: value for key, value in tree.items() if key not in ours}
    for section in _SHARED & old.keys():
        if isinstance(old[section], dict):
            known = {field.name for field in structs.fields(_OURS[section])} - {"level"}
            new = {key: value for key, value in old[section].items() if key in known}
            old[section] = {key: old[section][key] for key in old[section].keys() - known}
            ours |= {section: new} if new else {}
    return ours, old


def _deprecations(old: dict[str, Any]) -> Iterator[Notice]:
    for path in ("mlx.concurrency_limit", "mlx.force_metal_sync"):
        if _take(old, path) is not None:
            yield _deprecated(DEPRECATED[path])
    limiter = old.pop("model_concurrency_limiter", None)
    if isinstance(limiter, dict) and limiter.get("enabled") is True:
        yield _deprecated(DEPRECATED["model_concurrency_limiter"])
    if _take(old, "mlx.cache_weights") is False:
        yield Notice(f"{PREFIX} mlx.cache_weights: false has no effect; weights stay in memory.")


def _expanded(tree: Any, environ: Mapping[str, str], notices: list[Notice]) -> Any:  # noqa: ANN401
    """`tree` with `${NAME}` replaced from the environment."""
    if isinstance(tree, dict):
        return {key: _expanded(value, environ, notices) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_expanded(value, environ, notices) for value in tree]
    if not isinstance(tree, str):
        return tree
    notices += [
        Notice(f"{PREFIX} ${{{name}}} is not set; an empty text is used.")
        for name in _VARIABLE.findall(tree)
        if name not in environ
    ]
    return _VARIABLE.sub(lambda match: environ.get(match[1], ""), tree)


def _without_disabled(tree: dict[str, Any], section: str = "") -> dict[str, Any]:
    """`tree` without the sections that say `enabled: false`; there is nothing to tell of them."""
    kept = {}
    for key, value in tree.items():
        if not isinstance(value, dict):
            kept[key] = value
        elif value.get("enabled") is not False:
            kept[key] = _without_disabled(value, key)
        elif key == "generation_warmup":
            kept[key] = {"enabled": False}
    return kept


def _bad_choices(old: dict[str, Any]) -> Iterator[Fault]:
    for path, known in (("load_balancing.strategy", STRATEGIES), ("mode", MODES)):
        value = _peek(old, path)
        if value is not None and value not in known:
            guess = nearest(str(value), known)
            hint = f"; did you mean {guess}?" if guess else ""
            yield Fault(path, f"expected one of {', '.join(known)}, got {value!r}{hint}")


def _moved(old: dict[str, Any], notices: list[Notice]) -> tuple[dict[str, Any], dict[str, str]]:
    """Our tree, and the old path of each value in it; what was moved is taken out of `old`."""
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, target, convert, combine in MOVED:
        value = _take(old, source)
        if value is None or value == []:
            continue
        if target == "server.host" and isinstance(value, str) and not is_loopback(value):
            notices.append(_not_loopback(source, value))
            continue
        section, _, key = target.rpartition(".")
        place = tree.setdefault(section, {}) if section else tree
        value = convert(value)
        place[key] = combine(place[key], value) if key in place else value
        sources[target] = f"{sources[target]}, {source}" if target in sources else source
    return tree, sources


def _not_loopback(path: str, host: str) -> Notice:
    return Notice(
        f"{PREFIX} {path}: {host} has no effect: without API keys (auth.keys_file) the "
        "server listens on loopback only."
    )


def _leftovers(old: dict[str, Any]) -> Iterator[Notice]:
    """One line for each reason why something has no effect."""
    by_reason: dict[str, list[str]] = {}
    for section, value in old.items():
        if paths := list(_paths(value, section)):
            by_reason.setdefault(SECTIONS.get(section) or _unknown(section), []).extend(paths)
    for reason, paths in by_reason.items():
        yield Notice(f"{PREFIX} No effect {reason}: {', '.join(paths)}.")


def _unknown(section: str) -> str:
    guess = nearest(section, _OURS)
    return f"(unknown; did you mean {guess}?)" if guess else "(unknown)"


def _paths(tree: object, path: str) -> Iterator[str]:
    """What is left below `path`, as few paths as say it truly."""
    if not isinstance(tree, dict):
        yield path
    elif any(moved.source.startswith(f"{path}.") for moved in MOVED):
        for key, value in tree.items():
            if key != "enabled":
                yield from _paths(value, f"{path}.{key}")
    elif tree:
        yield path


def _peek(tree: Any, path: str) -> Any:  # noqa: ANN401
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _take(tree: dict[str, Any], path: str) -> Any:  # noqa: ANN401
    parent, _, key = path.rpartition(".")
    place = _peek(tree, parent) if parent else tree
    return place.pop(key, None) if isinstance(place, dict) else None
