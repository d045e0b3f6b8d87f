"""What a search found: hypervolume over cost, importance of metaparameters, sub-spaces compared at matched size.

All of runs that were trained to the end; those that were stopped early only add to the cost.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from analysis.figures import BLUE, CYCLE, GREY, SIZE, Cost
from analysis.stats import hypervolume, pareto_front
from analysis.tables import plain

GRID_ROWS = 20_000  # of a space, over which the forest's variance is taken
BINS = 4  # of size, in which sub-spaces are compared
FEWEST = 8  # finished runs, below which a forest says nothing


# Objectives that are costs, by their names.
COSTS = {
    "size_bytes": SIZE,
    "macs": Cost("macs", "multiply-accumulates of an image, millions", 1e-6),
    "latency": Cost("latency_seconds", "latency of one image, ms", 1e3),
}


def cost_of(objectives: Sequence[str], finished: pd.DataFrame) -> Cost:
    """The first of the search's objectives that is a cost and known of a finished run; else size."""
    costs = (COSTS[name] for name in objectives if name in COSTS)
    return next((cost for cost in costs if finished[cost.column].notna().any()), SIZE)


def with_comparable_latencies(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The runs with latencies of one machine, device and number of threads only, that of most finished runs; and how
    many finished runs are without theirs for that."""
    place = runs.groupby(["host", "device", "threads"], dropna=False, sort=False).ngroup()
    timed = (runs["status"] == "finished") & runs["latency_seconds"].notna()
    here = place.isin(place[timed].mode().head(1))
    return runs.assign(latency_seconds=runs["latency_seconds"].where(here)), int((timed & ~here).sum())


def front(finished: pd.DataFrame, cost: Cost = SIZE) -> NDArray[np.bool_]:
    """Which finished runs no other beats in cost and validation accuracy."""
    return pareto_front(finished[cost.column], finished["validation_top1"])


class HypervolumeInfo(NamedTuple):
    """After each run of a search: what it cost so far in epochs x GMACs an image, and the hypervolume, 1 in the end.

    The hypervolume is over the logarithm of the objective that is a cost, up to the largest and down to the worst that
    were trained to the end. A run that was stopped and went on stands at its last end, with all of its
    epochs; failed runs, of which no record says how far they came, cost nothing here.
    """

    cost: tuple[float, ...]
    volume: tuple[float, ...]
    finished: int
    stopped: int


def hypervolume_info(runs: pd.DataFrame, objective: Cost = SIZE, metric: str = "validation_top1") -> HypervolumeInfo:
    """The runs of a search in the order in which they ended; those stopped early cost the epochs that they trained."""
    runs = runs.sort_values(["end", "key"], kind="stable")
    finished = ((runs["status"] == "finished") & runs[objective.column].notna()).to_numpy()
    size = np.log10(runs[objective.column].to_numpy(np.float64))
    quality = runs[metric].to_numpy(np.float64)
    cost = np.cumsum(runs["epochs"].fillna(0).to_numpy(np.float64) * runs["macs"].to_numpy(np.float64)) / 1e9
    reference = (float(size[finished].max()), float(quality[finished].min()))
    volumes = [
        hypervolume(size[: n + 1][finished[: n + 1]], quality[: n + 1][finished[: n + 1]], reference)
        for n in range(len(runs))
    ]
    whole = volumes[-1] or 1.0
    return HypervolumeInfo(
        cost=tuple(cost),
        volume=tuple(volume / whole for volume in volumes),
        finished=int(finished.sum()),
        stopped=int((runs["status"] == "stopped").sum()),
    )


def draw_hypervolume(info: HypervolumeInfo, ax: Axes) -> None:
    """A staircase that rises to 1."""
    ax.step((0, *info.cost), (0, *info.volume), where="post", color=BLUE, linewidth=1.8)
    ax.set_ylim(0, 1.05)
    ax.set_xlim(0, None)
    ax.set_xlabel("cost: epochs x GMACs an image")
    ax.set_ylabel("hypervolume, of the final one")
    ax.set_title(f"{info.finished} runs to the end, {info.stopped} stopped early")


class ImportanceInfo(NamedTuple):
    """For each metaparameter, the largest first, the part of the accuracy's variance that it explains by itself.

    shares are means over the trees of a forest, spreads their standard deviations; what is missing to 1 is of
    interactions. r2: how much of the runs' variance the forest explains on runs that it has not seen.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    spreads: tuple[float, ...]
    r2: float


def importance_info(
    runs: pd.DataFrame, columns: Sequence[str], metric: str = "validation_top1"
) -> ImportanceInfo | None:
    """fANOVA (Hutter et al. 2014): main effects of a random forest over the whole grid of the values that occur.

    None for fewer than 8 finished runs, or if all are equally good.
    """
    finished = runs[runs["status"] == "finished"]
    varied = [name for name in columns if finished[name].nunique() > 1]
    if len(finished) < FEWEST or not varied:
        return None
    levels = [sorted(finished[name].unique(), key=str) for name in varied]
    encoded = [_encoded(values) for values in levels]  # a row for each level
    places = np.array([[values.index(value) for values, value in zip(levels, row, strict=True)]
                       for row in finished[varied].itertuples(index=False)])  # fmt: skip
    forest = RandomForestRegressor(n_estimators=64, random_state=0, oob_score=True, n_jobs=1)
    forest.fit(_features(places, encoded), finished[metric].to_numpy(np.float64))
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
    return ImportanceInfo(
        names=tuple(varied[i] for i in order),
        shares=tuple(mean[order]),
        spreads=tuple(spread[order]),
        r2=float(forest.oob_score_),
    )


def _encoded(values: Sequence[object]) -> NDArray[np.float64]:
    """Numbers as they are, others a column each."""
    if all(isinstance(value, int | float | np.number) for value in values):
        return np.array(values, np.float64)[:, None]
    return np.eye(len(values))


def _features(places: NDArray[np.intp], encoded: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.hstack([table[column] for table, column in zip(encoded, places.T, strict=True)])


def _grid(counts: Sequence[int]) -> NDArray[np.intp]:
    """All points of the grid, or as many drawn at random as are enough."""
    if np.prod(counts, dtype=float) <= GRID_ROWS:
        return np.array(list(itertools.product(*map(range, counts))), np.intp)
    random = np.random.default_rng(0)
    return np.stack([random.integers(count, size=GRID_ROWS) for count in counts], axis=1)


def _effect(column: NDArray[np.intp], predicted: NDArray[np.float64]) -> float:
    """Variance of the means over all other axes."""
    counts = np.bincount(column)
    means = np.bincount(column, predicted) / np.maximum(counts, 1)
    return float(np.average((means - predicted.mean()) ** 2, weights=counts))


def draw_importance(info: ImportanceInfo, ax: Axes) -> None:
    """A bar for each metaparameter, the most important on top."""
    places = np.arange(len(info.names))[::-1]
    ax.barh(places, info.shares, xerr=info.spreads, color=BLUE, ecolor=GREY, height=0.6, error_kw={"elinewidth": 1})
    ax.set_yticks(places, info.names)
    ax.set_xlim(0, min(1.0, max(s + e for s, e in zip(info.shares, info.spreads, strict=True)) * 1.1))
    ax.set_xlabel("part of the variance of validation top-1")
    ax.set_title(f"Main effects (forest: R² {info.r2:.2f} out of bag)")
    ax.grid(visible=False, axis="y")


class ParallelInfo(NamedTuple):
    """The finished runs as lines: for each axis its values in order, for each run its places, accuracy in percent."""

    axes: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    places: tuple[tuple[int, ...], ...]  # a row a run, in the order of accuracy
    accuracy: tuple[float, ...]
    front: tuple[bool, ...]


def parallel_info(
    runs: pd.DataFrame, columns: Sequence[str], cost: Cost = SIZE, metric: str = "validation_top1"
) -> ParallelInfo:
    """Along the columns that vary."""
    finished = runs[runs["status"] == "finished"].sort_values(metric, kind="stable")
    varied = [name for name in columns if finished[name].nunique() > 1]
    levels = [_sorted(finished[name].unique().tolist()) for name in varied]
    return ParallelInfo(
        axes=tuple(varied),
        values=tuple(tuple(map(plain, values)) for values in levels),
        places=tuple(
            tuple(values.index(value) for values, value in zip(levels, row, strict=True))
            for row in finished[varied].itertuples(index=False)
        ),
        accuracy=tuple(100 * finished[metric].astype(float)),
        front=tuple(bool(is_best) for is_best in front(finished, cost)),
    )


def _sorted(values: list[object]) -> list[object]:
    order = {"none": 0, "simple": 1, "complex": 2}
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, order.get(str(v), 3), str(v)))


def draw_parallel(info: ParallelInfo, ax: Axes) -> None:
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
        ax.figure.colorbar(scale, ax=ax, label="validation top-1, %", pad=0.01)


class DistributionInfo(NamedTuple):
    """For each sub-space the accuracies of its runs in percent, ascending, and what part has at most each.

    matched: the bins of size, in MiB, that hold runs of all sub-spaces, and in which each sub-space weighs the same.
    """

    group: str
    names: tuple[str, ...]
    accuracy: tuple[tuple[float, ...], ...]
    part: tuple[tuple[float, ...], ...]
    counts: tuple[int, ...]
    matched: tuple[tuple[float, float], ...]


def distribution_info(runs: pd.DataFrame, group: str, metric: str = "validation_top1") -> DistributionInfo | None:
    """Empirical distributions of accuracy at matched size: Radosavovic et al. 2019, "On Network Design Spaces".

    Runs are binned by the logarithm of their size, and weighed so that each bin counts alike in all sub-spaces.
    None if there are not two sub-spaces with a bin in common.
    """
    finished = runs[runs["status"] == "finished"]
    names = [str(name) for name in _sorted(finished[group].dropna().unique().tolist())]
    if len(names) < 2:
        return None
    size = finished["size_mib"].to_numpy(np.float64)
    of = finished[group].astype(str).to_numpy()
    quality = 100 * finished[metric].to_numpy(np.float64)
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
    return DistributionInfo(group, tuple(names), tuple(accuracies), tuple(parts), tuple(counts), matched)


def draw_distribution(info: DistributionInfo, ax: Axes) -> None:
    """A staircase for each sub-space: the further right, the better its networks."""
    lowest = min(values[0] for values in info.accuracy)
    highest = max(values[-1] for values in info.accuracy)
    groups = zip(info.names, info.accuracy, info.part, info.counts, strict=True)
    for color, (name, values, part, n) in zip(itertools.cycle(CYCLE), groups, strict=False):
        xs, ys = (lowest, *values, highest), (0.0, *part, 1.0)
        ax.step(xs, ys, where="post", color=color, linewidth=1.8, label=f"{info.group} {name} (n = {n})")
    ax.set_xlabel("validation top-1 accuracy, %")
    ax.set_ylabel("part of the networks with at most that")
    low, high = info.matched[0][0], info.matched[-1][1]
    ax.set_title(f"At matched size, {low:.3g} to {high:.3g} MiB")
    ax.set_ylim(0, 1.02)
    ax.legend(loc="upper left")
