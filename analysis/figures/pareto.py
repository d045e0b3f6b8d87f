"""All networks of one data set over their cost, with a Pareto front for each recipe."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import SIZE, CostAxis
from analysis.style import CYCLE, GREY, log_axis, make_room, panels, set_accuracy_limits
from analysis.view import View

MARKERS = "osD^vPX"
MOST_LOOKS = len(CYCLE) * len(MARKERS)  # groups before two look alike: the numbers have no common factor
LEAST_SEEDS = 3  # whose interval is drawn: that of two is three times as wide and hides all others
MOST_LABELS = 24  # of networks on fronts, beside a figure of this height
# Of the fronts, in turn: their dashes, and where their numbers lie beside the networks, in points.
LOOKS = (("-", (-11, 3)), ("--", (6, -9)), (":", (-11, -9)), ("-.", (6, 3)))


class Info(NamedTuple):
    """Networks of one data set, means over seeds: cost, test accuracy in percent, and the group that has a colour.

    low, high: the ends of the accuracy's 95 % interval, NaN for fewer than LEAST_SEEDS.
    recipe: how each was trained, empty if all were trained alike or a search chose the recipe. front: whether no other
    network of its recipe beats it. label: of those on a front, the settings that tell them apart.
    """

    title: str
    grouped_by: str
    judged_by: str
    axis: CostAxis
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    group: tuple[str, ...]
    recipe: tuple[str, ...]
    front: tuple[bool, ...]
    label: tuple[str, ...]


def info(view: View) -> Info | None:
    """The finished runs of one data set whose cost is known, means over seeds; None without such, or without groups."""
    if view.group is None:
        return None
    runs, axis = costs.known(view.runs, view.cost, SIZE)
    if runs.empty:
        return None
    runs = runs.assign(recipe=tables.recipes(runs) if view.judged_by == "top1" else "")
    by = [*view.by, "recipe"]
    groups = tables.over_seeds(runs, by)
    judged = groups["top1"] if view.judged_by == "top1" else tables.over_seeds(runs, by, view.judged_by)[view.judged_by]
    cost = costs.means(runs, by, axis)
    front, label = _fronts(groups.assign(cost=cost, judged=judged), view.group)
    count, epochs = tables.counted(len(groups), "trained network"), tables.epochs_of(runs)
    return Info(
        title=f"{tables.data_of(runs)}, {count}, {epochs}",
        grouped_by=view.group,
        judged_by=view.judged_by,
        axis=axis,
        cost=cost,
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"].where(groups["n"] >= LEAST_SEEDS)),
        high=tuple(100 * groups["top1_high"].where(groups["n"] >= LEAST_SEEDS)),
        group=tuple(str(value) for value in groups[view.group]),
        recipe=tuple(groups["recipe"]),
        front=tuple(front),
        label=tuple(label),
    )


def _fronts(groups: pd.DataFrame, group: str) -> tuple[list[bool], list[str]]:
    """Whether each network is on the front of its recipe, and its label: the settings in which those on fronts differ.

    groups: columns cost, judged, recipe and settings. group: the setting that colours say, which labels leave out.
    """
    front = pd.Series(data=False, index=groups.index)
    for _, alike in groups.groupby("recipe", sort=False):
        front[alike.index] = costs.front(alike["cost"], alike["judged"])
    best, label = groups[front], pd.Series("", index=groups.index)
    columns = [name for name in map(str, groups.columns) if name in tables.METAPARAMETERS and name != group]
    settings = [name for name in tables.telling(best, columns) if best[name].nunique() > 1]  # not one family's alone
    label.update(pd.Series(tables.names(best, settings), index=best.index))
    return front.tolist(), label.tolist()


def draw(info: Info, ax: Axes) -> None:
    """All networks, a staircase through those on each front, and their numbers, by which the legend names them."""
    size, accuracy, front = np.array(info.cost), np.array(info.accuracy), np.array(info.front)
    numbers = itertools.count(1)
    for (dashes, beside), recipe in zip(itertools.cycle(LOOKS), dict.fromkeys(info.recipe), strict=False):
        of_recipe = front & (np.array(info.recipe) == recipe)
        along = np.flatnonzero(of_recipe)[np.argsort(size[of_recipe], kind="stable")]
        if info.judged_by == "top1":  # the front of other accuracies is no staircase in this one
            label = ", ".join(filter(None, ("Pareto front", recipe)))
            ax.step(
                size[along], accuracy[along], dashes, where="post", color=GREY, linewidth=1.2, label=label, zorder=1
            )
        labelled = [place for place in along if info.label[place]]
        for place in labelled if 1 < front.sum() <= MOST_LABELS else ():
            number = next(numbers)
            ax.annotate(
                f"{number}", (size[place], accuracy[place]), xytext=beside, textcoords="offset points", fontsize=7
            )
            ax.plot([], [], linestyle="none", label=f"{number}: {info.label[place]}")
    label = "on the front" if info.judged_by == "top1" else "on the front of validation accuracy"
    ax.scatter([], [], color=GREY, marker="o", s=42, label=f"filled: {label}")
    spread = np.array([accuracy - info.low, info.high - accuracy])
    looks = zip(itertools.cycle(CYCLE), itertools.cycle(MARKERS), dict.fromkeys(info.group), strict=False)
    for color, marker, group in looks:
        chosen = np.array(info.group) == group
        ax.scatter(
            size[chosen],
            accuracy[chosen],
            color=[color if is_best else "white" for is_best in front[chosen]],
            edgecolors=color,
            marker=marker,
            s=42,
            zorder=2,
        )
        ax.scatter([], [], color=color, marker=marker, s=42, label=f"{info.grouped_by} {group}")
        known = chosen & np.isfinite(spread).all(axis=0)
        x, y, ends = size[known], accuracy[known], spread[:, known]
        ax.errorbar(x, y, yerr=ends, fmt="none", ecolor=color, elinewidth=1, capsize=3, zorder=1)
    if np.isfinite(spread).any():
        # An interval can be as wide as the axis, which would flatten all else: lines end beyond the points.
        beyond = max(np.ptp(accuracy) / 4, 0.5)
        ends = np.clip([info.low, info.high], accuracy.min() - beyond, accuracy.max() + beyond)
        set_accuracy_limits(ax, [*accuracy, *ends.flat])
        ax.errorbar([], [], yerr=[], fmt="none", ecolor=GREY, elinewidth=1, capsize=3, label="95 % interval, n >= 3")
    log_axis(ax, info.cost)
    ax.set_xlabel(info.axis.label(log=True))
    ax.set_ylabel(f"{info.axis.metric} accuracy, %")
    ax.set_title(info.title)
    ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=8)


def figure(view: View) -> Figure | None:
    """Accuracy of all networks of one data set over their cost, with the front of the accuracy they are judged by."""
    shown = info(view)
    return None if shown is None else figure_of(shown)


def figure_of(info: Info) -> Figure:
    """The figure of these networks."""
    whole, (ax,) = panels(columns=1, width=6.0, height=4.2)
    draw(info, ax)
    make_room(whole, ax)
    return whole
