import numpy as np
import pytest

from analysis.stats import hypervolume, mean_interval, pareto_front


def test_interval_of_three_values_by_hand():
    # Mean 2, sample standard deviation 1; the 97.5 % point of Student's t with 2 degrees of freedom is 4.302653.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.n == 3
    assert interval.mean == 2
    assert interval.high - 2 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert 2 - interval.low == pytest.approx(interval.high - 2)


def test_one_value_has_no_interval_and_missing_ones_do_not_count():
    interval = mean_interval([0.9, np.nan])
    assert (interval.mean, interval.n) == (0.9, 1)
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)
    assert mean_interval([np.nan]).n == 0


def test_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    intervals = [mean_interval(random.normal(5, 2, 4)) for _ in range(2000)]
    covered = np.mean([interval.low <= 5 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_front_by_hand():
    cost = [1, 2, 3, 4, 2]
    quality = [0.5, 0.7, 0.6, 0.9, 0.6]
    assert pareto_front(cost, quality).tolist() == [True, True, False, True, False]


def test_front_agrees_with_its_definition():
    random = np.random.default_rng(1)
    cost, quality = random.integers(0, 8, 60), random.integers(0, 8, 60)

    def beaten(i: int) -> bool:
        no_worse = (cost <= cost[i]) & (quality >= quality[i])
        better = (cost < cost[i]) | (quality > quality[i])
        return bool((no_worse & better).any())

    assert pareto_front(cost, quality).tolist() == [not beaten(i) for i in range(60)]


def test_missing_points_are_never_on_the_front():
    assert pareto_front([1, 2, np.nan], [np.nan, 0.5, 0.9]).tolist() == [False, True, False]


def test_hypervolume_by_hand():
    # Rectangles up to cost 10 and down to quality 0: (10 - 2) * 3, and (10 - 5) * (4 - 3) on top of it.
    assert hypervolume([2, 5, 6], [3, 4, 1], reference=(10, 0)) == 8 * 3 + 5 * 1
    assert hypervolume([11], [3], reference=(10, 0)) == 0


def test_hypervolume_agrees_with_counting_cells():
    random = np.random.default_rng(2)
    cost, quality = random.integers(0, 20, 15), random.integers(1, 20, 15)
    cells = sum(bool(((cost <= x) & (quality > y)).any()) for x in range(20) for y in range(20))
    assert hypervolume(cost, quality, reference=(20, 0)) == cells
