"""The kinds of bypass compared, as in the paper's table 3."""

import itertools
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, paper, tables
from analysis.axes import SIZE, CostAxis
from analysis.style import CYCLE, panels, set_accuracy_limits
from analysis.view import View
from fire.arch import BYPASSES, SqueezeNetSpec
from fire.cost import count


class Info(NamedTuple):
    """Accuracy of each kind of bypass, in percent, with the cost on the axis and the ends of the interval."""

    title: str
    axis: CostAxis
    metric: str
    kinds: tuple[str, ...]
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def info(view: View) -> Info | None:
    """Mean test accuracy of each kind of bypass, none first; None unless the networks differ in their bypass alone."""
    if view.is_compressed or list(view.along) != ["bypass"] or view.finished["bypass"].isna().any():
        return None
    runs, axis = costs.known(view.runs, view.cost, SIZE)
    if runs.empty:
        return None
    groups = tables.over_seeds(runs, ["bypass"])
    groups = groups.assign(cost=costs.means(runs, ["bypass"], axis))
    groups = groups.sort_values("bypass", key=lambda kinds: kinds.map(BYPASSES.index))
    return Info(
        title=f"{tables.setting_of(view.runs)}, {tables.seeds(groups['n'])}",
        axis=axis,
        metric=axis.metric,
        kinds=tuple(groups["bypass"]),
        cost=tuple(groups["cost"]),
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
    )


def paper_info() -> Info:
    """The paper's table 3; the complex bypass at the size of its weights, 6.06 MiB, not the printed 7.7."""
    sizes = [count(SqueezeNetSpec(bypass=row.bypass)).size_mib for row in paper.TABLE_3]
    none = (float("nan"),) * len(paper.TABLE_3)
    return Info(
        title="ImageNet, as published (table 3)",
        axis=SIZE,
        metric="top-1",
        kinds=tuple(row.bypass for row in paper.TABLE_3),
        cost=tuple(sizes),
        accuracy=tuple(100 * row.top1 for row in paper.TABLE_3),
        low=none,
        high=none,
    )


def draw(info: Info, ax: Axes) -> None:
    """A point with its interval for each kind of bypass."""
    colors = dict(zip(BYPASSES, itertools.cycle(CYCLE), strict=False))
    for place, kind in enumerate(info.kinds):
        accuracy = info.accuracy[place]
        if np.isfinite(info.low[place]):
            spread = [[accuracy - info.low[place]], [info.high[place] - accuracy]]
            ax.errorbar(place, accuracy, yerr=spread, color=colors[kind], capsize=4, elinewidth=1.4)
        ax.plot(place, accuracy, marker="o", markersize=8, color=colors[kind])
        ax.annotate(f"{accuracy:.2f}", (place, accuracy), xytext=(9, -3), textcoords="offset points", fontsize=9)
    shown = "{}\n{:.2f} MiB" if info.axis.column == SIZE.column else "{}\n{:.4g}"
    ax.set_xticks(range(len(info.kinds)), map(shown.format, info.kinds, info.cost))
    if info.axis.column != SIZE.column:
        ax.set_xlabel(info.axis.label())
    ax.set_xlim(-0.5, len(info.kinds) - 0.5 + 0.15)
    ax.set_ylabel(f"{info.metric} accuracy, %")
    ax.set_title(info.title)
    set_accuracy_limits(ax, (*info.accuracy, *info.low, *info.high))
    ax.grid(visible=False, axis="x")


def figure(view: View) -> Figure | None:
    """The kinds of bypass in a sweep, beside the paper's table 3 if the axis is the paper's, size."""
    shown = info(view)
    if shown is None:
        return None
    published = shown.axis.column == SIZE.column
    columns, width = (2, 4.6) if published else (1, 6.5)  # the axis may have a long note
    whole, axes = panels(columns, width, height=3.6)
    draw(shown, axes[0])
    if published:
        draw(paper_info(), axes[1])
    return whole
