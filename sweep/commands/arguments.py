"""The command line of python -m sweep: flags in any place, and overrides."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from fire.errors import InputError, require
from sweep.commands.exits import Parser
from sweep.commands.hydra_errors import REMOVED, one_line, shortened, unknown_key
from sweep.config import PARTS
from sweep.overrides import as_typed

FLAGS = """\
-m, --multirun       a list of values is a sweep, without an experiment too
--config-dir DIR     DIR/experiment/*.yaml (and DIR/arch, DIR/train, ...) are choices beside those of conf/
--cfg WHAT           print the configuration, train nothing: job (ours), hydra or all; --package KEY prints a part,
                     --resolve replaces ${...}
--version, --help"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the command line asks for. shown: a part of the configuration that is printed instead of running."""

    overrides: tuple[str, ...]
    multirun: bool = False
    help: bool = False
    version: bool = False
    shown: str | None = None
    package: str | None = None
    resolve: bool = False
    config_dir: str | None = None

    @property
    def composed(self) -> list[str]:
        """The overrides as Hydra composes them, with the user's own folder of configurations."""
        if self.config_dir is None:
            return list(self.overrides)
        path = str(Path(self.config_dir).resolve()).replace("\\", "\\\\").replace("'", "\\'")
        return [f"hydra.searchpath=['file://{path}']", *self.overrides]

    @property
    def parsed(self) -> list[Override]:
        """The overrides, parsed. Raises InputError for those that mean nothing here."""
        parser = OverridesParser.create()
        parsed = []
        for text in self.overrides:
            key, _, value = text.partition("=")
            if key in REMOVED:  # before the grammar, which may not read its value
                raise InputError(unknown_key(key, ()))
            try:
                (override,) = parser.parse_overrides([text])
            except HydraException as error:
                raise InputError(one_line(error)) from error
            except Exception as error:  # such as Python's limit to a number's digits
                raise InputError(f"{key} must be a value of Hydra's grammar, got {shortened(value)!r}") from error
            _check(override)
            parsed.append(override)
        return parsed


def parse(arguments: Sequence[str]) -> Arguments:
    """The arguments of a command line. Raises InputError for flags that do not exist, or lack their value."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"], dest="shown")
    parser.add_argument("-p", "--package")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("overrides", nargs="*")
    found, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        raise InputError(f"arguments must be KEY=VALUE or flags of --help, got {unknown[0]!r}")
    for name in ("package", "resolve"):
        value = getattr(found, name)
        require(found.shown is not None or not value, f"--{name}", "given with --cfg", value)
    if found.config_dir is not None:
        try:
            os.listdir(found.config_dir)
        except OSError as error:
            rule = f"a readable folder, got {found.config_dir!r} ({error.strerror})"
            raise InputError(f"--config-dir must be {rule}") from error
    return Arguments(**{**vars(found), "overrides": tuple(as_typed(text) for text in found.overrides)})


def _check(override: Override) -> None:
    """Raise InputError for an override that Hydra would take, and that would do nothing or something else here."""
    key, line = override.key_or_group, shortened(override.input_line or "")
    if override.is_delete() and not key.startswith("hydra"):
        raise InputError(f"arguments must be KEY=VALUE, got {line!r}")
    if key == "hydra.mode":
        raise InputError(f"hydra.mode must be left to -m and to the experiment, got {line!r}")
    if key == "experiment" and override.is_sweep_override():  # each has axes of its own, which would be left out
        raise InputError(f"experiment must be one name, one launch after another, got {line!r}")
    if key == "search":
        raise InputError(f"search must be set by its fields, search.NAME=VALUE, got {line!r}")
    if key in (*PARTS, "experiment") and not override.is_sweep_override():
        value = override.value()
        if not isinstance(value, str | dict) and not hasattr(value, "quote"):  # Hydra quotes strings in an object
            shown = "null" if value is None else line.partition("=")[2]
            raise InputError(f"{key} must be the name of one of conf/{key}/*.yaml, got {shown}")
