"""All networks of one data set over their cost, with the Pareto front."""

import itertools
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.style import CYCLE, GREY, log_axis, panels
from analysis.view import View


class Info(NamedTuple):
    """Networks of one data set, means over seeds: cost, test accuracy in percent, group, and which lie on the front."""

    title: str
    grouped_by: str
    judged_by: str
    cost_name: str
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    group: tuple[str, ...]
    front: tuple[bool, ...]


def info(view: View) -> Info | None:
    """All finished runs of one data set, means over seeds; None without a column of groups."""
    if view.group is None:
        return None
    metrics = ("top1", view.judged_by, view.cost.column)
    means = {name: tables.over_seeds(view.runs, view.by, name) for name in metrics}
    groups = means["top1"]
    cost = view.cost.scale * means[view.cost.column][view.cost.column]
    count, epochs = tables.counted(len(groups), "trained network"), tables.epochs_of(view.runs)
    return Info(
        title=f"{tables.data_of(view.runs)}, {count}, {epochs}",
        grouped_by=view.group,
        judged_by=view.judged_by,
        cost_name=view.cost.name,
        cost=tuple(cost),
        accuracy=tuple(100 * groups["top1"]),
        group=tuple(str(value) for value in groups[view.group]),
        front=tuple(costs.front(cost, means[view.judged_by][view.judged_by]).tolist()),
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
    ax.set_xlabel(f"{info.cost_name} (log scale)")
    ax.set_ylabel("test top-1 accuracy, %")
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
