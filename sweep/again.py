"""The command line that trains a run again: the presets nearest to its configuration, and what differs from them."""

import contextlib
import functools
import re
import shlex
from typing import Any

import hydra

from fire import fields
from fire.errors import InputError
from sweep.compose import CONF, load, presets
from sweep.config import RunConfig

FOUND = ("root", "fingerprint", "weights_fingerprint")  # where files lie, and digests of their contents
Folder = tuple[int, str]  # the classes and the fingerprint of an image folder


def command_of(config: RunConfig, *, check: bool = True) -> str:
    """The command that trains the run again, for a shell. Raises InputError as `overrides_of` does."""
    words = [*overrides_of(config, check=check), f"seed={config.seed}", "results_dir=again"]
    return f"python -m sweep {shlex.join(words)}"


def overrides_of(config: RunConfig, *, check: bool = True) -> list[str]:
    """The command line of this configuration, without seed: the presets nearest to it, and what differs from them.

    check: compose it, which takes a tenth of a second, and compare the keys.

    Raises InputError if no command line of this version leads to it.
    """
    folder = (config.data.classes, config.data.fingerprint)
    data = (f"data={config.data.name}", *([f"data.root={config.data.root}"] if config.data.root else []))
    chosen = list(data)
    for part in ("arch", "train", *(["compress"] if config.is_compressed else [])):
        chosen += _nearest(part, getattr(config, part), data, folder)
    recipe = next(word for word in chosen if word.startswith("train="))
    # Last, since train=paper sets data.resize.
    chosen += _differences("data", _composed((*data, recipe), folder).data, config.data)
    if check and _composed((*chosen, f"seed={config.seed}"), folder).key != config.key:
        raise InputError(f"the run must be one that this version can train again, got {config.key}")
    return chosen


@functools.lru_cache(maxsize=256)  # runs share recipes
def _nearest(part: str, spec: Any, data: tuple[str, ...], folder: Folder) -> list[str]:
    """The preset that differs least from the specification, and how; nothing if there is none of its class."""
    options = [
        [f"{part}={name}", *_differences(part, preset, spec)]
        for name, preset in _presets(part, data, folder).items()
        if type(preset) is type(spec)
    ]
    return min(options, key=len, default=[])


@functools.cache
def _presets(part: str, data: tuple[str, ...], folder: Folder) -> dict[str, Any]:
    """The presets of a part of conf/ on this data, by name, without those that do not go with it."""
    found = {}
    for path in sorted((CONF / part).glob("*.yaml")):
        with contextlib.suppress(InputError):
            found[path.stem] = getattr(_composed((*data, f"{part}={path.stem}"), folder), part)
    return found


@functools.lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...], folder: Folder) -> RunConfig:
    """The run of a command line."""
    with presets():
        return load(hydra.compose("config", overrides=list(overrides)), describe=lambda root, data_dir: folder)


def _differences(part: str, preset: Any, spec: Any) -> list[str]:
    """The settings that this choice of the others reads and that the preset has otherwise."""
    settings = fields.settings_of(spec.__class__)
    names = [name for name, setting in settings.items() if name not in FOUND and setting.when(spec)]
    pairs = [(name, getattr(spec, name)) for name in names if getattr(spec, name) != getattr(preset, name)]
    return [f"{part}.{name}={_value(value)}" for name, value in pairs]


def _value(value: object) -> str:
    """The value as Hydra's grammar reads it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    return text if re.fullmatch(r"[\w./+-]+", text) else f"'{text}'"
