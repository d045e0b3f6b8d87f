import numpy as np
import pytest
import scipy.stats

from fire.stats import hypervolume, mean_interval, pareto_front, ranks, welch


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
    # Cost and error: 1 is as cheap as the last and better, 3 the best, 2 costs more than 1 and is worse.
    losses = [(1, 0.5), (2, 0.3), (3, 0.4), (4, 0.1), (2, 0.4), (1, 0.5)]
    assert pareto_front(losses).tolist() == [True, True, False, True, False, True], "equal rows together"
    assert pareto_front([]).tolist() == []


def test_front_agrees_with_its_definition():
    losses = np.random.default_rng(1).integers(0, 8, (60, 3))

    def beaten(row: np.ndarray) -> bool:
        return bool(((losses <= row).all(axis=1) & (losses < row).any(axis=1)).any())

    assert pareto_front(losses).tolist() == [not beaten(row) for row in losses]


def test_missing_points_are_never_on_the_front_and_beat_nobody():
    losses = [(1, np.nan), (2, 0.5), (np.nan, 0.1)]
    assert pareto_front(losses).tolist() == [False, True, False]
    assert ranks(losses).tolist() == [3, 0, 3]


def test_ranks_by_hand():
    # Error over size: a staircase 0, 2, 4 that nothing beats; 1 is beaten by 0 alone; 3 by 1 too; 5 equals 4.
    losses = [(0.1, 9), (0.2, 10), (0.3, 5), (0.4, 11), (0.5, 1), (0.5, 1)]
    assert ranks(losses).tolist() == [0, 1, 0, 2, 0, 0]
    assert ranks([(3.0,), (1.0,), (2.0,)]).tolist() == [2, 0, 1], "one objective: the order"
    assert ranks(np.zeros((0, 2))).tolist() == []


def test_the_front_agrees_with_optunas():
    from optuna import create_study
    from optuna.trial import create_trial

    losses = np.random.default_rng(0).integers(0, 8, (40, 3)).astype(float)
    study = create_study(directions=["minimize"] * 3)
    study.add_trials([create_trial(values=row) for row in losses])
    front = {trial.number for trial in study.best_trials}
    assert set(np.flatnonzero(pareto_front(losses)).tolist()) == front


def test_hypervolume_by_hand():
    # Rectangles up to cost 10 and down to quality 0: (10 - 2) * 3, and (10 - 5) * (4 - 3) on top of it.
    assert hypervolume([2, 5, 6], [3, 4, 1], reference=(10, 0)) == 8 * 3 + 5 * 1
    assert hypervolume([11], [3], reference=(10, 0)) == 0


def test_hypervolume_agrees_with_counting_cells():
    random = np.random.default_rng(2)
    cost, quality = random.integers(0, 20, 15), random.integers(1, 20, 15)
    cells = sum(bool(((cost <= x) & (quality > y)).any()) for x in range(20) for y in range(20))
    assert hypervolume(cost, quality, reference=(20, 0)) == cells


def test_welch_agrees_with_scipys_test():
    random = np.random.default_rng(0)
    values, others = random.normal(0.87, 0.002, 5), random.normal(0.86, 0.005, 7)
    found = welch(values, others)
    theirs = scipy.stats.ttest_ind(values, others, equal_var=False, alternative="greater")
    both = scipy.stats.ttest_ind(values, others, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(both.confidence_interval(0.95)))
    assert found.difference == pytest.approx(values.mean() - others.mean())


def test_welch_of_single_and_of_equal_values():
    assert np.isnan(welch([1.0], [0.5, 0.6])[1:]).all()
    assert welch([1.0, 1.0], [0.5, 0.5]) == (0.5, 0.5, 0.5, 0.0)
    assert welch([0.5, 0.5], [0.5, 0.5]).p == 1.0
