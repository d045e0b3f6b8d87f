"""Overrides as text, before Hydra composes with them. No torch."""

import dataclasses
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.cost import COSTS
from fire.data.spec import DataSpec
from fire.fields import settings_of
from fire.train.spec import TrainSpec
from sweep.config import DIGITS, Options, in_home
from sweep.search.budget import WITH_UNIT, amount

SPECS: list[tuple[str, Any]] = [("", Options), ("data.", DataSpec), ("train.", TrainSpec), ("compress.", CompressSpec)]
SPECS += [("arch.", family) for family in FAMILIES.values()]
PATHS = {part + name for part, spec in SPECS for name, found in settings_of(spec).items() if found.place}
TEXTS = {part + field.name for part, spec in SPECS for field in dataclasses.fields(spec) if "str" in str(field.type)}
BOUNDS = {f"search.at_most.{name}": name for name in COSTS}
UNQUOTED = re.compile(r"[^\s'\"\\\[\]{}(),$]+")


def as_typed(argument: str) -> str:
    """An argument of the command line whose value, if it is of a field of text, is read as the text that was typed.

    Hydra would read results_dir=1e3 as a number, and make "1000.0" of it. ~ in a path is the home folder, and a bound
    with a unit is its number. + and ++ before one of our keys are taken off, as all keys exist. Raises SpecError for a
    unit that does not exist.
    """
    if not argument.lstrip("+").startswith("hydra"):
        argument = argument.lstrip("+")
    key, equals, value = argument.partition("=")
    if key in BOUNDS and WITH_UNIT.fullmatch(value):
        return f"{key}={amount(BOUNDS[key], value, key):.15g}"
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
