"""Which metaparameters matter: fANOVA (Hutter et al. 2014)."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from analysis import tables
from analysis.style import BLUE, GREY, panels
from analysis.view import View

GRID_ROWS = 20_000  # points of the space over which the forest's variance is computed, at most
FEWEST = 8  # finished runs; a forest of fewer says nothing


class Info(NamedTuple):
    """For each metaparameter, the largest first, the share of the accuracy's variance that it explains by itself.

    shares are means over the trees of a forest, spreads their standard deviations; the rest to 1 belongs to
    interactions. r2: the share of the runs' variance that the forest explains on runs that it has not seen.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    spreads: tuple[float, ...]
    r2: float
    metric: str


def info(view: View) -> Info | None:
    """fANOVA (Hutter et al. 2014): main effects of a random forest over the whole grid of the values that occur.

    None for fewer than 8 finished runs, or if all are equally good.
    """
    finished = tables.filled(view.finished, view.along)
    varied = [name for name in view.along if finished[name].nunique() > 1]
    if len(finished) < FEWEST or not varied:
        return None
    levels = [sorted(finished[name].unique(), key=str) for name in varied]
    encoded = [_encoded(values) for values in levels]  # a row for each level
    places = np.array([[values.index(value) for values, value in zip(levels, row, strict=True)]
                       for row in finished[varied].itertuples(index=False)])  # fmt: skip
    forest = RandomForestRegressor(n_estimators=64, random_state=0, oob_score=True, n_jobs=1)
    forest.fit(_features(places, encoded), finished[view.judged_by].to_numpy(np.float64))
    grid = _grid([len(values) for values in levels])
    features = _features(grid, encoded)
    shares = []
    for tree in forest.estimators_:
        predicted = tree.predict(features)
        total = predicted.var()
        effects = [_effect(column, predicted) for column in grid.T]
        if total > 0:
            shares.append([effect / total for effect in effects])
    if not shares:
        return None
    mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0)
    order = np.argsort(-mean, kind="stable")
    return Info(
        names=tuple(varied[i] for i in order),
        shares=tuple(mean[order]),
        spreads=tuple(spread[order]),
        r2=float(forest.oob_score_),
        metric=view.metric,
    )


def draw(info: Info, ax: Axes) -> None:
    """A bar for each metaparameter, the most important on top."""
    places = np.arange(len(info.names))[::-1]
    ax.barh(places, info.shares, xerr=info.spreads, color=BLUE, ecolor=GREY, height=0.6, error_kw={"elinewidth": 1})
    ax.set_yticks(places, info.names)
    ax.set_xlim(0, min(1.0, max(s + e for s, e in zip(info.shares, info.spreads, strict=True)) * 1.1))
    ax.set_xlabel(f"part of the variance of {info.metric}")
    ax.set_title(f"Main effects (forest: R² {info.r2:.2f} out of bag)")
    ax.grid(visible=False, axis="y")


def figure(view: View) -> Figure | None:
    """Which metaparameters matter; None if there are too few finished runs."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=5.6, height=1.4 + 0.3 * len(shown.names))
    draw(shown, ax)
    return whole


def _encoded(values: Sequence[object]) -> NDArray[np.float64]:
    """Features of a metaparameter's values: numbers as they are, other values one column each."""
    if all(isinstance(value, int | float | np.number) for value in values):
        return np.array(values, np.float64)[:, None]
    return np.eye(len(values))


def _features(places: NDArray[np.intp], encoded: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.hstack([table[column] for table, column in zip(encoded, places.T, strict=True)])


def _grid(counts: Sequence[int]) -> NDArray[np.intp]:
    """All points of the grid, or GRID_ROWS of them, drawn at random."""
    if np.prod(counts, dtype=float) <= GRID_ROWS:
        return np.array(list(itertools.product(*map(range, counts))), np.intp)
    random = np.random.default_rng(0)
    return np.stack([random.integers(count, size=GRID_ROWS) for count in counts], axis=1)


def _effect(column: NDArray[np.intp], predicted: NDArray[np.float64]) -> float:
    """Variance of the means over all other axes."""
    counts = np.bincount(column)
    means = np.bincount(column, predicted) / np.maximum(counts, 1)
    return float(np.average((means - predicted.mean()) ** 2, weights=counts))
