"""The networks of a search as lines along its axes."""

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import SIZE
from analysis.style import GREY, panels
from analysis.view import View


class Info(NamedTuple):
    """The finished runs as lines: for each axis its values in order, for each run its places, accuracy in percent."""

    axes: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    places: tuple[tuple[int, ...], ...]  # a row a run, in the order of accuracy
    accuracy: tuple[float, ...]
    front: tuple[bool, ...]
    metric: str


def info(view: View) -> Info | None:
    """The finished runs along the columns that vary; None if fewer than two of these do."""
    axis = view.cost or SIZE
    comparable, _ = costs.with_comparable_latencies(view.finished, axis)
    finished = tables.filled(comparable, view.along).sort_values(view.judged_by, kind="stable")
    varied = [name for name in view.along if finished[name].nunique() > 1]
    if len(varied) < 2:
        return None
    levels = [tables.in_order(finished[name].unique().tolist()) for name in varied]
    return Info(
        axes=tuple(varied),
        values=tuple(tuple(map(tables.plain, values)) for values in levels),
        places=tuple(
            tuple(values.index(value) for values, value in zip(levels, row, strict=True))
            for row in finished[varied].itertuples(index=False)
        ),
        accuracy=tuple(100 * finished[view.judged_by].astype(float)),
        front=tuple(costs.front(finished[axis.column], finished[view.judged_by]).tolist()),
        metric=view.metric,
    )


def draw(info: Info, ax: Axes) -> None:
    """Lines from axis to axis, spread a little where they meet; the front in colour, the rest in grey."""
    random = np.random.default_rng(0)
    colors = mpl.colormaps["viridis"]
    norm = mpl.colors.Normalize(min(info.accuracy), max(info.accuracy))
    for places, accuracy, is_best in zip(info.places, info.accuracy, info.front, strict=True):
        heights = [
            place / max(1, len(values) - 1) + random.uniform(-0.025, 0.025)
            for place, values in zip(places, info.values, strict=True)
        ]
        color = colors(norm(accuracy)) if is_best else "#cccccc"
        ax.plot(
            range(len(heights)), heights, color=color, linewidth=2.0 if is_best else 0.7, zorder=3 if is_best else 2
        )
    for place, values in enumerate(info.values):
        ax.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for i, value in enumerate(values):
            ax.annotate(
                value, (place, i / max(1, len(values) - 1)), xytext=(4, 0), textcoords="offset points", fontsize=8.5,
                va="center", zorder=4, bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )  # fmt: skip
    ax.set_xticks(range(len(info.axes)), info.axes)
    ax.set_xlim(-0.1, len(info.axes) - 1 + 0.35)
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_title("Networks trained to the end; those on the front in colour")
    if ax.figure is not None:
        scale = mpl.cm.ScalarMappable(norm, colors)
        ax.figure.colorbar(scale, ax=ax, label=f"{info.metric}, %", pad=0.01)


def figure(view: View) -> Figure | None:
    """The networks of a search as lines; None if fewer than two columns vary."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=2.5 + 1.1 * len(shown.axes), height=4.2)
    draw(shown, ax)
    return whole
