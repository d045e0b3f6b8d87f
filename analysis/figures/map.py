"""The map: expected accuracy over two metaparameters, and how sure it is."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from analysis import tables
from analysis.figures.curve import NAMES
from analysis.style import ORANGE, RED, panels
from fire.errors import require
from sweep.map.stored import Map

CLASSES = 8  # of cost, equally wide on a logarithmic scale: the line of the best networks has a point in each
COLOURS = "cividis"  # which people with any colour vision can read
TITLES = ("expected validation top-1, %", "half of the 90 % band, percentage points")
OUTLINE = withStroke(linewidth=4, foreground="white")  # of lines, which have all colours behind them
LONGEST_LINE = 64  # characters of a title

Floats = NDArray[np.float64]
Rows = Sequence[Sequence[float | None]]


class Mark(NamedTuple):
    """A trained network by its places along x and y. inside: whether its other settings are those of the figure."""

    x: float
    y: float
    inside: bool


class Line(NamedTuple):
    """The places of the best network in each class of a cost, the cheapest first."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Info(NamedTuple):
    """Expected validation accuracy, and half of its 90 % band, in percent; tables with a row for each value of y.

    NaN: there is no such network. xs, ys: the places of the values: numbers at themselves, texts at 0, 1, 2.
    """

    title: str
    x: str
    y: str
    values: tuple[tuple[Any, ...], tuple[Any, ...]]
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    accuracy: Floats
    half: Floats
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]


def info(made: Map, runs: pd.DataFrame, x: str | None = None, y: str | None = None) -> Info | None:
    """The map over two of its axes, by default its first ones; None if it has one axis alone.

    runs: of the results, to mark those that the map was fitted to. Raises SpecError for a metaparameter that was not
    varied.
    """
    for field, name in (("x", x), ("y", y)):
        varied = f"a metaparameter that the runs vary ({', '.join(made.axes)})"
        require(name is None or name in made.axes, field, varied, name)
    require(x is None or x != y, "y", "another metaparameter than x", y)
    plane = next((each for each in made.planes if {x, y} - {None} <= {each.x, each.y}), None)
    if plane is None:
        return None
    turned = plane.x == y or plane.y == x
    rows: tuple[Rows, ...] = (plane.top1, plane.low, plane.high, plane.macs, plane.peak_ram_bytes)
    top1, low, high, macs, ram = (_table(each, turned) for each in rows)
    x, y = (plane.y, plane.x) if turned else (plane.x, plane.y)
    xs, ys = (_places(made.axes[name]) for name in (x, y))
    others = {name: value for name, value in made.typical.items() if name not in (x, y)}
    setting = " ".join(f"{name}={tables.plain(value)}" for name, value in others.items())
    return Info(
        title=f"{tables.setting_of(_fitted(made, runs))}{f'; {setting}' if setting else ''}",
        x=x,
        y=y,
        values=(tuple(made.axes[x]), tuple(made.axes[y])),
        xs=tuple(xs),
        ys=tuple(ys),
        accuracy=100 * top1,
        half=50 * (high - low),
        lines=(_line("MACs", top1, macs, xs, ys), _line("peak RAM", top1, ram, xs, ys)),
        marks=_marks(made, _fitted(made, runs), x, y),
    )


def _fitted(made: Map, runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["key"].isin(made.keys)]


def _table(rows: Rows, turned: bool) -> Floats:
    found = np.array(rows, np.float64)  # None becomes NaN
    return found.T if turned else found


def _places(values: Sequence[Any]) -> list[float]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return [float(value) for value in values] if numbers else [float(place) for place in range(len(values))]


def _line(name: str, top1: Floats, cost: Floats, xs: Sequence[float], ys: Sequence[float]) -> Line:
    """The line through the best network of each class of cost."""
    known = ~np.isnan(cost) & ~np.isnan(top1)
    if not known.any():
        return Line(f"best at equal {name}", (), ())
    edges = np.geomspace(cost[known].min(), cost[known].max(), CLASSES + 1)
    classes = np.digitize(cost, edges[1:-1])
    best = []
    for number in range(CLASSES):
        among = np.where(known & (classes == number), top1, -np.inf)
        if np.isfinite(among).any():
            best.append(divmod(int(np.argmax(among)), len(xs)))
    return Line(f"best at equal {name}", tuple(xs[column] for _, column in best), tuple(ys[row] for row, _ in best))


def _marks(made: Map, fitted: pd.DataFrame, x: str, y: str) -> tuple[Mark, ...]:
    """The trained networks, once each place: inside if one there is."""
    found: dict[tuple[float, float], bool] = {}
    known = [name for name in made.axes if name in fitted]
    for row in fitted[known].to_dict("records") if {x, y} <= set(known) else ():
        inside = all(row[name] == made.typical[name] for name in known if name not in (x, y))
        place = (_place(made.axes[x], row[x]), _place(made.axes[y], row[y]))
        if np.isfinite(place).all():
            found[place] = found.get(place, False) or inside
    return tuple(Mark(*place, inside) for place, inside in found.items())


def _place(values: Sequence[Any], value: Any) -> float:
    """Where a value lies along an axis; NaN if nowhere."""
    places = dict(zip(values, _places(values), strict=True))
    between = isinstance(value, float) and isinstance(values[0], float)
    return float(places.get(value, value if between else np.nan))


def draw(info: Info, table: Floats, ax: Axes) -> QuadMesh:
    """A cell for each network, the lines of the best, and the trained networks: filled where all settings agree."""
    ax.grid(visible=False)
    # As pixels: in an SVG file the background would shine through between the cells.
    mesh = ax.pcolormesh(
        info.xs, info.ys, np.ma.masked_invalid(table), shading="nearest", cmap=COLOURS, rasterized=True
    )
    for line, color, dashes in zip(info.lines, (ORANGE, RED), ("-", "--"), strict=True):
        ax.plot(line.x, line.y, dashes, color=color, linewidth=2, label=line.name, path_effects=[OUTLINE])
    looks = (True, "white", "black", "trained"), (False, "none", "#bbbbbb", "trained, other settings differ")
    for inside, color, edge, label in looks:
        chosen = [mark for mark in info.marks if mark.inside == inside]
        if chosen:
            x, y = [mark.x for mark in chosen], [mark.y for mark in chosen]
            ax.scatter(x, y, s=30, facecolors=color, edgecolors=edge, linewidths=1.2, label=label, zorder=3)
    for axis, name, places, values in (
        (ax.xaxis, info.x, info.xs, info.values[0]),
        (ax.yaxis, info.y, info.ys, info.values[1]),
    ):
        if any(isinstance(value, str | bool) for value in values):
            axis.set_ticks(places, [str(value) for value in values])
        axis.set_label_text(NAMES.get(name, name))
    return mesh


def figure(made: Map, runs: pd.DataFrame, x: str | None = None, y: str | None = None) -> Figure | None:
    """The expectation, and beside it half of the band; None where the map has one axis alone."""
    shown = info(made, runs, x, y)
    if shown is None:
        return None
    whole, axes = panels(columns=2, width=5.4, height=4.2)
    for ax, table, label in zip(axes, (shown.accuracy, shown.half), TITLES, strict=True):
        whole.colorbar(draw(shown, table, ax), ax=ax, label=label)
    axes[0].set_title(textwrap.fill(shown.title, LONGEST_LINE))
    axes[1].set_title("how sure the map is")
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
    return whole
