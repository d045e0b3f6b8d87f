"""Overrides as text, before Hydra reads them, and as values, without Hydra. No torch."""

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.data.spec import DataSpec
from fire.train.spec import TrainSpec
from sweep.config import DIGITS, PARTS, RunConfig, RunOptions, in_home, in_part, schema_of

PATHS = ("results_dir", "data_dir", "data.root", "train.weights")
SPECS = [("", RunOptions), ("data.", DataSpec), ("train.", TrainSpec), ("compress.", CompressSpec)]
SPECS += [("arch.", family) for family in FAMILIES.values()]
TEXTS = {part + field.name for part, spec in SPECS for field in dataclasses.fields(spec) if "str" in str(field.type)}
UNQUOTED = re.compile(r"[^\s'\"\\\[\]{}(),$]+")


def as_typed(argument: str) -> str:
    """An argument of the command line whose value, if it is of a field of text, is read as the text that was typed.

    Hydra would read results_dir=1e3 as a number, and make "1000.0" of it. ~ in a path is the home folder.
    """
    key, equals, value = argument.partition("=")
    if not equals or key not in TEXTS or value == "null" or not UNQUOTED.fullmatch(value):
        return argument
    if key in PATHS:
        value = in_home(value)
    try:
        read = OverridesParser.create().parse_override(f"{key}={value}").value()
    except (HydraException, ValueError):  # ValueError: of numbers with more digits than Python converts
        read = None
    return f"{key}={value}" if str(read) == value else f"{key}='{value}'"


def canonical(override: str) -> str:
    """An override of a list's value, its number in the form that RunConfig gives it: arch.sr=0.30000000000000004."""
    key, equals, value = override.partition("=")
    return f"{key}={float(value):.{DIGITS}g}" if equals and re.fullmatch(r"-?\d+\.\d{12,}", value) else override


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig | None:
    """The configuration with some of its fields set, such as arch.sr or seed, each to a value of its type.

    None if that takes a composed configuration: unknown keys, interpolations, values of another type, other data.
    Raises InputError where a value breaks its rule.
    """
    changes: dict[str, dict[str, Any]] = {part: {} for part in (*PARTS, "")}
    for key, value in values.items():
        part, _, name = key.rpartition(".")
        of: Any = getattr(config, part) if part in PARTS else RunOptions()
        known = part in changes and name in {field.name for field in dataclasses.fields(of)}
        if (
            not known
            or key in ("data.name", "data.root", "data.fingerprint", "train.weights", "train.weights_fingerprint")
            or "${" in str(value)
        ):
            return None
        try:
            probe = _probe(type(of))  # type: ignore[arg-type] # of a type it cannot tell to be hashable
            OmegaConf.update(probe, name, value)
            changes[part][name] = probe[name]
        except OmegaConfBaseException:
            return None
    with in_part("arch"):
        arch = replace(config.arch, **changes["arch"])
    parts = {part: replace(getattr(config, part), **changes[part]) for part in PARTS[1:] if changes[part]}
    return replace(config, arch=arch, **parts, **changes[""])


@functools.cache
def _probe(cls: type[Any]) -> DictConfig:
    """A node that converts values to the types of the class's fields."""
    return schema_of(cls)
