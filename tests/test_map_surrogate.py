"""The Gaussian process of the map: against its closed form, against brute force, and on made-up data."""

import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau

from fire.errors import InputError
from sweep.map.surrogate import Encoder, Surrogate, thinned


def made_up(networks: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, accuracies without noise, and measured ones."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(networks, 4))
    error = np.exp(-2 + features @ [0.2, 0.1, 0, 0] + 0.1 * np.sin(2 * features[:, 2]))
    return features, 1 - error, 1 - error * np.exp(random.normal(0, noise, networks))


def covariances(surrogate: Surrogate, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """The covariance of Rasmussen and Williams's chapter 4 for the fitted hyperparameters, and the noise's variance."""
    kernel = surrogate._process.kernel_
    linear, smooth = kernel.k1.k1.k1.constant_value, kernel.k1.k2.k1.constant_value
    squares = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    return linear * a @ b.T + smooth * np.exp(-squares / 2 / kernel.k1.k2.k2.length_scale**2), kernel.k2.noise_level


def posterior(surrogate: Surrogate, known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the known networks' targets in the mean, (asked, known), and the covariance without noise."""
    inner, noise = covariances(surrogate, known, known)
    across, _ = covariances(surrogate, asked, known)
    weights = across @ np.linalg.inv(inner + noise * np.eye(len(known)))
    return weights, covariances(surrogate, asked, asked)[0] - weights @ across.T


def test_expectation_and_band_are_those_of_the_closed_form():
    features, _, top1 = made_up(30, 0.02)
    asked = made_up(20, 0, seed=1)[0]
    surrogate = Surrogate(features, top1, costs=4)
    found = surrogate.expect(asked)
    target = np.log(1 - top1)
    weights, covariance = posterior(surrogate, features, asked)
    mean = target.mean() + target.std() * (weights @ ((target - target.mean()) / target.std()))
    deviation = target.std() * np.sqrt(np.diag(covariance) + covariances(surrogate, asked, asked)[1])
    assert 1 - found.top1 == pytest.approx(np.exp(mean), rel=1e-6)
    widths = (np.log(1 - found.low) - mean) / deviation
    assert widths == pytest.approx(np.full(20, widths[0]), rel=1e-5), "the same number of standard deviations each"
    assert (mean - np.log(1 - found.high)) / deviation == pytest.approx(widths, rel=1e-5)
    assert widths[0] > 1


def test_what_is_above_a_level_is_that_of_many_draws():
    features, _, top1 = made_up(30, 0.02)
    asked = made_up(5, 0, seed=1)[0]
    surrogate = Surrogate(features, top1, costs=4)
    levels = np.array([0.5, 0.86, 0.9])
    mean, deviation = surrogate._process.predict(asked, return_std=True)
    error = np.exp(mean + deviation * np.random.default_rng(0).normal(size=(200_000, 5)))
    drawn = np.maximum(0, 1 - error[..., None] - levels).mean(axis=0)
    assert surrogate.above(asked, levels) == pytest.approx(drawn, abs=2e-4)


def test_nothing_is_gained_above_an_accuracy_that_cannot_be():
    features, _, top1 = made_up(30, 0.02)
    surrogate = Surrogate(features, top1, costs=4)
    found = surrogate.above(20 * features, np.array([1.0, 1.02]))  # far from all runs it is unsure
    assert (found >= 0).all()


def test_the_run_that_narrows_the_band_most_is_that_of_brute_force():
    features, _, top1 = made_up(15, 0.02)
    pool = made_up(12, 0, seed=1)[0]
    surrogate = Surrogate(features, top1, costs=4)

    def left(added: list[int]) -> float:
        """The mean variance over the pool when these were trained too."""
        _, covariance = posterior(surrogate, np.concatenate([features, pool[added]]), pool)
        return float(np.trace(covariance))

    first = min(range(12), key=lambda place: left([place]))
    second = min(set(range(12)) - {first}, key=lambda place: left([first, place]))
    assert list(itertools.islice(surrogate.narrowing(pool), 2)) == [first, second]
    assert next(surrogate.narrowing(pool, known=pool[[first]])) in (first, second), "a run under way is known"
    assert sorted(surrogate.narrowing(pool)) == list(range(12)), "each once"


def test_held_out_networks_are_ordered_and_within_the_band_as_often_as_it_says():
    coverage, tau, of_noise = [], [], []
    for seed in range(6):
        features, exact, top1 = made_up(240, 0.03, seed)
        expected = Surrogate(features[:40], top1[:40], costs=4).expect(features[40:])
        coverage.append(np.mean((expected.low <= top1[40:]) & (top1[40:] <= expected.high)))
        tau.append(kendalltau(expected.top1, top1[40:]).statistic)
        of_noise.append(kendalltau(exact[40:], top1[40:]).statistic)
    assert 0.85 <= np.mean(coverage) <= 0.97
    assert np.mean(tau) > 0.9 * np.mean(of_noise), "the exact accuracies are as far as the noise lets any map come"


def test_what_was_never_varied_has_a_wider_band():
    features, _, top1 = made_up(30, 0.02)
    features[:, 3] = 0
    asked = np.zeros((2, 4))
    asked[1, 3] = 3
    found = Surrogate(features, top1, costs=4).expect(asked)
    widths = found.high - found.low
    assert widths[1] > 1.1 * widths[0]


def test_costs_are_logarithms_and_texts_are_flags():
    columns = {
        "macs": np.array([1, 10, 100]),
        "sr": np.array([0.5, 0.5, 0.5]),
        "bypass": np.array(["none", "simple", "none"]),
    }
    encoder = Encoder(columns)
    scale = np.sqrt(1.5)  # 0, 1 and 2 have the variance 2/3; 0, 1, 0 have 2/9
    assert encoder.matrix(columns) == pytest.approx(
        np.array([[-scale, -np.sqrt(0.5)], [0, np.sqrt(2)], [scale, -np.sqrt(0.5)]])
    ), "sr does not differ"
    assert encoder.costs == 1
    with pytest.raises(InputError, match=r"^bypass must be one of those of the map \(none, simple\), got 'complex'$"):
        encoder.matrix(columns | {"bypass": np.array(["none", "complex", "none"])})


def test_settings_weigh_as_the_accuracies_say():
    random = np.random.default_rng(0)
    features = random.normal(size=(40, 8))  # a cost and seven settings
    for moved_by, weight in ((0, 0.1), (7, 1)):
        error = np.exp(-2 + 0.2 * features[:, moved_by] + random.normal(0, 0.01, 40))
        surrogate = Surrogate(features, 1 - error, costs=1)
        assert surrogate._weights.tolist() == [1, *[weight] * 7]
        assert surrogate.expect(features[:1]).top1 == pytest.approx(1 - error[:1], abs=0.01)


def test_few_or_equal_networks_are_refused():
    features, _, top1 = made_up(9, 0.1)
    with pytest.raises(InputError, match=r"^a map must be of 10 trained networks or more, got 9$"):
        Surrogate(features, top1, costs=4)
    with pytest.raises(InputError, match=r"^a map must be of networks that differ in a setting, got 'none that do'$"):
        Surrogate(np.empty((10, 0)), np.full(10, 0.5), costs=0)


def test_equal_accuracies_and_perfect_ones_have_a_map():
    features, _, _ = made_up(12, 0)
    found = Surrogate(features, np.ones(12), costs=4).expect(features)
    assert (found.low <= found.top1).all()
    assert (found.top1 <= found.high).all()
    assert found.top1 == pytest.approx(1 - 1e-3)


def test_of_many_networks_some_are_fitted():
    places = thinned(1000)
    assert (len(places), places[0], places[-1]) == (300, 0, 999)
    assert thinned(7).tolist() == list(range(7))
