"""All networks of one data set over their cost, with the Pareto front."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import tables
from analysis.costs import SIZE, Cost
from analysis.stats import pareto_front
from analysis.style import CYCLE, GREY, log_axis, panels


class Info(NamedTuple):
    """Networks of one data set, means over seeds: cost, test accuracy in percent, group, and which lie on the front."""

    title: str
    judged_by: str
    cost_name: str
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    group: tuple[str, ...]
    front: tuple[bool, ...]


def info(
    runs: pd.DataFrame, by: Sequence[str], group: str = "bypass", cost: Cost = SIZE, judged_by: str = "top1"
) -> Info:
    """All finished runs of one data set; runs that agree in the columns `by` are one network, trained with seeds.

    judged_by: the accuracy whose front it is; for networks that were chosen, that which they were chosen by.
    """
    columns = list(dict.fromkeys([*by, group]))
    means = {name: tables.over_seeds(runs, columns, name) for name in ("top1", judged_by, cost.column)}
    groups = means["top1"]
    costs = cost.scale * means[cost.column][cost.column]
    return Info(
        title=f"{tables.data_of(runs)}, {tables.counted(len(groups), 'trained network')}, {tables.epochs_of(runs)}",
        judged_by=judged_by,
        cost_name=cost.name,
        cost=tuple(costs),
        accuracy=tuple(100 * groups["top1"]),
        group=tuple(str(value) for value in groups[group]),
        front=tuple(bool(is_best) for is_best in pareto_front(costs, means[judged_by][judged_by])),
    )


def draw(info: Info, ax: Axes, group: str = "bypass") -> None:
    """All networks, and a staircase through those on the front."""
    size, accuracy, front = np.array(info.cost), np.array(info.accuracy), np.array(info.front)
    label = "Pareto front" if info.judged_by == "top1" else "front of validation accuracy"
    along = np.flatnonzero(front)[np.argsort(size[front], kind="stable")]
    ax.step(size[along], accuracy[along], where="post", color=GREY, linewidth=1.2, label=label, zorder=1)
    # Seven markers to six colours: 42 groups before two look alike.
    looks = zip(itertools.cycle(CYCLE), itertools.cycle("osD^vPX"), dict.fromkeys(info.group), strict=False)
    for color, marker, name in looks:
        chosen = np.array(info.group) == name
        ax.scatter(
            size[chosen],
            accuracy[chosen],
            color=[color if is_best else "white" for is_best in front[chosen]],
            edgecolors=color,
            marker=marker,
            s=42,
            zorder=2,
        )
        ax.scatter([], [], color=color, marker=marker, s=42, label=f"{group} {name}")
    log_axis(ax, info.cost)
    ax.set_xlabel(f"{info.cost_name} (log scale)")
    ax.set_ylabel("test top-1 accuracy, %")
    ax.set_title(info.title + "; filled: on the front")
    ax.legend(loc="best")


def figure(runs: pd.DataFrame, by: Sequence[str], group: str, cost: Cost = SIZE, judged_by: str = "top1") -> Figure:
    """Accuracy of all networks of one data set over their cost, with the front of the accuracy they are judged by."""
    whole, (ax,) = panels(columns=1, width=6.5, height=4.2)
    draw(info(runs, by, group, cost, judged_by), ax, group)
    return whole


def networks(runs: pd.DataFrame) -> Figure:
    """All networks of one data set and the front, apart by their bypass, or by family where some can have none."""
    group = "bypass" if runs.get("bypass", pd.Series(dtype=object)).notna().all() else "family"
    return figure(runs, tables.network_columns(runs), group)
