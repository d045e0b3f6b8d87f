"""The sweeper: plans every point before any trains, skips what has finished, launches the rest, reports failures.

Unlike Hydra's basic sweeper it knows the store, so a sweep that is launched again goes on where it ended.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fire.errors import InputError, require
from sweep import origin
from sweep.arithmetic import as_begun, described, with_arithmetic
from sweep.commands.display import Display, console, damage_lines
from sweep.commands.exits import runs_begun
from sweep.commands.hydra_errors import input_errors, shortened
from sweep.commands.summary import print_summary
from sweep.config import Options
from sweep.labels import file_name
from sweep.launcher import PoolLauncher, in_order
from sweep.manifests import Sweep
from sweep.overrides import canonical
from sweep.points import (
    BY_GROUP,
    EXECUTION,
    IN_A_SEARCH,
    Planner,
    Point,
    refuse,
    refuse_unread,
)
from sweep.pool import Pool
from sweep.preparation import check, make_ready, print_dry_run, starts, unfinished
from sweep.store import Damage, Store

OF_HYDRAS_JOBS = ("chdir", "env_copy", "env_set")  # our workers run the points without them
MOST_POINTS = 100_000  # of a grid: planning them takes a minute


class StoreSweeper(Sweeper):
    """Hydra's sweeper for grids of overrides: hydra/sweeper=store."""

    config: DictConfig
    launcher: Launcher
    parser: OverridesParser
    planner: Planner

    def __init__(self, params: dict[str, Any] | None) -> None:
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over, and make the launcher. Raises InputError for settings that it would not read."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        for name in OF_HYDRAS_JOBS if isinstance(self.launcher, PoolLauncher) else ():
            value = config.hydra.job[name]
            require(not value, f"hydra.job.{name}", "left out, unless hydra/launcher is one of Hydra's own", value)
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self.planner = Planner(hydra_context.config_loader, config)

    def sweep(self, arguments: list[str]) -> None:
        """Run all points of the grid. Raises InputError before anything trains, RunsError in the end."""
        planner, launcher = self.planner, self.launcher
        refuse(arguments, ["search"], IN_A_SEARCH)
        overrides = self.overrides(arguments)
        for override in overrides:  # they make no other runs: the same ones would be counted several times
            key = override.get_key_element()
            require(not (override.is_sweep_override() and key in EXECUTION), key, "one value", override.input_line)
        grid = [[canonical(text) for text in combination] for combination in _grid(overrides)]
        points = _distinct(planner.grid(grid))
        refuse_unread([override.input_line or "" for override in overrides], [point.config for point in points])
        options = planner.options(grid[0])
        store = Store(options.results_dir)
        todo = unfinished(points, options)
        if todo:
            check(todo, options, isinstance(launcher, PoolLauncher) and launcher.is_here)
        if options.dry_run:
            print_dry_run(points, todo, store)
            return
        make_ready(points, todo, options)
        sweep = _manifest(self.config, overrides, points)
        head = f"{len(points)} runs, {len(points) - len(todo)} finished before; "
        if isinstance(launcher, PoolLauncher):
            reasons = _run(launcher, todo, options, sweep, head)
        else:  # one of Hydra's composes each run again, perhaps on another machine
            former = store.read_sweep(sweep.name)
            sweep = replace(sweep, arithmetic=None if former is None else former.arithmetic)
            console().print(head + str(store.write_sweep(sweep, anew=False)))
            reasons = {}
            with runs_begun():
                for batch in _batches(todo, store):
                    launcher.launch([list(point.overrides) for point in batch], initial_job_idx=0)
        with runs_begun():
            print_summary(points, options, reasons)

    def overrides(self, arguments: list[str]) -> list[Override]:
        """The experiment's parameters, and the arguments of the command line."""
        given = [f"{name}={value}" for name, value in self.params.items()]
        refuse(given + arguments, ["compress.method"], BY_GROUP)
        with input_errors():
            return self.parser.parse_overrides(given + arguments)


def _grid(overrides: list[Override]) -> list[list[str]]:
    """All combinations of the overrides' values; of a key that is given twice, the last counts.

    Raises InputError if there is none, or are too many.
    """
    axes = {override.get_key_element(): _choices(override) for override in overrides}
    size = math.prod(len(choices) for choices in axes.values())
    if size > MOST_POINTS:
        lines = " ".join(override.input_line or "" for override in overrides if override.is_sweep_override())
        raise InputError(
            f"the sweep must have at most {MOST_POINTS:,} points, got {size:,} or more: {shortened(lines)}"
        )
    return [list(combination) for combination in itertools.product(*axes.values())]


def _choices(override: Override) -> list[str]:
    """The override for each of its values, or for the first ones if they are more than a sweep may have."""
    key, line = override.get_key_element(), shortened(override.input_line or "")
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    require(override.is_discrete_sweep(), key, "a list or a range of values in a sweep", line)
    values = list(itertools.islice(override.sweep_string_iterator(), MOST_POINTS + 1))
    require(bool(values), key, "a list of at least one value", line)
    return [f"{key}={value}" for value in values]


def _run(launcher: PoolLauncher, todo: list[Point], options: Options, sweep: Sweep, head: str) -> dict[str, str]:
    """Write the manifest, with the arithmetic of all runs, and run the points.

    head: what is printed before the manifest's path. Returns why runs left no record, by their keys.
    """
    store = Store(options.results_dir)
    damaged: list[Damage] = []
    former = store.read_sweep(sweep.name, damaged.append)
    for line in damage_lines(damaged):
        console().print(line)
    options = as_begun(options, former)
    with closing(launcher.engine(options, len(todo))) if todo else nullcontext() as engine:
        former = store.read_sweep(sweep.name) or former  # another launch may have begun while this one waited
        if engine is not None or launcher.is_here:
            arithmetic = launcher.arithmetic(engine, options, former)
            sweep = replace(sweep, arithmetic=arithmetic)
            options = with_arithmetic(options, arithmetic)
            if todo:
                recipes = [point.config.train for point in todo]
                console().print(f"computed in {described(arithmetic, options, recipes)}")
        elif former is not None:
            sweep = replace(sweep, arithmetic=former.arithmetic)
        console().print(head + str(store.write_sweep(sweep, anew=False)))
        if engine is not None:
            runs = [*todo, *starts(todo, store)]
            with runs_begun(), Display(runs, options) as display:
                Pool(engine, in_order(runs, options), display).run()
            return display.reasons
    return {}


def _batches(todo: list[Point], store: Store) -> Iterator[list[Point]]:
    """First what others start from, then the networks to compress, of those that have been trained.

    For Hydra's own launchers, which take all runs at once; sweep.launcher.in_order does not wait for the first batch.
    """
    compressed = [point for point in todo if point.config.is_compressed]
    first = [point for point in todo if not point.config.is_compressed] + starts(todo, store)
    if first:
        yield first
    ready = [point for point in compressed if store.is_done(point.uncompressed.key)]
    if ready:
        yield ready


def _distinct(points: list[Point]) -> list[Point]:
    """The points; of those that are the same run, only the first."""
    found: dict[str, Point] = {}
    for point in points:
        found.setdefault(point.key, point)
    return list(found.values())


def _manifest(config: DictConfig, overrides: list[Override], points: list[Point]) -> Sweep:
    last_of_each = {override.get_key_element(): override for override in overrides}
    names = [name for name, override in last_of_each.items() if override.is_sweep_override()]
    tried = tuple(
        ({k: v for k, _, v in (o.partition("=") for o in point.overrides) if k in names}, point.key) for point in points
    )
    folders = sorted({point.config.data.fingerprint for point in points} - {""})
    return replace(manifest(config, EXECUTION, names, folders=folders), points=tried)


def manifest(
    config: DictConfig,
    left_out: Collection[str],
    varied: Iterable[str],
    *,
    kind: str = "",
    folders: Iterable[str] = (),
) -> Sweep:
    """The manifest of this launch, without its points. Launches that ask for the same have the same name.

    The name is made of the kind of sweep, the experiment, the command line without the keys that are left out, and the
    beginnings of the image folders' fingerprints, as the command line says only where these lie.
    """
    experiment = OmegaConf.select(config, "hydra.runtime.choices.experiment")
    # The command line, without what says only where and how to run, tells launches of one experiment apart.
    task: list[str] = list(config.hydra.overrides.task)
    overrides = tuple(line for line in task if line.partition("=")[0] not in (*left_out, "experiment"))
    names = dict.fromkeys(name for name in (kind, experiment) if name)
    return Sweep(
        name=file_name([*names, *overrides, *(fingerprint[:8] for fingerprint in folders)]) or "runs",
        varied=tuple(varied),
        points=(),
        experiment=experiment,
        overrides=overrides,
        launched=origin.now(),
    )
