"""k-means of numbers on a line, for weight sharing."""

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 300


def kmeans(numbers: NDArray[np.float32], clusters: int) -> NDArray[np.float32]:
    """At most `clusters` centroids, ascending, by Lloyd's algorithm from equally spaced ones.

    Han et al. 2015, section 3.1: linear initialisation between the least and the largest number keeps the few large
    weights, which matter most, apart. A cluster that lost all its numbers is left out.
    """
    if not len(numbers):  # of a layer of zeros
        return numbers
    ordered = np.sort(numbers.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centroids = np.linspace(ordered[0], ordered[-1], clusters)
    filled = np.ones(clusters, np.bool_)
    for _ in range(ITERATIONS):
        # A cluster on a line is an interval, so its sum is a difference of two cumulative sums.
        borders = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        ends = np.concatenate([[0], borders, [len(ordered)]])
        counts = np.diff(ends)
        filled = counts > 0
        moved = np.where(filled, np.diff(sums[ends]) / np.maximum(counts, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids[filled].astype(np.float32)


def nearest(numbers: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """The index of each number's nearest centroid; centroids ascend."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, numbers)
