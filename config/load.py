"""Settings from defaults < file < environment < command line, and every error at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from config import legacy
from config.check import Fault, check
from config.errors import ConfigError
from config.invariants import broken
from config.settings import Settings
from config.sources import Layer, from_environ, from_file, lacking, merge


class Loaded(NamedTuple):
    """The settings, and what the user should hear about where they came from."""

    settings: Settings
    notices: tuple[legacy.Notice, ...] = ()


def load_settings(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Settings:
    """The settings for a program that embeds us; old keys warn through `warnings` and the log.

    Raises:
        ConfigError: as `read_settings`.
    """
    loaded = read_settings(file, environ=environ, overrides=overrides, strict=strict)
    legacy.announce(loaded.notices)
    return loaded.settings


def read_settings(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Loaded:
    """The settings with what to tell the user about them; says nothing itself.

    `overrides` is a nested mapping, as from a command line. `strict` makes errors of notices.

    Raises:
        ConfigError: its message lists every fault of every source, each with its path.
    """
    outer = from_environ(environ)
    layers = [from_file(file, environ), outer, _from_overrides(overrides)]
    faults = [fault for layer in layers for fault in layer.faults]
    notices = tuple(notice for layer in layers for notice in layer.notices)
    if strict:
        faults += [Fault("", notice.text) for notice in notices]
    _refuse(faults, file)
    tree: dict[str, Any] = {}
    for layer in layers:
        tree = merge(tree, layer.tree)
    _refuse(list(lacking(tree, outer.variables)), file)
    settings = msgspec.convert(tree, Settings)
    _refuse(broken(settings), file)
    return Loaded(settings, notices)


def _from_overrides(overrides: Mapping[str, Any] | None) -> Layer:
    faults: list[Fault] = []
    tree = check(Settings, dict(overrides or {}), "", faults)
    return Layer(tree, [Fault(f"{path} (command line)", text) for path, text in faults])


def _refuse(faults: list[Fault], file: Path | None) -> None:
    if faults:
        name = f" ({file.name})" if file else ""
        lines = "".join(f"\n  {fault}" for fault in faults)
        raise ConfigError(f"Configuration is not valid{name}:{lines}")
