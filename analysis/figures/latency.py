"""Accuracy over latency, with the Pareto front."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.figures import pareto
from analysis.style import panels, set_accuracy_limits
from analysis.view import View


class Info(NamedTuple):
    """Networks over their latency in milliseconds, with the ends of the accuracies' intervals, in percent."""

    networks: pareto.Info
    low: tuple[float, ...]
    high: tuple[float, ...]
    place: str  # where the latencies were measured, and how many runs have none from there


def info(view: View) -> Info | None:
    """The networks whose latency was measured on one machine, means over seeds; None if these are fewer than two."""
    runs, elsewhere = costs.with_comparable_latencies(view.finished)
    timed = runs[runs["latency_seconds"].notna()]
    networks = pareto.info(replace(view, runs=timed, cost=costs.LATENCY))
    if networks is None or len(networks.cost) < 2:
        return None
    groups = tables.over_seeds(timed, view.by)
    first = timed.iloc[0]
    threads = tables.counted(int(first["threads"]), "thread") if pd.notna(first["threads"]) else None
    untimed = int((view.finished["latency_seconds"].isna() & (view.finished["compress"] == "none")).sum())
    missing = {"timed elsewhere": elsewhere, "not timed": untimed}  # compressed networks never are
    left_out = [f"{tables.counted(count, 'run')} {reason}" for reason, count in missing.items() if count]
    where = ", ".join(filter(None, (first["host"], first["device"], threads)))
    return Info(
        networks=networks._replace(title=f"{networks.title}, {tables.seeds(groups['n'])}"),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
        place=where + (f"; without {' and '.join(left_out)}" if left_out else ""),
    )


def draw(info: Info, ax: Axes) -> None:
    """All networks with their intervals, and a staircase through those on the front."""
    milliseconds, accuracy = np.array(info.networks.cost), np.array(info.networks.accuracy)
    known = np.isfinite(info.low)
    spread = np.array([accuracy - info.low, info.high - accuracy])[:, known]
    ax.errorbar(milliseconds[known], accuracy[known], yerr=spread, fmt="none", ecolor="black", elinewidth=1, capsize=3)
    pareto.draw(info.networks, ax)
    set_accuracy_limits(ax, (*accuracy, *info.low, *info.high))
    ax.set_xlabel(f"{ax.get_xlabel()}\n{info.place}")


def figure(view: View) -> Figure | None:
    """Accuracy over latency; None unless two networks were timed on one machine."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=6.5, height=4.4)
    draw(shown, ax)
    return whole
