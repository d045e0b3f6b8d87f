"""Sub-spaces of a search compared at matched size."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import tables
from analysis.style import CYCLE, panels
from analysis.view import View

BINS = 4  # of size, within which sub-spaces are compared


class Info(NamedTuple):
    """For each sub-space the accuracies of its runs in percent, ascending, and which part of them is no better.

    matched: the bins of size, in MiB, that hold runs of all sub-spaces, and in which each sub-space weighs the same.
    """

    group: str
    names: tuple[str, ...]
    accuracy: tuple[tuple[float, ...], ...]
    part: tuple[tuple[float, ...], ...]
    counts: tuple[int, ...]
    matched: tuple[tuple[float, float], ...]
    metric: str


def info(view: View) -> Info | None:
    """Empirical distributions of accuracy at matched size: Radosavovic et al. 2019, "On Network Design Spaces".

    Runs are binned by their size, and weighed so that each bin counts alike in all sub-spaces. None if there are not
    two sub-spaces with a bin in common.
    """
    if view.group is None:
        return None
    finished, group = view.finished, view.group
    names = [str(name) for name in tables.in_order(finished[group].dropna().unique().tolist())]
    if len(names) < 2:
        return None
    size = finished["size_mib"].to_numpy(np.float64)
    of = finished[group].astype(str).to_numpy()
    quality = 100 * finished[view.judged_by].to_numpy(np.float64)
    edges = np.unique(np.quantile(size, np.linspace(0, 1, BINS + 1)))
    bins = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, max(0, len(edges) - 2))
    common = [b for b in range(len(edges) - 1) if all(((bins == b) & (of == name)).any() for name in names)]
    if not common:
        return None
    accuracies, parts, counts = [], [], []
    for name in names:
        chosen = (of == name) & np.isin(bins, common)
        weights = np.array([1 / (len(common) * ((bins == b) & chosen).sum()) for b in bins[chosen]])
        order = np.argsort(quality[chosen], kind="stable")
        accuracies.append(tuple(quality[chosen][order].tolist()))
        parts.append(tuple(np.cumsum(weights[order]).tolist()))
        counts.append(int(chosen.sum()))
    matched = tuple((float(edges[b]), float(edges[b + 1])) for b in common)
    return Info(group, tuple(names), tuple(accuracies), tuple(parts), tuple(counts), matched, view.metric)


def draw(info: Info, ax: Axes) -> None:
    """A staircase for each sub-space: the further right, the better its networks."""
    lowest = min(values[0] for values in info.accuracy)
    highest = max(values[-1] for values in info.accuracy)
    groups = zip(info.names, info.accuracy, info.part, info.counts, strict=True)
    for color, (name, values, part, n) in zip(itertools.cycle(CYCLE), groups, strict=False):
        xs, ys = (lowest, *values, highest), (0.0, *part, 1.0)
        ax.step(xs, ys, where="post", color=color, linewidth=1.8, label=f"{info.group} {name} (n = {n})")
    ax.set_xlabel(f"{info.metric} accuracy, %")
    ax.set_ylabel("part of the networks with at most that")
    ax.set_title(f"At matched size, {' and '.join(_intervals(info.matched))} MiB")
    ax.set_ylim(0, 1.02)
    ax.legend(loc="upper left")


def _intervals(bins: Sequence[tuple[float, float]]) -> list[str]:
    """The bins as texts, neighbours joined."""
    ends: list[tuple[float, float]] = []
    for low, high in bins:
        begin = ends.pop()[0] if ends and ends[-1][1] == low else low
        ends.append((begin, high))
    return [f"{low:.3g} to {high:.3g}" for low, high in ends]


def figure(view: View) -> Figure | None:
    """Sub-spaces compared at matched size; None if there are not two with sizes in common."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=5.6, height=3.8)
    draw(shown, ax)
    return whole
