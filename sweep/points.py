"""From override strings to points: configurations with their keys and costs, before anything trains. No torch."""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.table import Table

from fire.cost import KIB, Cost
from fire.errors import InputError, require
from fire.fields import read, settings_of
from fire.weights import formats
from fire.weights.formats import WeightsFile
from sweep.commands.hydra_errors import in_our_words, input_errors
from sweep.compose import OPTIONS, describe_folder, load, options_of, with_values
from sweep.config import PARTS, Options, RunConfig
from sweep.labels import short_names

# What says only where and how fast to run, and so does not tell sweeps apart.
EXECUTION = {"data.root", *OPTIONS}
OF_SWEEPS = ("workers", "runs_per_gpu", "timeout")  # options that a run by itself does not read
# What overrides must be that refuse() refuses.
IN_A_SEARCH = "set in a search (experiment=search, or -m with hydra/sweeper=search)"
IN_A_SWEEP = "set in a sweep (-m, or an experiment of several points)"
BY_GROUP = "chosen with compress=METHOD, which has its settings"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run to be, and the overrides that lead to it from the sweep's configuration."""

    overrides: tuple[str, ...]
    config: RunConfig

    @property
    def key(self) -> str:
        """The run's key."""
        return self.config.key

    @property
    def cost(self) -> Cost:
        """The cost of its network."""
        return self.config.cost

    @property
    def uncompressed(self) -> "Point":
        """The run whose network this one compresses."""
        others = [text for text in self.overrides if re.split(r"[.=]", text)[0] != "compress"]
        return Point(overrides=(*others, "compress.method=none"), config=self.config.uncompressed)

    @property
    def work(self) -> int:
        """Multiply-accumulates of the forward passes in training, to compare how long points take."""
        compress = self.config.compress
        epochs = compress.epochs + compress.final_epochs if self.config.is_compressed else self.config.train.epochs
        return self.cost.macs * epochs


def labels(points: Sequence[Point]) -> dict[str, str]:
    """A short name for each key: the overrides in which the points differ, arch.sr=0.25 as sr=0.25."""
    telling = [
        [override for override in point.overrides if override.partition("=")[0] not in (*EXECUTION, "experiment")]
        for point in points
    ]
    common = set.intersection(*map(set, telling)) if len(points) > 1 else set()
    settings = [
        {key: value or repr(value) for key, _, value in (text.partition("=") for text in texts if text not in common)}
        for texts in telling
    ]
    return {point.key: name or point.key for point, name in zip(points, short_names(settings), strict=True)}


def refuse(overrides: Iterable[str], keys: Collection[str], rule: str) -> None:
    """Raise SpecError for overrides of these keys or groups: here they would do nothing, or something else."""
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        require(key not in keys and key.partition(".")[0] not in keys, key, rule, override)


def refuse_unread(overrides: Iterable[str], configs: Sequence[RunConfig]) -> None:
    """Raise SpecError for settings that none of the runs reads, such as train.muon_lr of train.optimizer=sgd."""
    known = sorted({name for config in configs for name in read(config.compress)} - {"method"})
    methods = " or ".join(sorted({config.compress.method for config in configs}))
    rules = {"compress": f"a setting that compress={methods} reads ({', '.join(known) or 'no setting'})"}
    specs = {part: {getattr(config, part) for config in configs} for part in PARTS}
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key == "data.classes" and value.isdecimal():  # those of an image folder are counted
            counted = {config.data.classes for config in configs}
            require(int(value) in counted, key, " or ".join(map(str, sorted(counted))), int(value))
        part, _, name = key.partition(".")
        settings = [(settings_of(spec.__class__).get(name), spec) for spec in specs.get(part, ()) if name]
        is_read = not settings or any(found is None or found.when(spec) for found, spec in settings)
        rule = rules.get(part, "a setting that one of the runs reads; here it changes nothing")
        require(is_read, f"{part}.{name}", rule, override)


def check_weights(config: RunConfig, describe: Callable[[Path], WeightsFile] = formats.describe) -> list[str]:
    """What the user should know of the file of weights that the run starts from; nothing if there is none.

    Raises InputError if the file is no whole file of weights, or does not fit the network or its inputs.
    """
    if not config.train.weights:
        return []
    try:
        about = describe(Path(config.train.weights))
    except InputError as error:
        raise InputError(f"train.{error}") from error
    formats.require_fit(about, config.arch, config.data.channels, config.train.inputs)
    return formats.remarks(about, config.arch)


@dataclass(frozen=True)
class _Base:
    """One composition of config groups.

    config: None if it is not valid without overrides, or if an interpolation in it is more than a key, such as a
    resolver. referred: the keys that interpolations in it use.
    """

    cfg: DictConfig
    config: RunConfig | None
    referred: frozenset[str]


class Planner:
    """Composes points on top of a sweep's configuration.

    Hydra takes 35 to 90 ms to compose a configuration. Here it composes one for each choice of groups. An override of
    a plain value then only replaces a field of the typed configuration, in a fraction of a millisecond; other ones are
    applied to a copy, as Hydra itself does it, in about ten.
    """

    def __init__(self, loader: ConfigLoader, sweep: DictConfig) -> None:
        self._loader = loader
        self._sweep = sweep
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._groups: dict[str, bool] = {}  # whether the key is a group's; Hydra takes 20 ms to tell
        self._describe = functools.cache(describe_folder)  # many points share a folder, which may be large
        parser = OverridesParser.create(config_loader=loader)
        self._parse = functools.cache(parser.parse_override)  # a grid has few different overrides

    def point(self, overrides: list[str]) -> Point:
        """The point of these overrides. Raises InputError if it is not valid."""
        base, values = self._parsed(overrides)
        with in_our_words():
            point = Point(overrides=tuple(overrides), config=self._config(base, values))
            _ = point.cost  # for which the images may be too small
            return point

    def options(self, overrides: list[str]) -> Options:
        """Where and how fast to run, as these overrides have it. Raises InputError where they are not valid."""
        return options_of(_changed(*self._parsed(overrides)))

    def grid(self, combinations: Sequence[list[str]]) -> list[Point]:
        """The points of a sweep. Raises InputError for one that is not valid, behind what varies if that matters."""
        common = set.intersection(*map(set, combinations))
        points = []
        for overrides in combinations:
            try:
                points.append(self.point(overrides))
            except InputError as error:
                if str(error) == self._wrong([override for override in overrides if override in common]):
                    raise
                telling = [override for override in overrides if override not in common]
                raise InputError(f"{' '.join(telling)}: {error}") from error
        return points

    def _wrong(self, overrides: list[str]) -> str:
        """What is wrong with the point of these overrides; empty if it is valid."""
        try:
            self.point(overrides)
        except InputError as error:
            return str(error)
        return ""

    def composed(self, overrides: list[str]) -> DictConfig:
        """What Hydra itself composes of these overrides. Raises InputError where it cannot."""
        with input_errors():
            return self._loader.load_sweep_config(self._sweep, overrides)

    def _parsed(self, overrides: list[str]) -> tuple[_Base, dict[str, Any]]:
        """The choice of groups, and the values that are set on top of it."""
        with input_errors():
            parsed = [self._parse(override) for override in overrides]
            values = {o.key_or_group: _plain(o.value()) for o in parsed if self._is_value(o)}
            others = tuple(o.input_line or "" for o in parsed if not self._is_value(o))
        return self._base(others), values

    def _config(self, base: _Base, values: dict[str, Any]) -> RunConfig:
        referred = any(f"{key}.".startswith(f"{name}.") for name in base.referred for key in values)
        if base.config is not None and not referred:
            changed = with_values(base.config, values)
            if changed is not None:
                return changed
        return load(_changed(base, values), self._describe)

    def _base(self, others: tuple[str, ...]) -> _Base:
        if others not in self._bases:
            cfg = self.composed(list(others))
            with open_dict(cfg):
                del cfg["hydra"]
            try:
                config = load(cfg, self._describe)
            except InputError:
                config = None
            text = OmegaConf.to_yaml(cfg)
            referred = re.findall(r"\$\{(\w[\w.]*)\}", text)
            if len(referred) < text.count("${"):
                config = None
            self._bases[others] = _Base(cfg, config, frozenset(referred))
        return self._bases[others]

    def _is_value(self, override: Override) -> bool:
        """Whether it sets an existing value, rather than choosing from a group, adding or deleting.

        Not of data_dir, where the index of a folder of images is kept that the groups may name.
        """
        plain = not (override.is_add() or override.is_delete() or override.is_sweep_override())
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return plain and not self._groups[key] and key != "data_dir"


def _changed(base: _Base, values: Mapping[str, Any]) -> DictConfig:
    cfg = base.cfg.copy()
    for key, value in values.items():
        OmegaConf.update(cfg, key, value, merge=True)
    return cfg


def _plain(value: Any) -> Any:
    # Quoted strings keep their quotes in an object of Hydra's grammar.
    return value.text if hasattr(value, "text") and hasattr(value, "quote") else value


def dry_run_table(
    points: Sequence[Point], states: Mapping[str, str], first: Sequence[Point] = (), note: str = ""
) -> Table:
    """The points with their costs: macs and activations per image, sizes of fp32 parameters, RAM and flash in int8.

    states: by keys; points without one are to do. first: what is trained before, for points to start from.
    note: what the title adds about the points.
    """
    noun = "point" if len(points) == 1 else "points"
    before = f" after {len(first)} to start from" if first else ""
    table = Table(title=f"{len(points)} {noun}{before}{note}; nothing is trained")
    table.add_column("point", overflow="fold", min_width=12)
    table.add_column("key")
    for name in ("parameters", "MMACs", "activations", "MiB", "RAM, KiB", "flash, KiB"):
        table.add_column(name, justify="right")
    table.add_column("state")
    names = labels([*first, *points])
    for point in [*first, *points]:
        cost = point.cost
        table.add_row(
            names[point.key],
            point.key,
            f"{cost.parameters:,}",
            f"{cost.macs / 1e6:,.1f}",
            f"{cost.activations:,}",
            f"{cost.size_mib:.3f}",
            f"{cost.peak_ram_bytes / KIB:,.1f}",
            f"{cost.flash_bytes / KIB:,.1f}",
            states.get(point.key, "to do"),
        )
    return table
