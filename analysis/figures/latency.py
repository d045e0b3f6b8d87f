"""Accuracy over latency, with the Pareto front."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import LATENCY
from analysis.figures import pareto
from analysis.style import panels, set_accuracy_limits
from analysis.view import View


class Info(NamedTuple):
    """Networks over their latency in milliseconds, with the ends of the accuracies' intervals, in percent."""

    networks: pareto.Info
    low: tuple[float, ...]
    high: tuple[float, ...]


def info(view: View) -> Info | None:
    """The networks whose latency was measured on one machine, means over seeds.

    None if these are fewer than two, or if all figures have the same axis: then other figures show what this one would.
    """
    finished = view.finished[view.finished["compress"] == "none"]  # compressed networks are never timed
    networks = pareto.info(replace(view, runs=finished, cost=LATENCY)) if view.cost is None else None
    if networks is None or len(networks.cost) < 2:
        return None
    timed, _ = costs.known(finished, None, LATENCY)
    groups = tables.over_seeds(timed, view.by)
    return Info(
        networks=networks._replace(title=f"{networks.title}, {tables.seeds(groups['n'])}"),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
    )


def draw(info: Info, ax: Axes) -> None:
    """All networks with their intervals, and a staircase through those on the front."""
    milliseconds, accuracy = np.array(info.networks.cost), np.array(info.networks.accuracy)
    known = np.isfinite(info.low)
    spread = np.array([accuracy - info.low, info.high - accuracy])[:, known]
    ax.errorbar(milliseconds[known], accuracy[known], yerr=spread, fmt="none", ecolor="black", elinewidth=1, capsize=3)
    pareto.draw(info.networks, ax)
    set_accuracy_limits(ax, (*accuracy, *info.low, *info.high))


def figure(view: View) -> Figure | None:
    """Accuracy over latency; None unless two networks were timed on one machine."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=9.0, height=4.4)
    draw(shown, ax)
    return whole
