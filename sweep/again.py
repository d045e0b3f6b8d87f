"""The command line that trains a run again: the presets nearest to its configuration, and what differs from them."""

import contextlib
import functools
import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

import hydra
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from fire import fields
from fire.errors import InputError, require
from sweep.commands.hydra_errors import input_errors
from sweep.compose import CONF, load, presets
from sweep.config import RunConfig
from sweep.overrides import as_typed

FOUND = ("root", "fingerprint", "weights_fingerprint")  # where files lie, and digests of their contents


class Files(NamedTuple):
    """What a record says of files: the classes and the fingerprint of the images, the fingerprint of the weights.

    The files themselves are not read: they may have moved, and the record may be a stranger's.
    """

    classes: int
    images: str
    weights: str


def command_of(overrides: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that trains a configuration again with these seeds, for a shell. overrides: see `overrides_of`."""
    multirun = ["-m"] if len(seeds) > 1 else []
    words = [*multirun, *overrides, f"seed={','.join(map(str, seeds))}", "results_dir=again"]
    return f"python -m sweep {shlex.join(words)}"


def overrides_of(config: RunConfig, *, check: bool = True) -> list[str]:
    """The command line of this configuration, without seed: the presets nearest to it, and what differs from them.

    check: compose it, which takes a tenth of a second, and compare the keys.

    Raises InputError if no command line of this version leads to it.
    """
    found = Files(config.data.classes, config.data.fingerprint, config.train.weights_fingerprint)
    data = (f"data={config.data.name}", *([_override("data.root", config.data.root)] if config.data.root else []))
    chosen = list(data)
    for part in ("arch", "train", *(["compress"] if config.is_compressed else [])):
        chosen += _nearest(part, getattr(config, part), data, found)
    recipe = next(word for word in chosen if word.startswith("train="))
    # Last, since train=paper sets data.resize.
    chosen += _differences("data", _composed((*data, recipe), found).data, config.data)
    if check and _composed((*chosen, f"seed={config.seed}"), found).key != config.key:
        raise InputError(f"the run must be one that this version can train again, got {config.key}")
    return chosen


@functools.lru_cache(maxsize=256)  # runs share recipes
def _nearest(part: str, spec: Any, data: tuple[str, ...], found: Files) -> list[str]:
    """The preset that differs least from the specification, and how; nothing if there is none of its class."""
    alike = {name: preset for name, preset in _presets(part, data, found).items() if type(preset) is type(spec)}
    if not alike:
        return []
    name, preset = min(alike.items(), key=lambda option: len(_differing(option[1], spec)))
    return [f"{part}={name}", *_differences(part, preset, spec)]


@functools.cache
def _presets(part: str, data: tuple[str, ...], found: Files) -> dict[str, Any]:
    """The presets of a part of conf/ on this data, by name, without those that do not go with it.

    Hydra composes them side by side, below +presets, which takes a quarter of the time of one after another.
    """
    names = sorted(path.stem for path in (CONF / part).glob("*.yaml"))
    cfg = _compose((*data, *(f"+{part}@presets.{name}={name}" for name in names)))
    preset_of = cfg.pop("presets")
    known = {}
    for name in names:
        preset = preset_of[name]
        cfg[part] = preset.get(part, preset)  # one that also sets another part has this one below its name
        with contextlib.suppress(InputError):
            known[name] = getattr(_loaded(cfg, found), part)
    return known


@functools.lru_cache(maxsize=256)
def _composed(overrides: tuple[str, ...], found: Files) -> RunConfig:
    """The run of a command line. Raises InputError where there is none."""
    return _loaded(_compose(overrides), found)


def _compose(overrides: tuple[str, ...]) -> DictConfig:
    with input_errors(), presets():
        cfg = hydra.compose("config", overrides=list(overrides))
    OmegaConf.set_struct(cfg, False)  # so that parts of it can be exchanged
    return cfg


def _loaded(cfg: DictConfig, found: Files) -> RunConfig:
    return load(cfg, lambda root, data_dir: (found.classes, found.images), lambda path: found.weights)


def _differing(preset: Any, spec: Any) -> list[str]:
    """The settings that this choice of the others reads and that the preset has otherwise."""
    settings = fields.settings_of(spec.__class__).items()
    return [
        name
        for name, setting in settings
        if name not in FOUND and getattr(spec, name) != getattr(preset, name) and setting.when(spec)
    ]


def _differences(part: str, preset: Any, spec: Any) -> list[str]:
    """The overrides that turn the preset into the specification."""
    return [_override(f"{part}.{name}", getattr(spec, name)) for name in _differing(preset, spec)]


@functools.lru_cache(maxsize=4096, typed=True)  # Hydra takes a millisecond to read one; true is not 1
def _override(key: str, value: object) -> str:
    """The override that sets the value, as Hydra's grammar reads it. Raises SpecError for what Hydra would replace."""
    require("${" not in str(value), key, "a text without ${", value)
    if value is None or isinstance(value, bool):
        return f"{key}={'null' if value is None else str(value).lower()}"
    if not isinstance(value, str) or re.fullmatch(r"[\w./+-]+", value):
        return as_typed(f"{key}={value}")
    return f"{key}={QuotedString(text=value, quote=Quote.single).with_quotes()}"
