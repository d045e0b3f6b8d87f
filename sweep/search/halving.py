"""Early stopping for several objectives: asynchronous successive halving whose rungs promote by non-dominated rank.

Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving", arXiv:2106.12639, on top of Li et al. 2020,
"A System for Massively Parallel Hyperparameter Tuning", arXiv:1810.05934. Losses are arrays (points, objectives), all
to be minimised. Size and operations are exact from the start, so a small network competes with those of its size.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fire.stats import ranks


def crowding(losses: ArrayLike) -> NDArray[np.float64]:
    """How far each row's neighbours are apart, summed over objectives; infinite for the ends: Deb et al. 2002."""
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
    """The rows in the order in which they are promoted: by rank, and within a rank those first that stand alone."""
    rows = np.asarray(losses, np.float64)
    by_rank = ranks(rows)
    alone = np.zeros(len(rows))
    for rank in range(by_rank.max(initial=-1) + 1):
        chosen = by_rank == rank
        alone[chosen] = crowding(rows[chosen])
    return np.lexsort((-alone, by_rank))


def promotion(
    reached: Mapping[int, int],
    waiting: Sequence[int],
    losses: Mapping[int, Mapping[int, Sequence[float]]],
    rungs: Sequence[int],
    reduction: int,
) -> tuple[int, int] | None:
    """Which of the waiting points goes on, and up to which epoch; None if none has earned it.

    reached: the epochs that each point has trained; losses: for each rung those of the points that came to it. Of the n
    that came to a rung, the best n // reduction go on. The highest rung is asked first, as it is nearest to a result.
    """
    for rung, following in reversed(list(itertools.pairwise(rungs))):
        points = sorted(losses[rung])  # ties go by number, whatever the order in which things happened
        if len(points) < reduction:
            continue
        order = best_first([losses[rung][point] for point in points])
        for place in order[: len(points) // reduction]:
            point = points[place]
            if point in waiting and reached[point] < following:
                return point, following
    return None
