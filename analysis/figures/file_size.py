"""Accuracy over the size of the file, of compressed networks."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import tables
from analysis.compression import by_network
from analysis.style import CYCLE, log_axis, panels
from analysis.view import View


class Info(NamedTuple):
    """Accuracy, in percent, over the bytes of each network, in lines: groups of points that differ in one setting."""

    title: str
    lines: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]  # the setting of each
    kilobytes: tuple[tuple[float, ...], ...]  # of 1,000 bytes
    accuracy: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    in_order: bool  # whether that setting is a number, so that lines mean something


def info(view: View) -> Info | None:
    """The networks of a sweep, in lines along its last setting; None if none is compressed."""
    if not view.is_compressed or not view.along:
        return None
    groups = by_network(view.runs, list(view.along))
    *others, last = sorted(view.along, key=lambda column: column != "compress")
    names = tables.names(groups, others)
    parts = [groups[[name == line for name in names]] for line in dict.fromkeys(sorted(names))]

    def of(column: str, factor: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(factor * part[column].astype(float)) for part in parts)

    return Info(
        title=f"{tables.data_of(view.runs)}, {tables.seeds(groups['n'])}",
        lines=tuple(dict.fromkeys(sorted(names))),
        points=tuple(tuple(tables.names(part, [last])) for part in parts),
        kilobytes=of("bytes", 1e-3),
        accuracy=of("top1", 100),
        low=of("top1_low", 100),
        high=of("top1_high", 100),
        in_order=bool(pd.api.types.is_numeric_dtype(groups[last])),
    )


def draw(info: Info, ax: Axes) -> None:
    """Accuracy over the size of the file, on a log scale: lines with their settings, or points of each kind."""
    kinds = sorted({point for points in info.points for point in points})  # each with one look
    lines = zip(info.lines, info.points, info.kilobytes, info.accuracy, info.low, info.high, strict=True)
    for color, (line, points, kilobytes, accuracy, low, high) in zip(itertools.cycle(CYCLE), lines, strict=False):
        spread = np.nan_to_num([np.subtract(accuracy, low), np.subtract(high, accuracy)])
        if info.in_order:
            ax.errorbar(kilobytes, accuracy, yerr=spread, color=color, marker="o", capsize=3, label=line)
            for point, x, y in zip(points, kilobytes, accuracy, strict=True):
                ax.annotate(point, (x, y), xytext=(0, 7), textcoords="offset points", fontsize=8, ha="center")
            continue
        for i, point in enumerate(points):
            place = kinds.index(point)
            x = kilobytes[i] * 1.05 ** (place - (len(kinds) - 1) / 2) if line else kilobytes[i]  # side by side
            label = ", ".join(name for name in (line, point) if name)
            look: dict[str, Any] = {
                "color": color if line else CYCLE[place % len(CYCLE)],
                "marker": "osD^vP"[place % 6],
                "linestyle": "none",
            }
            ax.errorbar(x, accuracy[i], yerr=spread[:, [i]], capsize=3, label=label, **look)
    log_axis(ax, [size for line in info.kilobytes for size in line])
    ax.set_xlabel("size of the file, kB of 1,000 bytes (log scale)")
    ax.set_ylabel("test top-1 accuracy, %")
    ax.set_title(info.title)
    ax.margins(x=0.12, y=0.15)
    if any(info.lines) or not info.in_order:
        ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)


def figure(view: View) -> Figure | None:
    """Accuracy over the size of the file in a sweep; None if none of its networks is compressed."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=8.5, height=4.2)
    draw(shown, ax)
    return whole
