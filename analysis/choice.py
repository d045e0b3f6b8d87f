"""The sweeps that a notebook shows: the user's newest ones, or the committed ones where there are none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import axes, compression, costs, sections
from analysis.axes import CostAxis
from analysis.results import Results, read
from analysis.view import View
from fire.errors import InputError
from sweep.manifests import Sweep
from sweep.map.making import make
from sweep.map.stored import Map
from sweep.store import Store

OWN, COMMITTED = Path("results"), Path("docs") / "results"  # below the checkout


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """A sweep with a finished run, and the names of the other sweeps of its experiment, the newest first.

    x: the axis of its figures over a cost; None: each has its own.
    """

    results: Results
    sweep: Sweep
    others: tuple[str, ...]
    x: CostAxis | None = None

    @property
    def view(self) -> View:
        """Its runs, for tables and figures."""
        return sections.view_of(self.results, self.sweep, self.x)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each network, means over seeds."""
        return compression.summary(self.view)

    @property
    def figures(self) -> Iterator[Figure]:
        """The figures of its section of the report."""
        return (shown.figure for shown in sections.figures_of_sweep(self.view, self.sweep.name))

    def __str__(self) -> str:
        folder, finished = self.results.folder, len(self.view.finished)
        when = f", launched {self.sweep.launched}" if self.sweep.launched else ""
        lines = [f"sweep {self.sweep.name} in {folder}{when}: {finished} of {len(self.sweep.keys)} runs finished"]
        lines += [f"overrides: {' '.join(self.sweep.overrides)}"] if self.sweep.overrides else []
        lines += [said] if (said := sections.without(self.x, self.view.runs)) else []
        lines += [f"others in {folder}: {', '.join(self.others)}"] if self.others else []
        return "\n".join(lines)


def choose(
    *experiments: str,
    folder: Path | str | None = None,
    sweep: str | None = None,
    x: str | None = None,
    core: str | None = None,
    clock: str | None = None,
    checkout: Path | str = "..",
) -> tuple[Choice, ...]:
    """Choose the newest sweep of each experiment that has a finished run, whatever its overrides.

    All come from one folder: the given one, or the first of <checkout>/results and <checkout>/docs/results that has
    one. Experiments without a sweep are left out. sweep: the name of a sweep to choose instead. x, core, clock: the
    axis of figures over a cost, as in analysis.axes.chosen. Raises InputError if there is no such sweep, or the sweeps'
    folder has no run with this cost.
    """
    axis = axes.chosen(x, core, clock)
    own, committed = Path(checkout) / OWN, Path(checkout) / COMMITTED
    folders = [Path(folder)] if folder is not None else [each for each in (own, committed) if each.is_dir()]
    for each in folders:
        found = _choices(read(each), experiments, sweep)
        if found:
            costs.check(x, axis, found[0].results.runs)
            return tuple(replace(choice, x=axis) for choice in found)
    places = ", ".join(map(str, folders)) or f"neither {own} nor {committed}"
    wanted = f"a sweep {sweep!r}" if sweep is not None else "a sweep"
    raise InputError(
        f"the results must have {wanted} of experiment {' or '.join(experiments)} with a finished run "
        f"(python -m sweep experiment={experiments[0]}), got none in {places}"
    )


def _choices(results: Results, experiments: Sequence[str], name: str | None) -> tuple[Choice, ...]:
    finished = set(results.runs["key"][results.runs["status"] == "finished"])
    # Manifests of earlier versions say no time; of these, the fewer overrides the better.
    newest = sorted(
        (each for each in results.sweeps if each.search is None and finished.intersection(each.keys)),
        key=lambda each: (each.launched or "", -len(each.overrides), each.name),
        reverse=True,
    )
    if name is not None:
        chosen = [each for each in newest if each.name == name]
    else:
        first = {each.experiment: each for each in reversed(newest)}
        chosen = [first[experiment] for experiment in experiments if experiment in first]
    return tuple(
        Choice(
            results=results,
            sweep=sweep,
            others=tuple(each.name for each in newest if each.experiment == sweep.experiment and each is not sweep),
        )
        for sweep in chosen
    )


def everything(folder: Path | str | None = None, checkout: Path | str = "..") -> Results:
    """All results in the given folder, or in <checkout>/results if it has a finished run, or the committed ones."""
    own, committed = Path(checkout) / OWN, Path(checkout) / COMMITTED
    if folder is not None:
        return read(folder)
    results = read(own if own.is_dir() else committed)
    return results if (results.runs["status"] == "finished").any() else read(committed)


def mapped(
    words: Sequence[str], folder: Path | str | None = None, checkout: Path | str = ".."
) -> tuple[Map, Results, tuple[str, ...]]:
    """The map of `everything`, as `sweep.map.making.make` makes it, its results, and what to say of them.

    Where the user's results do not give a map, and no folder is given, it is of the committed ones. Raises InputError
    as `make` does.
    """
    results, committed = everything(folder, checkout), Path(checkout) / COMMITTED
    notes = [str(damage) for damage in results.unreadable]
    try:
        made = make(Store(results.folder).records(), words)
    except InputError as error:
        if folder is not None or results.folder == committed:
            raise
        notes = [f"not of {results.folder}: {error}", *notes]
        results = read(committed)
        made = make(Store(committed).records(), words)
    return made, results, tuple(notes)
