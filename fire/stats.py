"""Statistics of results: means over seeds, and the networks that no other beats. Arrays in, arrays out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval; the ends are NaN for a single value."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The mean of independent values (seeds) with Student's t interval. NaN values are missing."""
    from scipy.special import stdtrit  # here, as it takes a third of a second, and each command imports this module

    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(known.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan, 1)
    half = float(stdtrit(n - 1, (1 + confidence) / 2) * known.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def pareto_front(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which rows no other row beats. losses: shape (points, objectives), all minimised.

    A row beats another if it is nowhere worse and somewhere better, so equal rows are on the front together. A row with
    a NaN is never on the front, and beats none.
    """
    rows = _rows(losses)
    front = np.zeros(len(rows), bool)
    left = np.lexsort(rows.T)
    left = left[~np.isnan(rows[left]).any(axis=1)]
    while len(left):
        first = rows[left[0]]  # the lexicographically smallest row: none of the others beats it
        front[left[(rows[left] == first).all(axis=1)]] = True
        left = left[~(rows[left] >= first).all(axis=1)]
    return front


def ranks(losses: ArrayLike) -> NDArray[np.intp]:
    """The non-dominated rank of each row: 0 on the Pareto front, 1 on the front of the others, and so on.

    losses: as in pareto_front. Rows with a NaN have the highest rank of all.
    """
    rows = _rows(losses)
    found = np.full(len(rows), len(rows), np.intp)
    left = np.flatnonzero(~np.isnan(rows).any(axis=1))
    rank = 0
    while len(left):
        front = pareto_front(rows[left])
        found[left[front]] = rank
        left = left[~front]
        rank += 1
    return found


def _rows(losses: ArrayLike) -> NDArray[np.float64]:
    """The losses as an array of two dimensions, an empty list too."""
    rows = np.asarray(losses, np.float64)
    return rows if len(rows) else np.empty((0, 1))


def hypervolume(cost: ArrayLike, quality: ArrayLike, reference: tuple[float, float]) -> float:
    """The area that the points dominate, up to the reference (highest cost, lowest quality); points beyond add none."""
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
