"""Statistics of results: arrays in, arrays out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval; the ends are NaN where one value tells nothing of spread."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of independent values (seeds) and Student's t interval of it. Values that are NaN are missing."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(known.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * known.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def pareto_front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats: none costs at most as much and is at least as good, and better in one of the two.

    cost and quality: shape (N,), cost is minimised, quality maximised. A point with a NaN is never on the front.
    """
    costs, qualities = np.asarray(cost, np.float64), np.asarray(quality, np.float64)
    front = np.zeros(costs.shape, bool)
    known = ~(np.isnan(costs) | np.isnan(qualities))
    best, best_cost = -np.inf, np.nan
    for i in np.lexsort((-qualities, costs)):  # by cost, the better first among equals
        if known[i] and (qualities[i] > best or (qualities[i] == best and costs[i] == best_cost)):
            front[i] = True
            best, best_cost = qualities[i], costs[i]
    return front


def hypervolume(cost: ArrayLike, quality: ArrayLike, reference: tuple[float, float]) -> float:
    """Area that the points dominate, up to the reference (highest cost, lowest quality); points beyond it add none."""
    costs, qualities = np.asarray(cost, np.float64), np.asarray(quality, np.float64)
    worst_cost, worst_quality = reference
    inside = (costs < worst_cost) & (qualities > worst_quality)
    costs, qualities = costs[inside], qualities[inside]
    area, reached = 0.0, worst_quality
    for i in np.argsort(costs, kind="stable"):
        if qualities[i] > reached:
            area += (worst_cost - costs[i]) * (qualities[i] - reached)
            reached = qualities[i]
    return float(area)
