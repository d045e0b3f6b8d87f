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


def p_of_zero(values: ArrayLike) -> float:
    """The p of Student's t-test, two-sided, that the mean of independent values is 0; NaN for fewer than two values.

    Of differences between pairs it is the paired t-test.
    """
    from scipy.special import stdtr  # see mean_interval

    found = np.asarray(values, np.float64)
    if len(found) < 2:
        return np.nan
    mean, error = abs(float(found.mean())), float(found.std(ddof=1) / np.sqrt(len(found)))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(len(found) - 1, -mean / error))


class Difference(NamedTuple):
    """The difference of two means with the ends of its confidence interval, and p; all but the first can be NaN."""

    difference: float
    low: float
    high: float
    p: float


def welch(values: ArrayLike, others: ArrayLike, confidence: float = 0.95) -> Difference:
    """The mean of independent values less that of others, by Welch's t-test, which needs no equal variances.

    p is one-sided: of the hypothesis that the mean of the values is not higher. One value has neither interval nor p.
    """
    from scipy.special import stdtr, stdtrit  # see mean_interval

    samples = [np.asarray(each, np.float64) for each in (values, others)]
    difference = float(samples[0].mean() - samples[1].mean())
    if min(map(len, samples)) < 2:
        return Difference(difference, np.nan, np.nan, np.nan)
    parts = np.array([each.var(ddof=1) / len(each) for each in samples])
    error = float(np.sqrt(parts.sum()))
    if error == 0:
        return Difference(difference, difference, difference, 0.0 if difference > 0 else 1.0)
    freedom = float(parts.sum() ** 2 / sum(parts**2 / [len(each) - 1 for each in samples]))  # Welch and Satterthwaite
    half = error * float(stdtrit(freedom, (1 + confidence) / 2))
    return Difference(difference, difference - half, difference + half, float(stdtr(freedom, -difference / error)))


def pareto_front(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which rows no other row beats: those of rank 0."""
    front: NDArray[np.bool_] = ranks(losses) == 0
    return front


def ranks(losses: ArrayLike) -> NDArray[np.intp]:
    """The non-dominated rank of each row: 0 on the Pareto front, 1 on the front of the others, and so on.

    losses: shape (points, objectives), all minimised. A row beats another if it is nowhere worse and somewhere better;
    equal rows share a rank. Rows with a NaN beat none and come last: their rank is the number of rows.
    """
    rows = np.asarray(losses, np.float64)
    if not len(rows):
        return np.zeros(0, np.intp)
    order = np.lexsort(rows.T)  # by the last objective: a row is beaten by rows before it only
    order = order[~np.isnan(rows[order]).any(axis=1)]
    known = rows[order]
    repeated = np.append(False, (known[1:] == known[:-1]).all(axis=1))
    found = np.zeros(len(known), np.intp)
    for i, row in enumerate(known[:, :-1]):
        no_worse = (known[:i, :-1] <= row).all(axis=1)
        found[i] = found[i - 1] if repeated[i] else found[:i][no_worse].max(initial=-1) + 1
    all_ranks = np.full(len(rows), len(rows), np.intp)
    all_ranks[order] = found
    return all_ranks


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
