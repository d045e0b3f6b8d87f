"""A Gaussian process from networks to accuracy, with a band that is checked against the runs it was fitted to.

Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapters 2 and 5. The band is that of the
jackknife: Barber et al. 2021, "Predictive inference with the jackknife+", arXiv:1905.02928, on standardised residuals.
"""

import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.cost import COSTS
from fire.errors import require

LEAST_NETWORKS = 10  # fewer say next to nothing about a dozen columns
MOST_NETWORKS = 300  # that are fitted: the time grows with their third power
CONFIDENCE = 0.9  # of the band
REFITTED = 40  # up to as many networks: the hyperparameters too are fitted without the one that is predicted
CHUNK = 2**15  # networks that are predicted at a time: memory does not grow with their number
WEIGHTS = (0.1, 1.0)  # of a setting where a cost weighs 1: most of what a setting does, it does through the costs
NOISE = (0.01, 1.0)  # bounds on its variance, where that of the targets is 1: with less, a process fits 20 runs exactly
TOP1 = (1e-3, 1 - 1e-3)  # accuracies beyond these count as these: no error at all would be far from all others
# The costs to learn from: the others follow from them.
COLUMNS = ("parameters", "macs", "activations", "peak_ram_bytes")

Floats = NDArray[np.float64]
Columns = Mapping[str, NDArray[Any]]  # costs and settings of networks, each an array of shape (networks,)


class Expectation(NamedTuple):
    """Expected accuracies, fractions of 1, and the ends of their band, each of shape (networks,)."""

    top1: Floats
    low: Floats
    high: Floats


class Encoder:
    """Columns of networks as a matrix: costs as logarithms, numbers as they are, a column for each text but the first.

    Each column of the matrix has mean 0 and variance 1 over the networks that the encoder was made from. Columns that
    do not differ among these are left out: nothing can be learned of them. The first columns are those of costs; how
    many they are is `costs`.
    """

    def __init__(self, columns: Columns) -> None:
        self.texts = {
            name: sorted(set(values.tolist())) for name, values in columns.items() if values.dtype.kind in "OU"
        }
        self.logarithms = [name for name in columns if name in COSTS]
        self.numbers = [name for name in columns if name not in {*self.texts, *self.logarithms}]
        raw = self._raw(columns)
        self._kept = raw.max(axis=0) > raw.min(axis=0)
        self.costs = int(self._kept[: len(self.logarithms)].sum())
        self._mean, self._deviation = raw[:, self._kept].mean(axis=0), raw[:, self._kept].std(axis=0)

    def matrix(self, columns: Columns) -> Floats:
        """Shape (networks, features). Raises InputError for a text that none of the encoder's networks had."""
        for name, known in self.texts.items():
            for value in sorted(set(columns[name].tolist()) - set(known)):
                require(False, name, f"one of those of the map ({', '.join(known)})", value)
        found: Floats = (self._raw(columns)[:, self._kept] - self._mean) / self._deviation
        return found

    def _raw(self, columns: Columns) -> Floats:
        costs = [np.log(columns[name].astype(float)) for name in self.logarithms]
        numbers = [columns[name].astype(float) for name in self.numbers]
        flags = [(columns[name] == value).astype(float) for name, known in self.texts.items() for value in known[1:]]
        return np.column_stack([*costs, *numbers, *flags])


class Surrogate:
    """Expected accuracy of networks, learned from the accuracies of some.

    The process is a linear function of the features and a smooth deviation from it; its target is the logarithm of the
    error. Settings weigh less than costs, by that one of WEIGHTS which makes the accuracies most likely. Features: of
    the trained networks, by an Encoder that was made from the networks to be predicted; costs: how many of the
    features, the first ones, are costs. Raises InputError for fewer than LEAST_NETWORKS.
    """

    def __init__(self, features: Floats, top1: Floats, costs: int) -> None:
        require(len(top1) >= LEAST_NETWORKS, "a map", f"of {LEAST_NETWORKS} trained networks or more", len(top1))
        require(features.shape[1] > 0, "a map", "of networks that differ in a setting", "none that do")
        self._error = _error(top1)
        cost = np.arange(features.shape[1]) < costs
        fits = [
            (weights, _fitted(features * weights, self._error))
            for weights in np.where(cost, 1, np.array(WEIGHTS)[:, None])
        ]
        self._weights, self._process = max(fits, key=lambda fit: fit[1].log_marginal_likelihood_value_)

    @functools.cached_property
    def _width(self) -> float:
        return _width(self._process.X_train_, self._error, self._process.kernel_)

    def expect(self, features: Floats) -> Expectation:
        """The expectation of networks with these features, each with a band.

        The band is for a mean over as many seeds as the networks have that it learned from.
        """
        parts = [self._part(features[start : start + CHUNK]) for start in range(0, len(features), CHUNK)]
        return Expectation(*np.concatenate(parts, axis=1)) if parts else Expectation(*np.empty((3, 0)))

    def _part(self, features: Floats) -> Floats:
        """Shape (3, networks): the fields of an Expectation."""
        mean, deviation = self._process.predict(features * self._weights, return_std=True)
        half = self._width * deviation
        found: Floats = np.maximum(0, 1 - np.exp(np.stack([mean, mean + half, mean - half])))
        return found

    def above(self, features: Floats, levels: Floats) -> Floats:
        """By how much the accuracy is expected to exceed each level, where it does, times how likely that is.

        Shape (networks, levels), fractions of 1. The error is log-normal, so the formula is that of the price of a put:
        Black and Scholes 1973.
        """
        from scipy.special import ndtr

        mean, deviation = self._process.predict(features * self._weights, return_std=True)
        mean, deviation = mean[:, None], deviation[:, None]
        levels = np.clip(levels, *TOP1)
        lower = (_error(levels) - mean) / deviation
        found: Floats = (1 - levels) * ndtr(lower) - np.exp(mean + deviation**2 / 2) * ndtr(lower - deviation)
        return found

    def narrowing(self, features: Floats, known: Floats | None = None) -> Iterator[int]:
        """The places of networks whose runs narrow the band over all of `features` most, the best first.

        Greedy, by the mean variance that is left: Cohn 1996, "Neural network exploration using optimal experiment
        design". known: features of networks whose runs are under way.
        """
        from scipy.linalg import solve_triangular

        process = self._process
        latent, noise = process.kernel_.k1, process.kernel_.k2.noise_level
        others = np.empty((0, features.shape[1])) if known is None else known
        rows = np.concatenate([others, features]) * self._weights
        reduced = solve_triangular(process.L_, latent(process.X_train_, rows), lower=True)
        covariance = latent(rows) - reduced.T @ reduced
        done = list(range(len(others)))
        for place in done:
            covariance = _observed(covariance, place, noise)
        while len(done) < len(rows):
            gain = (covariance[len(others) :] ** 2).sum(axis=0) / (np.diag(covariance) + noise)
            gain[done] = -np.inf
            done.append(int(np.argmax(gain)))
            yield done[-1] - len(others)
            covariance = _observed(covariance, done[-1], noise)


def _observed(covariance: Floats, place: int, noise: float) -> Floats:
    """The covariance that is left when there is a run at this place."""
    column = covariance[place]
    found: Floats = covariance - np.outer(column, column) / (column[place] + noise)
    return found


def thinned(networks: int) -> NDArray[np.intp]:
    """The places of at most MOST_NETWORKS of this many networks, evenly spread."""
    return np.unique(np.linspace(0, networks - 1, min(networks, MOST_NETWORKS)).astype(np.intp))


def _fitted(features: Floats, error: Floats, kernel: Any = None, *, keep: bool = False) -> Any:
    """The process with the hyperparameters that make these runs most likely.

    kernel: with hyperparameters to begin from. keep: keep these.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor  # here: takes a second
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    if kernel is None:
        linear = ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(sigma_0=0, sigma_0_bounds="fixed")
        smooth = ConstantKernel(0.1, (1e-4, 1e2)) * RBF(math.sqrt(features.shape[1]), (1.0, 1e2))
        kernel = (linear + smooth) + WhiteKernel(0.05, NOISE)
    optimizer = None if keep else "fmin_l_bfgs_b"
    process = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a hyperparameter at its bound, as with runs that are all alike
        return process.fit(features, error)


def _width(features: Floats, error: Floats, kernel: Any) -> float:
    """Within how many standard deviations CONFIDENCE of the runs lie, each predicted by a process without it."""
    residuals = []
    for out in range(len(error)):
        others = np.arange(len(error)) != out
        process = _fitted(features[others], error[others], kernel, keep=len(error) > REFITTED)
        mean, deviation = process.predict(features[[out]], return_std=True)
        residuals.append(float(abs(error[out] - mean[0]) / deviation[0]))
    rank = math.ceil((len(error) + 1) * CONFIDENCE)
    return sorted(residuals)[min(rank, len(error)) - 1]


def _error(top1: Floats) -> Floats:
    """The logarithm of the part of the images that is classified wrongly."""
    error: Floats = np.log(1 - np.clip(top1, *TOP1))
    return error
