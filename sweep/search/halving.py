"""Early stopping for several objectives: asynchronous successive halving whose rungs promote by non-dominated rank.

Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving", arXiv:2106.12639, on top of Li et al. 2020,
"A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934. Losses are arrays (points, objectives), all
minimised. Size and operations are exact from the start, so a small network competes with those of its size.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fire.stats import ranks


def crowding(losses: ArrayLike) -> NDArray[np.float64]:
    """The distance between each row's neighbours, summed over objectives; infinite for the ends: Deb et al. 2002."""
    rows = np.asarray(losses, np.float64)
    distances = np.zeros(len(rows))
    for column in rows.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if spread > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distances


def best_first(losses: ArrayLike) -> NDArray[np.intp]:
    """The order of the rows by non-dominated rank, and within a rank by crowding distance, the largest first."""
    rows = np.asarray(losses, np.float64)
    by_rank = ranks(rows)
    distance = np.zeros(len(rows))
    for rank in range(by_rank.max(initial=-1) + 1):
        chosen = by_rank == rank
        distance[chosen] = crowding(rows[chosen])
    return np.lexsort((-distance, by_rank))


def promoted(losses: Mapping[int, Sequence[float]], reduction: int) -> list[int]:
    """The best 1/reduction of the points that reached a rung, the best first. losses: at the rung, by point."""
    points = sorted(losses)  # so ties do not depend on the order in which runs ended
    order = best_first([losses[point] for point in points])
    return [points[place] for place in order[: len(points) // reduction]]
