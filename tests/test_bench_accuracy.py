"""The time to the peer's accuracy: what ratios and bounds of pairs say, and which pairs a later call measures."""

import json
import re

import numpy as np
import pytest
from scipy.stats import ttest_ind

from bench import accuracy
from bench.accuracy import EQUAL, FAST, PEER, Pair, add, differences, measured, rows
from bench.sweeps import RATIOS

HERE, THERE = "this machine", "another machine"
# The peer's less ours, in points, at each squeeze ratio: far better, a bit worse, equal, far worse, better.
LOST = (-3.0, 0.1, 0.0, 2.0, -1.0)


def pair(seed: int, host: str = HERE, seconds: tuple[float, float, float] = (90.0, 30.0, 45.0)) -> Pair:
    """One seed's sweeps: the peer's, train=fast, and equal epochs. Accuracies vary by half a point."""
    drawn = np.random.default_rng(seed)
    theirs, fast, equal = (0.9 + 0.005 * drawn.standard_normal((3, len(RATIOS)))).tolist()
    names = (PEER, FAST, EQUAL)
    return Pair(
        seed=seed,
        host=host,
        commits=dict.fromkeys(names, "0123abc"),
        seconds=dict(zip(names, seconds, strict=True)),
        peak_bytes={PEER: 400 * 2**20, FAST: 2**30, EQUAL: 300 * 2**20},
        top1={
            PEER: theirs,
            FAST: [value - lost / 100 for value, lost in zip(fast, LOST, strict=True)],
            EQUAL: equal,
        },
    )


def test_a_ratio_is_the_peer_s_seconds_over_ours():
    three = [pair(seed, seconds=times) for seed, times in enumerate([(80, 20, 40), (60, 20, 20), (50, 10, 50)])]
    fast, equal, memory = rows(three)
    assert fast.measured == "4.00 (3.00 to 5.00, n = 3)"
    assert fast.detail.startswith("20 s against 60 s; ")
    assert equal.measured == "2.00 (1.00 to 3.00, n = 3)"
    assert equal.detail.startswith("40 s against 60 s; ")
    assert (memory.measured, memory.detail) == ("0.75 (0.75 to 0.75, n = 3)", "300 MiB against 400 MiB")


@pytest.mark.parametrize("name", [FAST, EQUAL])
@pytest.mark.parametrize("seeds", [2, 5])
def test_differences_and_their_lower_bounds_are_those_of_scipy(name, seeds):
    pairs = [pair(seed) for seed in range(seeds)]
    means, lows = [], []
    for place in range(len(RATIOS)):
        mine, theirs = ([100 * each.top1[sweep][place] for each in pairs] for sweep in (name, PEER))
        means.append(f"{np.mean(mine) - np.mean(theirs):+.2f}")
        # The lower end of a two-sided interval of 90 % is a one-sided bound of 95 %.
        lows.append(ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.9).low)
    text = differences(pairs, name)
    assert re.findall(r"([-+][\d.]+) \(above", text) == means
    assert re.findall(r"\(above ([-+][\d.]+)\)", text) == [f"{low:+.2f}" for low in lows]
    above = sum(low > -0.2 for low in lows)
    assert text.endswith(f"n = {seeds}; above -0.2 at {above} of 5")
    assert above == {(FAST, 2): 1, (FAST, 5): 2}.get((name, seeds), 0), "one of them is -0.22"


def test_one_pair_has_no_bound():
    text = differences([pair(0)], FAST)
    assert "above" not in text
    assert text.endswith(" points, n = 1")


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, str]]:
    """The arguments of each measurement, on this machine."""
    made = []

    def measure(seed: int, data_dir: str) -> Pair:
        made.append((seed, data_dir))
        return pair(seed)

    monkeypatch.setattr(accuracy, "measure", measure)
    monkeypatch.setattr(accuracy, "machine", lambda: HERE)
    return made


def test_seeds_that_this_machine_has_not_measured_are_added(calls, tmp_path):
    path = tmp_path / "pairs.json"
    before = [pair(1, THERE), pair(3, THERE), pair(2)]
    path.write_text(json.dumps([vars(each) for each in before]))
    assert [each.seed for each in add(path, "images")] == [0, 1, 2, 3, 4]
    assert calls == [(seed, "images") for seed in (0, 1, 3, 4)]
    held = {(each.host, each.seed): each for each in measured(path)}
    assert held.keys() == {*((HERE, seed) for seed in range(5)), (THERE, 1), (THERE, 3)}
    assert all(held[each.host, each.seed] == each for each in before)
    assert len(add(path, "images")) == 5
    assert len(calls) == 4, "nothing is missing any more"


def test_each_pair_is_written_before_the_next_one_is_measured(calls, tmp_path, monkeypatch):
    path = tmp_path / "pairs.json"
    measure = accuracy.measure

    def stopped(seed: int, data_dir: str) -> Pair:
        assert [each.seed for each in measured(path)] == list(range(seed))
        if seed == 3:
            raise KeyboardInterrupt
        return measure(seed, data_dir)

    monkeypatch.setattr(accuracy, "measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        add(path, "images")
    assert measured(path) == [pair(seed) for seed in (0, 1, 2)]
    monkeypatch.setattr(accuracy, "measure", measure)
    add(path, "images")
    assert [seed for seed, _ in calls] == [0, 1, 2, 3, 4]
