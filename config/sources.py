"""Where settings come from: each source as a checked, sparse tree.

`MLX_SERVING_SERVER__PORT=9000` sets server.port: section and key joined by two underscores, the
value read as YAML. `MLX_SERVING_ENV` (or NODE_ENV, PYTHON_ENV) chooses which part of the file's
`environments` is laid over the rest. `null` and an empty variable mean: not set here.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from config import legacy
from config.check import Fault, check, join, missing, nearest
from config.errors import ConfigError
from config.settings import Settings
from config.yaml_text import MAX_BYTES, parse

PREFIX = "MLX_SERVING_"
ENVIRONMENTS = ("production", "development", "test")
# Kubernetes adds these to a container when a Service is called mlx-serving.
_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_.*)?)?")


class Layer(NamedTuple):
    """What one source says."""

    tree: dict[str, Any]
    faults: list[Fault]
    notices: tuple[legacy.Notice, ...] = ()
    variables: Mapping[str, str] = {}  # by section: one that sets something in it


def merge(below: Mapping[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    """`above` laid over `below`, mappings key by key; lists are replaced as a whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merge(old, value)
        merged[key] = value
    return merged


def read_text(file: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def from_file(file: Path | None, environ: Mapping[str, str]) -> Layer:
    """The file's settings, of this version's form or of the old one's.

    Raises:
        ConfigError: it cannot be read or is not YAML.
    """
    if file is None:
        return Layer({}, [])
    tree = parse(read_text(file), file.name)
    if tree is None:
        return Layer({}, [])
    if not isinstance(tree, dict):
        return Layer({}, [Fault("", "expected a mapping of sections")])
    faults: list[Fault] = []
    base, parts = split_environments(tree, faults)
    chosen = _chosen(environ, parts, faults)
    if legacy.is_legacy(base, *parts.values()):
        layer = _legacy_layer(base, parts.get(chosen, {}), environ)
        return layer._replace(faults=faults + layer.faults)
    checked = check(Settings, base, "", faults)
    overlays = {
        name: check(Settings, part, f"environments.{name}", faults) for name, part in parts.items()
    }
    return Layer(merge(checked, overlays.get(chosen, {})), faults)


def _legacy_layer(base: object, overlay: object, environ: Mapping[str, str]) -> Layer:
    old = merge(legacy.normal(base), legacy.normal(overlay))
    translation = legacy.translate(old, environ)
    faults: list[Fault] = []
    tree = check(Settings, translation.tree, "", faults)
    faults = [Fault(translation.origin(path), message) for path, message in faults]
    return Layer(tree, translation.faults + faults, translation.notices)


def split_environments(
    tree: dict[Any, Any], faults: list[Fault]
) -> tuple[dict[Any, Any], dict[str, dict[Any, Any]]]:
    """The tree without `environments`, and its parts by name."""
    base = {key: value for key, value in tree.items() if key != "environments"}
    section = tree.get("environments") or {}
    if not isinstance(section, dict):
        faults.append(Fault("environments", f"expected a mapping of {', '.join(ENVIRONMENTS)}"))
        return base, {}
    parts = {}
    for name, part in section.items():
        if name not in ENVIRONMENTS:
            hint = f"did you mean {nearest(str(name), ENVIRONMENTS) or ' or '.join(ENVIRONMENTS)}?"
            faults.append(Fault(f"environments.{name}", f"unknown environment; {hint}"))
        elif isinstance(part, dict):
            parts[name] = part
        elif part is not None:
            faults.append(Fault(f"environments.{name}", "expected a mapping of sections"))
    return base, parts


def _chosen(environ: Mapping[str, str], parts: Mapping[str, object], faults: list[Fault]) -> str:
    ours = environ.get(f"{PREFIX}ENV")
    if parts and ours and ours not in ENVIRONMENTS:
        known = ", ".join(ENVIRONMENTS)
        faults.append(Fault(f"{PREFIX}ENV", f"expected one of {known}, got {ours!r}"))
    return ours or environ.get("NODE_ENV") or environ.get("PYTHON_ENV") or "development"


def from_environ(environ: Mapping[str, str]) -> Layer:
    """What the process environment sets."""
    tree, notices = legacy.from_environ(environ)
    faults: list[Fault] = []
    variables: dict[str, str] = {}
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name in (variable, "ENV") or _KUBERNETES.fullmatch(name):
            continue
        found = _from_variable(variable, environ[variable], faults)
        variables |= dict.fromkeys(_sections(found), variable)
        tree = merge(tree, found)
    return Layer(tree, faults, notices, variables)


def _sections(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield join(path, key)
            yield from _sections(value, join(path, key))


def lacking(tree: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Fault]:
    """What all sources together leave out, with the variable, if any, that made it necessary."""
    for path, message in missing(Settings, tree):
        variable = variables.get(path.rpartition(".")[0])
        if variable is None:
            yield Fault(path, message)
        else:
            needed = PREFIX + path.upper().replace(".", "__")
            yield Fault(variable, f"{path}: {message}; set {needed}")


def _from_variable(variable: str, text: str, faults: list[Fault]) -> dict[str, Any]:
    keys = variable.removeprefix(PREFIX).lower().split("__")
    try:
        tree: Any = parse(text, variable)
    except ConfigError as error:
        faults.append(Fault("", error.message))
        return {}
    for key in reversed(keys):
        tree = {key: tree}
    found: list[Fault] = []
    good = check(Settings, tree, "", found)
    for path, message in found:
        where = "" if path == ".".join(keys) else f"{path}: "
        faults.append(Fault(variable, where + message))
    return good
