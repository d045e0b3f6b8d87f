"""Costs of runs along an axis: which are known, which are comparable, and which networks lie on the front."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis import tables
from analysis.axes import AXES, LATENCY, PLACES, SIZE, CostAxis
from fire.errors import require
from fire.stats import pareto_front


def axis_of(objectives: Sequence[str], finished: pd.DataFrame) -> CostAxis:
    """The first of the search's objectives that is a cost and known of a finished run; otherwise size."""
    axes = (AXES[name] for name in objectives if name in AXES)
    return next((axis for axis in axes if has(finished, axis).any()), SIZE)


def has(runs: pd.DataFrame, axis: CostAxis) -> "pd.Series[bool]":
    """Which runs are finished and have the cost, and the accuracy that belongs to it."""
    found = runs["status"] == "finished"
    for column in (axis.column, axis.top1):
        found &= runs[column].notna() if column in runs else False
    return found


def unless_unknown(x: CostAxis | None, runs: pd.DataFrame) -> CostAxis | None:
    """The axis, or None if no finished run has its cost."""
    return x if x is not None and has(runs, x).any() else None


def check(x: str | None, axis: CostAxis | None, runs: pd.DataFrame) -> None:
    """Raise SpecError unless some run has the cost of the axis, whose name is x. Without an axis nothing is checked."""
    require(axis is None or unless_unknown(axis, runs) is not None, "x", "a cost that a finished run has", x)


def known(runs: pd.DataFrame, chosen: CostAxis | None, own: CostAxis) -> tuple[pd.DataFrame, CostAxis]:
    """The finished runs that a figure can show along the chosen axis, else its own, and the axis with a note on others.

    The figure keeps its own axis if the chosen cost is the same for all runs, and the note says so. The column top1 of
    the runs is the test accuracy of what has the cost. Latencies are those of one place.
    """
    finished = runs[runs["status"] == "finished"]
    if chosen is not None and has(finished, chosen).all() and finished[chosen.column].nunique() == 1:
        shown, axis = known(finished, None, own)
        same = f"{chosen.scale * finished[chosen.column].iloc[0]:.4g} for all: {chosen.name}"
        return shown, axis._replace(note=_lines(axis.note, same))
    axis = chosen or own
    missing = int((~has(finished, axis)).sum())
    comparable, elsewhere = with_comparable_latencies(finished, axis)
    shown = comparable[has(comparable, axis)]
    note = _lines(axis.note, _note(shown, axis, missing, elsewhere))
    return shown.assign(top1=shown[axis.top1]), axis._replace(note=note)


def with_comparable_latencies(runs: pd.DataFrame, axis: CostAxis = LATENCY) -> tuple[pd.DataFrame, int]:
    """Keep the latencies of one place (machine, device, number of threads): those of most finished runs.

    Returns the runs, and the number of finished runs whose latency was left out. Other costs are the same everywhere.
    """
    if axis.column not in PLACES:
        return runs, 0
    # Sorted by their names, so that of two with as many runs the same one is kept, whichever runs are asked about.
    place = runs.groupby(list(PLACES[axis.column]), dropna=False).ngroup()
    timed = has(runs, axis)
    here = place.isin(place[timed].mode().head(1))
    return runs.assign(**{axis.column: runs[axis.column].where(here)}), int((timed & ~here).sum())


def _note(shown: pd.DataFrame, axis: CostAxis, missing: int, elsewhere: int) -> str:
    """Where latencies were measured, and how many runs have no such cost: "a machine, cpu; without 1 run not timed"."""
    if axis.column not in PLACES:
        return f"not shown: {tables.counted(missing, 'run')} without this cost" if missing else ""
    place = [
        tables.counted(int(value), "thread") if column == "threads" else str(value)
        for column in PLACES[axis.column]
        for value in shown[column].head(1).dropna()
    ]
    reasons = {"timed elsewhere": elsewhere, "not timed": missing}
    without = [f"{tables.counted(count, 'run')} {reason}" for reason, count in reasons.items() if count]
    return ", ".join(place) + (f"; without {' and '.join(without)}" if without else "")


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def means(runs: pd.DataFrame, by: list[str], axis: CostAxis) -> tuple[float, ...]:
    """The mean cost of each network in the unit of the axis, in the order of `tables.over_seeds`."""
    return tuple(axis.scale * tables.over_seeds(runs, by, axis.column)[axis.column])


def front(costs: ArrayLike, accuracies: ArrayLike) -> NDArray[np.bool_]:
    """Which networks no other beats in cost and accuracy."""
    return pareto_front(np.column_stack([costs, -np.asarray(accuracies, np.float64)]))
