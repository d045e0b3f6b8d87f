"""The tabular benchmark: its list was drawn by rule, its file says what the store says, and searches replay on it."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis import tables
from analysis import tabular as listing
from analysis.results import read
from bench import draw, replay, tabular
from bench.search import drawn_table, space_of
from fire.arch import ResNet8Spec
from fire.cost import count
from sweep.config import RunConfig
from sweep.search.spec import SearchSpec
from sweep.store import Store
from tests.records import DATA, record, record_of, sweep
from tests.searching import space
from tests.sweeping import ROOT, composed, write_curve


@pytest.fixture(scope="module")
def drawn_space():
    return space_of("tabular")


def test_the_list_is_what_the_draw_draws(drawn_space):
    listed = composed("experiment=tabular").search.first
    assert [{key: str(value) for key, value in entry.items()} for entry in listed] == [
        drawn_space.overrides(point) for point in draw.draw(drawn_space)
    ]


def test_the_list_has_96_networks_within_four_times_the_budgets_of_resnet8(drawn_space):
    resnet8 = count(ResNet8Spec(classes=10), 32, 3)
    points = draw.draw(drawn_space)
    assert len({drawn_space.network(point) for point in points}) == 96
    for name in ("macs", "weight_bytes", "peak_ram_bytes"):
        assert (drawn_space.costs[name][points] <= 4 * getattr(resnet8, name)).all()
    sizes = np.log(drawn_space.costs["weight_bytes"])
    low, high = sizes[drawn_space.allowed].min(), sizes[drawn_space.allowed].max()
    eighths = Counter(np.minimum(8 * (sizes[points] - low) / (high - low), 7).astype(int).tolist())
    assert eighths == dict.fromkeys(range(8), 12)


def test_the_experiment_within_resnet8s_budgets_has_exactly_these():
    resnet8 = count(ResNet8Spec(classes=10), 32, 3)
    at_most = composed("experiment=mlperf_tiny").search.at_most
    for name in ("macs", "weight_bytes", "peak_ram_bytes"):
        assert at_most[name] == getattr(resnet8, name)


def test_a_second_seed_is_for_every_fourth_network():
    again, once = composed("experiment=tabular_again"), composed("experiment=tabular")
    assert again.search.first == once.search.first[::4]
    assert (again.seed, len(again.search.first)) == (1, again.search.budget_runs)
    assert (again.train, again.search.at_most) == (once.train, once.search.at_most)


CURVES = {3: (0.2, 0.5), 40: (0.3, 0.4), 77: (0.1, 0.6)}  # by points of the small space


@pytest.fixture
def table(tmp_path):
    """The file of a store with a sweep of three networks, one of which has a second seed, and a run beside it."""
    store, keys = Store(tmp_path / "results"), []
    for point, curve in CURVES.items():
        keys.append(_finished(store, space().point(point).config, curve))
    keys.append(_finished(store, replace(space().point(3).config, seed=1), (0.9, 0.9)))
    _finished(store, space().point(5).config, (0.8, 0.8))
    store.write_sweep(sweep("list", (), keys, experiment="tabular", launched="2026-01-01T00:00:00"))
    path = tmp_path / "made" / "networks.parquet"
    subprocess.run(
        [sys.executable, "-m", "analysis.tabular", store.root, "--out", path], cwd=ROOT, check=True, capture_output=True
    )
    return path


def _finished(store: Store, config: RunConfig, curve: tuple[float, ...]) -> str:
    config = replace(config, train=replace(config.train, epochs=len(curve)))
    store.write(record_of(config, curve[-1], data_title="Digits"))
    write_curve(store.folder(config.key), *curve)
    return config.key


def test_the_file_says_what_the_store_says(table):
    runs = pd.read_parquet(table)
    assert len(runs) == 5
    assert sorted(map(list, runs["experiments"])) == [[], *[["tabular"]] * 4]
    assert set(runs["data_set"]) == {"Digits"}
    read = tabular.load(table)
    points = {tuple(curve): point for point, curve in CURVES.items()}
    for row, curve in zip(read.networks.itertuples(), read.curves.tolist(), strict=True):
        config = space().point(points.pop(tuple(curve))).config
        assert (row.seed, row.sr, row.bypass, row.macs) == (0, config.arch.sr, config.arch.bypass, config.cost.macs)
    assert not points
    assert tabular.load(table, seed=1).curves.tolist() == [[0.9, 0.9]]


def test_no_file_is_written_of_results_without_a_finished_run(tmp_path):
    command = [sys.executable, "-m", "analysis.tabular", tmp_path, "--out", tmp_path / "made.parquet"]
    ended = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    rule = "results must be a directory with finished runs"
    assert (ended.returncode, ended.stderr) == (2, f"analysis.tabular: {rule}, got {str(tmp_path)!r}\n")
    assert not (tmp_path / "made.parquet").exists()


def test_the_committed_file_is_of_the_committed_runs(tmp_path):
    listing.table(read(ROOT / "docs/results")).to_parquet(tmp_path / "made.parquet", index=False)
    committed = pd.read_parquet(ROOT / "docs/tabular/networks.parquet")
    pd.testing.assert_frame_equal(committed, pd.read_parquet(tmp_path / "made.parquet"))


def test_a_run_of_several_experiments_has_them_all_and_the_title_of_its_data_set(tmp_path, monkeypatch):
    store, untitled = Store(tmp_path), replace(DATA, name="fashion_mnist")
    for key, fields in (
        ("a", {"data_title": "Digits"}),
        ("b", {"data_title": "Digits"}),
        ("c", {"data": untitled}),
        ("d", {"data": untitled, "data_title": None}),
    ):
        store.write(record(key, **fields))
        write_curve(store.folder(key), 0.5)
    for name, keys, experiment in (("1", "ab", "sr"), ("2", "bc", "bypass"), ("3", "b", "sr"), ("4", "abcd", None)):
        store.write_sweep(sweep(name, (), keys, experiment=experiment, launched="2026-01-01T00:00:00"))
    named, data_of = [], tables.data_of
    monkeypatch.setattr(tables, "data_of", lambda runs: named.append(len(runs)) or data_of(runs))
    made = listing.table(read(tmp_path))
    assert made["experiments"].tolist() == [["sr"], ["bypass", "sr"], ["bypass"], []]
    assert made["data_set"].tolist() == ["Digits", "Digits", "Fashion-MNIST", "Fashion-MNIST"]
    assert named == [2, 2], "once a data set, not once a run"


def test_a_file_without_the_experiment_or_with_two_recipes_is_refused(table, tmp_path):
    with pytest.raises(ValueError, match="must hold runs of sr with one recipe on one data set"):
        tabular.load(table, "sr")
    runs = pd.read_parquet(table)
    runs.loc[runs["top1"] == 0.4, "train.lr"] = 7.0
    runs.to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(ValueError, match="with one recipe"):
        tabular.load(tmp_path / "mixed.parquet")


def test_a_replay_pays_for_epochs_by_macs_and_chooses_from_the_table_alone(table):
    small = space.__wrapped__()  # whose allowed points the table changes
    replayed = replay.Table(small, tabular.load(table))
    macs = small.costs["macs"]
    assert replayed.cost == 2 * macs[list(CURVES)].sum()
    assert replayed.run(3, 1).curve == (0.2,)
    assert (replayed.run(3, 1).status, replayed.run(3, 2).status, replayed.run(3, 2).top1) == (
        "stopped",
        "finished",
        0.5,
    )
    for steps in (
        replay.search(replayed, SearchSpec(budget_runs=3, reduction=1)),
        replay.random_order(replayed, seed=0),
        replay.then_random(replayed, [40], seed=0),
        replay.plain_optuna(replayed, None, seed=0),
        replay.plain_optuna(replayed, None, seed=0, begun=[77]),
    ):
        found = list(steps)
        assert {point for _, point in found} == set(CURVES)
        assert sum(cost for cost, _ in found) == replayed.cost
    assert next(replay.then_random(replayed, [40], seed=0))[1] == 40
    assert next(replay.plain_optuna(replayed, None, seed=0, begun=[77]))[1] == 77
    assert set(replay.begin_cheap(replayed, seed=0)) <= set(CURVES)
    first, *then = replay.all_then_best(replayed, 1)
    assert first == (macs[list(CURVES)].sum(), None)
    assert sum(cost for cost, _ in then) == replayed.cost / 2


def test_the_whole_hypervolume_is_reached_by_who_trains_all(table):
    replayed = replay.Table(space.__wrapped__(), tabular.load(table))
    assert replayed.dominated(list(CURVES)) == replayed.hypervolume > replayed.dominated([3]) >= 0


def test_a_replay_needs_no_torch(table):
    code = "import sys; sys.modules['torch'] = None; from bench import replay, search, tabular; "
    code += f"search.drawn_table({str(table)!r})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    # The table's networks are of another space; that is found out after all imports and the space itself.
    assert ended.stderr.splitlines()[-1].startswith("ValueError: the table must hold networks of the space")


def test_a_file_of_other_networks_than_the_drawn_ones_is_refused(drawn_space, tmp_path):
    rows = [
        {axis.key.removeprefix("arch."): axis.values[code] for axis, code in zip(drawn_space.axes, codes, strict=True)}
        for codes in drawn_space.codes[draw.draw(drawn_space)]
    ]
    same = {"experiments": [["tabular"]], "seed": [0], "data_set": ["a"], "precision": ["fp32"], "kernels": ["torch"]}
    runs = pd.DataFrame(rows).assign(**{name: values * 96 for name, values in same.items()})
    runs["curve"] = [[0.1, 0.5]] * 96
    path = tmp_path / "networks.parquet"
    runs.to_parquet(path)
    assert len(drawn_table(path).points) == 96
    runs[:95].to_parquet(path)
    with pytest.raises(ValueError, match=r"the 96 networks of experiment=tabular, got 95 of them and 0 others"):
        drawn_table(path)
    runs.assign(kernels=["torch", "compiled"] * 48).to_parquet(path)
    with pytest.raises(ValueError, match="with one recipe on one data set"):
        drawn_table(path)


def test_optuna_learns_of_the_networks_that_were_trained(table):
    small = space.__wrapped__()
    replayed, learnt = replay.Table(small, tabular.load(table)), []

    class Spy(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):
            if state == optuna.trial.TrialState.COMPLETE:
                learnt.append((tuple(trial.params.values()), tuple(values)))

    points = [point for _, point in replay.plain_optuna(replayed, Spy(seed=0), seed=0)]
    assert learnt == [(tuple(small.codes[point].tolist()), replayed.losses(point, 2)) for point in points]
