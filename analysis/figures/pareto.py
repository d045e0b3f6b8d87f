"""All networks of one data set over their cost, with the Pareto front."""

import itertools
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import SIZE, CostAxis
from analysis.style import CYCLE, GREY, log_axis, panels
from analysis.view import View


class Info(NamedTuple):
    """Networks of one data set, means over seeds: cost, test accuracy in percent, group, and which lie on the front."""

    title: str
    grouped_by: str
    judged_by: str
    axis: CostAxis
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    group: tuple[str, ...]
    front: tuple[bool, ...]


def info(view: View) -> Info | None:
    """The finished runs of one data set whose cost is known, means over seeds; None without such, or without groups."""
    if view.group is None:
        return None
    runs, axis = costs.known(view.runs, view.cost, SIZE)
    if runs.empty:
        return None
    groups = tables.over_seeds(runs, view.by)
    judged = (
        groups["top1"] if view.judged_by == "top1" else tables.over_seeds(runs, view.by, view.judged_by)[view.judged_by]
    )
    cost = costs.means(runs, view.by, axis)
    count, epochs = tables.counted(len(groups), "trained network"), tables.epochs_of(runs)
    return Info(
        title=f"{tables.data_of(runs)}, {count}, {epochs}",
        grouped_by=view.group,
        judged_by=view.judged_by,
        axis=axis,
        cost=cost,
        accuracy=tuple(100 * groups["top1"]),
        group=tuple(str(value) for value in groups[view.group]),
        front=tuple(costs.front(cost, judged).tolist()),
    )


def draw(info: Info, ax: Axes) -> None:
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
        ax.scatter([], [], color=color, marker=marker, s=42, label=f"{info.grouped_by} {name}")
    log_axis(ax, info.cost)
    ax.set_xlabel(info.axis.label(log=True))
    ax.set_ylabel(f"{info.axis.metric} accuracy, %")
    ax.set_title(info.title + "; filled: on the front")
    ax.legend(loc="best")


def figure(view: View) -> Figure | None:
    """Accuracy of all networks of one data set over their cost, with the front of the accuracy they are judged by."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=6.5, height=4.2)
    draw(shown, ax)
    return whole
