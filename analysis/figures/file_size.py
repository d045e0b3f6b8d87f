"""Accuracy over the size of the file, or another cost, of compressed networks."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import CostAxis
from analysis.compression import by_network, with_bytes
from analysis.style import CYCLE, log_axis, make_room, panels
from analysis.view import View

FILE = CostAxis("bytes", "size of the file, kB of 1,000 bytes", 1e-3)  # of the parameters where there is none


class Info(NamedTuple):
    """Accuracy, in percent, over the cost of each network, in lines: groups of points that differ in one setting."""

    title: str
    axis: CostAxis
    lines: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]  # the setting of each
    cost: tuple[tuple[float, ...], ...]
    accuracy: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    in_order: bool  # whether that setting is a number, so that lines mean something


def info(view: View) -> Info | None:
    """The networks of a sweep, in lines along its last setting; None if none is compressed."""
    if not view.is_compressed or not view.along:
        return None
    runs, axis = costs.known(with_bytes(view.runs), view.cost, FILE)
    if runs.empty:
        return None
    groups = by_network(runs, list(view.along), axis.column)
    *others, last = sorted(view.along, key=lambda column: column != "compress")
    names = tables.names(groups, others)
    parts = [groups[[name == line for name in names]] for line in dict.fromkeys(sorted(names))]

    def of(column: str, factor: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(factor * part[column].astype(float)) for part in parts)

    return Info(
        title=f"{tables.data_of(runs)}, {tables.seeds(groups['n'])}",
        axis=axis,
        lines=tuple(dict.fromkeys(sorted(names))),
        points=tuple(tuple(tables.names(part, [last])) for part in parts),
        cost=of(axis.column, axis.scale),
        accuracy=of("top1", 100),
        low=of("top1_low", 100),
        high=of("top1_high", 100),
        in_order=tables.is_number(groups[last]),
    )


def draw(info: Info, ax: Axes) -> None:
    """Accuracy over the cost, on a log scale: lines with their settings, or points of each kind."""
    of_files = info.axis.column == FILE.column
    kinds = sorted({point for points in info.points for point in points})  # each with one look
    lines = zip(info.lines, info.points, info.cost, info.accuracy, info.low, info.high, strict=True)
    for color, (line, points, cost, accuracy, low, high) in zip(itertools.cycle(CYCLE), lines, strict=False):
        spread = np.nan_to_num([np.subtract(accuracy, low), np.subtract(high, accuracy)])
        if info.in_order:
            ax.errorbar(cost, accuracy, yerr=spread, color=color, marker="o", capsize=3, label=line)
            for point, x, y in zip(points, cost, accuracy, strict=True):
                # Below and to the right, where neither the line nor the interval is.
                ax.annotate(point, (x, y), xytext=(6, -12), textcoords="offset points", fontsize=8)
            continue
        for i, point in enumerate(points):
            place = kinds.index(point)
            label = ", ".join(name for name in (line, point) if name)
            look: dict[str, Any] = {
                "color": color if line else CYCLE[place % len(CYCLE)],
                "marker": "osD^vP"[place % 6],
                "linestyle": "none",
            }
            ax.errorbar(cost[i], accuracy[i], yerr=spread[:, [i]], capsize=3, label=label, **look)
    log_axis(ax, [cost for line in info.cost for cost in line])
    ax.set_xlabel(info.axis.label(log=True))
    ax.set_ylabel(f"{info.axis.metric} accuracy, %")
    ax.set_title(info.title)
    ax.margins(x=0.12 if of_files else None, y=0.15)
    if any(info.lines) or not info.in_order:
        ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)


def figure(view: View) -> Figure | None:
    """Accuracy over the size of the file, or another cost, in a sweep; None if none of its networks is compressed."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=7.2, height=4.2)
    draw(shown, ax)
    make_room(whole, ax)
    return whole
