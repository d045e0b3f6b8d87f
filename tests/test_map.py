"""Maps: which runs they are fitted to, the points that they are of, their lists, what they say of themselves."""

import dataclasses
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fire.cost import COSTS
from fire.errors import InputError, SpecError
from sweep.map import stored, surrogate
from sweep.map.grid import Grid, axis_values
from sweep.map.making import check, make
from sweep.map.stored import Map
from sweep.map.trained import trained
from sweep.search.spec import AtMost
from sweep.store import Store
from tests import mapping
from tests.mapping import PCT, SR, TRAIN, config, truth
from tests.records import record_of


@pytest.fixture(scope="module")
def made() -> Map:
    return make(mapping.trained())


def test_seeds_of_one_network_are_averaged():
    seconds = [record_of(config(sr=0.5, pct_3x3=0.5, seed=seed), truth(config(sr=0.5)) + 0.03) for seed in (1, 2)]
    found = trained([*mapping.trained(), *seconds])
    assert (len(found.configs), len(found.keys)) == (25, 27)
    (place,) = [i for i, each in enumerate(found.configs) if (each.arch.sr, each.arch.pct_3x3) == (0.5, 0.5)]
    assert found.top1[place] == pytest.approx(truth(config(sr=0.5)) + 0.02)


def test_what_varies_and_what_does_not():
    found = trained(mapping.trained(bypass="simple"))
    assert found.varied == {"sr": list(SR), "pct_3x3": list(PCT)}
    assert (found.fixed["bypass"], found.fixed["fires"], found.fixed["base_e"]) == ("simple", 8, 32)


def test_runs_that_do_not_belong_into_a_map_are_left_out():
    records = mapping.trained()
    others = [
        dataclasses.replace(records[0], status="stopped"),
        dataclasses.replace(records[1], config=None),
        dataclasses.replace(records[2], validation_top1=None),
    ]
    found = trained([*others, *records[3:]])
    assert set(found.keys) == {record.key for record in records[3:]}


@pytest.mark.parametrize(
    ("records", "words", "message"),
    [
        (mapping.trained()[:9], [], "a map must be of 10 trained networks or more, got 9"),
        ([], [], "a map must be of 10 trained networks or more, got 0"),
        (
            [*mapping.trained(), *mapping.trained(train=dataclasses.replace(TRAIN, epochs=24))[:2]],
            [],
            "a map must be of one data set and one recipe, got runs with train.epochs=3 (25), train.epochs=24 (2): "
            "choose with train.epochs=3",
        ),
        (
            [
                *mapping.trained(),
                *mapping.trained(train=dataclasses.replace(TRAIN, epochs=24))[:2],
                *mapping.trained(train=dataclasses.replace(TRAIN, batch_size=64))[:2],
            ],
            [],
            "a map must be of one data set and one recipe, got runs with train.epochs=3 (27), train.epochs=24 (2), "
            "which differ in train.batch_size too: choose with train.epochs=3 train.batch_size=128",
        ),
        (
            [
                *mapping.trained(),
                *mapping.trained(data=dataclasses.replace(mapping.DATA, name="digits", stored_size=32)),
            ],
            [],
            "a map must be of one data set and one recipe, got runs with data=fashion_mnist (25), data=digits (25), "
            "which differ in data.stored_size too: choose with data=fashion_mnist",
        ),
        (
            mapping.trained(),
            ["epochs=3"],
            "a word must be a setting of the runs with its value, such as train.epochs=3, got 'epochs=3'",
        ),
        (mapping.trained(), ["arch.sr=0.5"], "a map must be of 10 trained networks or more, got 5"),
        ([], ["data=digits"], "a map must be of 10 trained networks or more, got 0"),
        (mapping.trained(), ["train.epochs=4"], "a map must be of 10 trained networks or more, got 0"),
    ],
    ids=["few", "none", "recipes", "three recipes", "data", "no setting", "words", "no runs", "other"],
)
def test_runs_of_no_map_are_refused_in_one_line(records, words, message):
    with pytest.raises(InputError) as caught:
        make(records, words)
    assert str(caught.value) == message


def test_the_committed_results_have_a_map_of_one_recipe_and_none_of_all():
    committed = Store(Path(__file__).parents[1] / "docs" / "results")
    with pytest.raises(InputError, match=r"^a map must be of one data set and one recipe, got runs with data="):
        make(committed.records())
    made = make(committed.records(), ["train.epochs=3", "train.optimizer=muon"])
    assert {"sr", "pct_3x3", "bypass", "base_e"} <= set(made.axes)
    assert made.typical["base_e"] == 32, "most are of the narrow network"


def test_words_choose_a_recipe():
    longer = mapping.trained(train=dataclasses.replace(TRAIN, epochs=24))
    made = make([*mapping.trained(), *longer], ["train.epochs=24", "arch.bypass=none"])
    assert set(made.keys) == {record.key for record in longer}
    assert (made.name, made.train["epochs"]) == ("fashion_mnist_train.epochs=24_arch.bypass=none", 24)


@pytest.mark.parametrize(
    ("trained", "values"),
    [
        ([0.125, 0.3], [0.125, 0.1875, 0.25, 0.3]),
        ([0.01, 0.05], [0.01, 0.05]),
        ([16, 96], [16, 96]),
        (["none", "simple"], ["none", "simple"]),
    ],
)
def test_fractions_have_the_sixteenths_between_the_trained_values(trained, values):
    assert axis_values(trained) == values


def test_an_axis_has_few_values_and_both_ends():
    values = axis_values(np.linspace(0.1, 0.9, 300).round(5).tolist())
    assert (len(values), values[0], values[-1]) == (64, 0.1, 0.9)


def test_the_costs_of_the_points_are_those_of_their_plans():
    random = np.random.default_rng(0)
    configs = [
        config(
            sr=float(random.choice([0.25, 0.5])),
            pct_3x3=float(random.choice([0.25, 0.75])),
            base_e=int(random.choice([16, 24, 48])),
            bypass=str(random.choice(["none", "simple", "complex"])),
            fires=int(random.choice([5, 8])),
            pools=str(random.choice(["1+3", "1+4", "none"])),
            stem_kernel=int(random.choice([0, 5])),
            snap=int(random.choice([1, 8])),
        )
        for _ in range(60)
    ]
    made = Grid(trained([record_of(each, 0.5) for each in configs]))
    assert set(made.axes) == {"sr", "pct_3x3", "base_e", "bypass", "fires", "pools", "stem_kernel", "snap"}
    costs = made.costs(made.settings, COSTS)
    for point in random.choice(len(costs["macs"]), 50).tolist():
        plan = made.config(made.at(point)).cost
        assert {name: costs[name][point] for name in COSTS} == {name: getattr(plan, name) for name in COSTS}


def test_points_that_are_no_networks_have_no_run():
    # Eight pools leave nothing of 28 pixels; without two layers of one width there is no simple bypass.
    deep = [config(pools=pools, sr=sr) for pools in ("1+2+3+4", "1") for sr in SR]
    made = Grid(trained([record_of(each, 0.5) for each in deep]))
    assert made.config({"sr": 0.5, "pools": "1"}) is not None
    assert made.config({"sr": 0.5, "pools": "1+2+3+4+5+6+7+8"}) is None
    assert made.config({"freq": 1, "conv1": 16, "bypass": "simple"}) is None


def test_of_a_large_space_some_points_are_drawn():
    made = Grid(trained(mapping.trained()), most=50)
    assert len(made.settings["sr"]) == 50
    assert set(made.settings["sr"].tolist()) <= set(made.axes["sr"])


def test_the_networks_expected_best_are_about_as_good_as_the_best(made):
    grid = Grid(trained(mapping.trained()))
    truths = sorted((truth(grid.config(grid.at(point))) for point in range(made.points)), reverse=True)
    chosen = [truth(config(**network.settings)) for network in made.best]
    assert len(made.best) == 10
    assert [network.top1 for network in made.best] == sorted((each.top1 for each in made.best), reverse=True)
    spread = truths[0] - truths[-1]
    assert np.mean(chosen) > np.mean(truths[:10]) - 0.05 * spread
    for network in made.best:
        run = config(**network.settings)
        assert (network.key, network.macs, network.flash_bytes) == (run.key, run.cost.macs, run.cost.flash_bytes)
        assert network.trained == (run.key in made.keys)
        assert network.low <= network.top1 <= network.high


def test_bounds_are_kept():
    bound = config(sr=0.5, pct_3x3=0.5).cost.macs
    made = make(mapping.trained(), at_most=AtMost(macs=bound))
    assert made.at_most == {"macs": bound}
    assert max(network.macs for network in (*made.best, *made.next)) <= bound
    assert made.points < make(mapping.trained()).points
    with pytest.raises(
        SpecError, match=r"^the bounds must be such that a network of the space keeps them, got 'macs<=1'$"
    ):
        make(mapping.trained(), at_most=AtMost(macs=1))


def test_the_next_runs_were_not_trained(made):
    assert len(made.next) == 5
    assert not {network.key for network in made.next} & set(made.keys)


def test_settings_that_mean_a_trained_network_are_that_network():
    # A stem of 3 is what 0 means, and widths are whole multiples of 16: most points mean the network of another one.
    spellings = [
        config(sr=sr, pct_3x3=pct, stem_kernel=0, snap=16) for sr in (0.25, 0.5, 1.0) for pct in (0.25, 0.5, 0.75, 1.0)
    ]
    found = make([record_of(each, truth(each)) for each in [*spellings, config(stem_kernel=3, snap=16)]])
    plans = {each.arch.plan(1) for each in spellings}
    best, following = (
        [config(snap=16, **each.settings).arch.plan(1) for each in part] for part in (found.best, found.next)
    )
    assert [network.trained for network in found.best] == [plan in plans for plan in best]
    assert not plans & set(following)
    assert len(set(following)) == len(following)


def test_networks_that_are_too_many_to_be_fitted_are_trained_too(monkeypatch):
    # Of 25 networks 15 are fitted. Axes of whole numbers have no values between: the space has these 25 alone.
    networks = [config(base_e=e, incr_e=i) for e in (16, 24, 32, 40, 48) for i in (16, 24, 32, 40, 48)]
    records = [record_of(each, truth(each)) for each in [*networks, *(replace(each, seed=1) for each in networks[:3])]]
    monkeypatch.setattr(surrogate, "MOST_NETWORKS", 15)
    known = trained(records)
    assert (len(known.configs), {each.key for each in (*known.configs, *known.others)}) == (
        15,
        {each.key for each in networks},
    )
    made = make(records)
    assert made.next == [], "nothing is left to train"
    assert {network.trained for network in made.best} == {True}
    assert (made.finished, made.fitted) == (28, f"{len(made.keys)} of 28 runs")


def test_maps_of_other_words_or_bounds_have_files_of_their_own():
    records = mapping.trained()
    assert make(records).name == "fashion_mnist"
    bound = config(sr=0.5, pct_3x3=0.5).cost
    names = [
        make(records, at_most=AtMost(**bounds)).name
        for bounds in ({"macs": bound.macs}, {"macs": 2 * bound.macs}, {"flash_bytes": bound.flash_bytes})
    ]
    assert names[0] == f"fashion_mnist_macs={bound.macs}"
    assert len(set(names)) == 3
    recipe = ["train.epochs=3", "train.batch_size=128", "train.lr=0.2", "arch.version=small", "arch.norm=batch"]
    long = [make(records, [*recipe, word]).name for word in ("arch.fires=8", "arch.classes=10")]
    assert len("_".join(["fashion_mnist", *recipe])) > 80, "what tells them apart is cut off"
    assert long[0] != long[1]
    assert all(len(name) <= 80 for name in long)


def test_a_map_checks_itself_on_held_out_networks(made):
    assert made.held_out == 25
    assert made.tau > 0.9, "the rule has no noise"
    assert 0 <= made.coverage <= 1
    few = make(mapping.trained()[::2][:12])
    assert (few.held_out, few.coverage, few.tau) == (0, None, None), "9 of 12 would be fitted"


def test_a_check_is_of_expectations_without_the_network_itself():
    random = np.random.default_rng(0)
    found = check(random.normal(size=(60, 5)), random.uniform(0.5, 0.9, 60), costs=5)
    assert abs(found.tau) < 0.3, "of noise nothing can be expected"
    assert 0.75 <= found.coverage <= 1


def test_the_same_runs_make_the_same_file_in_any_order(made):
    records = mapping.trained()
    random.Random(0).shuffle(records)
    assert stored.dump(make(records)) == stored.dump(made)
