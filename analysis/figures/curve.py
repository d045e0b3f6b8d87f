"""Accuracy over size along one metaparameter, as in the paper's figure 3."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, paper, tables
from analysis.axes import SIZE, CostAxis
from analysis.style import BLUE, ORANGE, panels, set_accuracy_limits
from analysis.view import View

NAMES = {"sr": "squeeze ratio (SR)", "pct_3x3": "percentage of 3x3 filters"}


class Info(NamedTuple):
    """Accuracy over a cost along one metaparameter, the smallest network first. In percent; no interval is NaN."""

    title: str
    axis: CostAxis
    metaparameter: str
    metric: str
    values: tuple[float, ...]
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def info(view: View) -> Info | None:
    """Mean test accuracy over seeds, with its 95 % interval, over a cost; None unless one number is varied."""
    if view.is_compressed or len(view.along) != 1 or not tables.is_number(view.finished[view.along[0]]):
        return None
    (metaparameter,) = view.along
    runs, axis = costs.known(view.runs, view.cost, SIZE)
    if runs.empty:
        return None
    groups = tables.over_seeds(runs, [metaparameter])
    return Info(
        title=f"{tables.setting_of(view.runs)}, {tables.seeds(groups['n'])}",
        axis=axis,
        metaparameter=metaparameter,
        metric=axis.metric,
        values=tuple(groups[metaparameter].astype(float)),
        cost=costs.means(runs, [metaparameter], axis),
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
    )


def paper_info(metaparameter: str) -> Info:
    """The paper's figure 3."""
    points = paper.FIGURE_3[metaparameter]
    none = (float("nan"),) * len(points)
    return Info(
        title="ImageNet, as published (figure 3)",
        axis=SIZE,
        metaparameter=metaparameter,
        metric="top-5",
        values=tuple(point.value for point in points),
        cost=tuple(point.size_mib for point in points),
        accuracy=tuple(100 * point.top5 for point in points),
        low=none,
        high=none,
    )


def draw(info: Info, ax: Axes, color: str = BLUE) -> None:
    """Accuracy over the cost, the metaparameter's values along the top, as in the paper's figure 3.

    A metaparameter that does not change the size, such as a learning rate, is itself the horizontal axis.
    """
    over_cost = info.axis.column != SIZE.column or len(set(info.cost)) > 1
    places = info.cost if over_cost else info.values
    accuracy = np.array(info.accuracy)
    spread = np.array([accuracy - info.low, info.high - accuracy])
    if np.isfinite(spread).any():
        ax.errorbar(places, accuracy, yerr=np.nan_to_num(spread), fmt="none", ecolor=color, elinewidth=1.2, capsize=3)
    ax.plot(places, accuracy, marker="o", color=color, linewidth=1.8, markersize=6)
    ax.set_ylabel(f"{info.metric} accuracy, %")
    ax.set_title(info.title)
    set_accuracy_limits(ax, (*info.accuracy, *info.low, *info.high))
    name = NAMES.get(info.metaparameter, info.metaparameter)
    if not over_cost:
        if min(places) > 0 and max(places) > 10 * min(places):
            ax.set_xscale("log")
        ax.set_xticks(places, [_value(info.metaparameter, value) for value in info.values])
        ax.minorticks_off()
        ax.set_xlabel("\n".join(filter(None, (name, info.axis.note))))
        return
    ax.set_xlabel(info.axis.label())
    ax.set_xlim(0, max(info.cost) * 1.07)
    at: dict[float, list[str]] = {}  # networks of equal cost share a tick
    for cost, value in zip(info.cost, info.values, strict=True):
        at.setdefault(cost, []).append(_value(info.metaparameter, value))
    top = ax.secondary_xaxis("top")
    top.set_xticks(list(at), ["\n".join(values) for values in at.values()])
    top.set_xlabel(name)
    for cost in at:
        ax.axvline(cost, color="#eeeeee", linewidth=0.8, zorder=0)
    ax.grid(visible=False, axis="x")


def figure(view: View) -> Figure | None:
    """Accuracy over a cost in a sweep, beside the paper's curve where there is one over the same axis, size."""
    shown = info(view)
    if shown is None:
        return None
    published = shown.metaparameter in paper.FIGURE_3 and shown.axis.column == SIZE.column
    width = 5.2 if published or not shown.axis.note else 6.5
    whole, axes = panels(columns=2 if published else 1, width=width, height=4.0)
    draw(shown, axes[0])
    if published:
        draw(paper_info(shown.metaparameter), axes[1], color=ORANGE)
    return whole


def _value(metaparameter: str, value: float) -> str:
    return f"{100 * value:g}" if metaparameter == "pct_3x3" else f"{value:g}"
