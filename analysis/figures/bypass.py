"""The kinds of bypass compared, as in the paper's table 3."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import paper, tables
from analysis.style import CYCLE, panels, set_accuracy_limits
from fire.cost import MIB


class Info(NamedTuple):
    """Accuracy of each kind of bypass, in percent, with the size in MiB and the ends of the interval."""

    title: str
    metric: str
    kinds: tuple[str, ...]
    size_mib: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def info(runs: pd.DataFrame) -> Info:
    """Test accuracy of a sweep's finished runs for each kind of bypass there is, none first."""
    order = [row.bypass for row in paper.TABLE_3]
    groups = tables.over_seeds(runs, ["bypass"]).sort_values("bypass", key=lambda kinds: kinds.map(order.index))
    seeds = int(groups["n"].max()) if len(groups) else 0
    return Info(
        title=f"{tables.setting_of(runs)}, {tables.counted(seeds, 'seed')}",
        metric="test top-1",
        kinds=tuple(groups["bypass"]),
        size_mib=tuple(groups["size_mib"]),
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
    )


def paper_info() -> Info:
    """The same of the paper's table 3; the complex bypass at the size of its weights, 6.06 MiB, not the printed 7.7."""
    parameters = {"none": 1_248_424, "simple": 1_248_424, "complex": 1_589_672}
    none = (float("nan"),) * len(paper.TABLE_3)
    return Info(
        title="ImageNet, as published (table 3)",
        metric="top-1",
        kinds=tuple(row.bypass for row in paper.TABLE_3),
        size_mib=tuple(4 * parameters[row.bypass] / MIB for row in paper.TABLE_3),
        accuracy=tuple(100 * row.top1 for row in paper.TABLE_3),
        low=none,
        high=none,
    )


def draw(info: Info, ax: Axes) -> None:
    """A point with its interval for each kind of bypass."""
    colors = dict(zip(("none", "simple", "complex"), CYCLE, strict=False))
    for place, kind in enumerate(info.kinds):
        accuracy = info.accuracy[place]
        if np.isfinite(info.low[place]):
            spread = [[accuracy - info.low[place]], [info.high[place] - accuracy]]
            ax.errorbar(place, accuracy, yerr=spread, color=colors[kind], capsize=4, elinewidth=1.4)
        ax.plot(place, accuracy, marker="o", markersize=8, color=colors[kind])
        ax.annotate(f"{accuracy:.2f}", (place, accuracy), xytext=(9, -3), textcoords="offset points", fontsize=9)
    ax.set_xticks(range(len(info.kinds)), [f"{k}\n{s:.2f} MiB" for k, s in zip(info.kinds, info.size_mib, strict=True)])
    ax.set_xlim(-0.5, len(info.kinds) - 0.5 + 0.15)
    ax.set_ylabel(f"{info.metric} accuracy, %")
    ax.set_title(info.title)
    set_accuracy_limits(ax, (*info.accuracy, *info.low, *info.high))
    ax.grid(visible=False, axis="x")


def figure(runs: pd.DataFrame) -> Figure:
    """The kinds of bypass in a sweep; in a panel of its own the paper's table 3."""
    whole, axes = panels(columns=2, width=4.6, height=3.6)
    draw(info(runs), axes[0])
    draw(paper_info(), axes[1])
    return whole
