"""Spaces: points, their costs, constraints."""

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fire.cost import COSTS
from fire.errors import InputError
from sweep.search import sweeper
from sweep.search.space import Space
from sweep.search.spec import AtMost
from tests.searching import BASE, space
from tests.sweeping import TINY, planner, point


def test_the_costs_of_a_space_are_those_of_its_runs():
    made = space()
    assert made.size == 3 * 3 * 2 * 3 * 2
    for index in range(0, made.size, 7):
        planned = made.point(index)
        assert planned.key == point(*BASE, *(f"{k}={v}" for k, v in made.overrides(index).items())).key
        assert {name: costs[index] for name, costs in made.costs.items()} == {
            name: getattr(planned.cost, name) for name in COSTS
        }
        assert made.costs["size_bytes"][index] == planned.cost.size_bytes
        assert made.index_of(planned.config) == index
    assert made.index_of(point(*BASE, "arch.sr=0.5").config) is None
    assert made.index_of(point(*BASE, "train.lr=0.3").config) is None, "another setting differs"
    for family in ("alexnet_small", "resnet8"):
        other = point(f"arch={family}", "data=digits").config
        assert made.index_of(other) is None, "it lacks the axes"


def test_stem_and_pools_are_axes_too():
    grid = {"arch.pools": ["version", "1+3", "none"], "arch.stem_kernel": ["3", "5"], "arch.sr": ["0.25", "0.5"]}
    made = Space(planner(), [*BASE, "arch.stem_stride=2"], grid)
    for index in range(made.size):
        planned = made.point(index)
        assert {name: costs[index] for name, costs in made.costs.items()} == {
            name: getattr(planned.cost, name) for name in COSTS
        }
        assert made.index_of(planned.config) == index


def test_choices_that_are_numbers_are_ascending():
    (sr,) = (axis for axis in space().axes if axis.key == "arch.sr")
    assert (sr.choices, sr.values, sr.ordered) == (("0.125", "0.25", "1.0"), (0.125, 0.25, 1.0), True)


def test_groups_and_recipes_are_axes_too():
    grid = {"train.lr": ["0.1", "0.2"], "arch": ["squeezenet_narrow", "alexnet_small"]}
    made = Space(planner(), [], grid)
    for index in range(made.size):
        planned = made.point(index)
        assert made.costs["macs"][index] == planned.cost.macs
        assert made.index_of(planned.config) == index
    assert [axis.ordered for axis in made.axes] == [True, False]


@pytest.mark.parametrize(
    ("grid", "at_most", "message"),
    [
        ({"arch.sr": ["0.5", "7.0"]}, {}, r"^arch.sr must be in \(0, 1\], got 7.0$"),
        ({"arch.width": ["1", "2"]}, {}, "arch.width"),
        ({"arch.sr": ["0.5", "0.50"]}, {}, "arch.sr must have distinct choices"),
        (
            {"train.epochs": ["2", "3"]},
            {},
            "^train.epochs must be one value in a search, got '2, 3'$",
        ),
        ({"data.limit": ["0", "100"]}, {}, "^data.limit must be one value in a search"),
        ({"compress": ["none", "entropy"]}, {}, "^compress must be one value in a search"),
        ({"arch.base_e": [str(i) for i in range(1, 2000)], "train.lr": [str(i) for i in range(1, 2000)]}, {}, "points"),
        (
            {"arch.sr": ["0.5", "1.0"]},
            {"size_bytes": 100},
            r"^search.at_most must leave a network of the space, got size_bytes<=100 \(least: size_bytes [\d,]+\)$",
        ),
    ],
)
def test_bad_spaces_are_refused_on_one_line(grid, at_most, message):
    with pytest.raises(InputError, match=message) as caught:
        Space(planner(), BASE, grid, AtMost(**at_most))
    assert "\n" not in str(caught.value)


def test_networks_that_cannot_be_are_not_within_bounds():
    grid = {"arch.stem_stride": ["0", "4"], "arch.stem_kernel": ["0", "7"], "arch.pools": ["version", "1"]}
    made = Space(planner(), ["arch=squeezenet_narrow", "data=digits"], grid)
    possible = [made.point(index) is not None for index in range(made.size)]
    assert made.allowed.tolist() == possible
    assert 0 < sum(possible) < made.size
    with pytest.raises(InputError, match=r"macs<=1 \(least: macs [1-9]"):
        Space(planner(), ["arch=squeezenet_narrow", "data=digits"], grid, AtMost(macs=1))


def test_recipes_that_mean_the_same_are_one():
    made = Space(planner(), TINY, {"train.optimizer": ["sgd", "muon"], "train.muon_lr": ["0.01", "0.02"]})
    assert len({made.network(index) for index in range(4)}) == len({made.point(index).key for index in range(4)}) == 3


def test_a_recipe_may_not_bring_its_own_number_of_epochs():
    with pytest.raises(
        InputError,
        match=r"^train must be one value unless train.epochs is set, in which these differ, got 'quick, full'$",
    ):
        Space(planner(), ["data=digits"], {"train": ["quick", "full"]})
    assert Space(planner(), TINY, {"train": ["quick", "full"]}).size == 2, "here it is set beside them"
    assert Space(planner(), TINY, {"train": ["quick", "paper"]}).size == 2, "no images of digits are resized"


def test_a_value_that_follows_an_axis_is_refused_where_arrays_do_not_count_it():
    with pytest.raises(
        InputError, match="the axes must be settings that no other setting is interpolated from, got 'base_e=8'"
    ):
        Space(planner(), [*BASE, "arch.incr_e=${arch.base_e}"], {"arch.base_e": ["8", "32"]})


def test_the_space_of_a_search_is_of_lists_of_choices():
    parse = OverridesParser.create().parse_override
    assert sweeper.axis_choices(parse("arch.sr=0.25,0.5")) == ["0.25", "0.5"]
    for text, message in (
        ("search.objectives=top1,macs", "search.objectives must be one value; a list is written in brackets"),
        (
            "experiment=sr,bypass",
            "an axis of a search must be a setting of the network or the recipe, got 'exper",
        ),
        ("seed=0,1", "an axis of a search must be a setting of the network or the recipe, got 'seed'"),
        ("arch.sr=interval(0,1)", "arch.sr must be a list of choices in a search, got "),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            sweeper.axis_choices(parse(text))


def test_the_nearest_points_differ_least_and_come_first():
    made = space()
    codes = made.codes[50]
    among = np.ones(made.size, bool)
    random = np.random.default_rng(0)
    assert next(made.by_distance(codes, among, random)) == 50
    among[50] = False
    for _ in range(10):
        found = made.codes[next(made.by_distance(codes, among, random))]
        differing = np.flatnonzero(found != codes)
        assert len(differing) == 1, "one axis"
        assert abs(found - codes).max() == 1, "one step"
    walked = list(made.by_distance(codes, among, random))
    assert sorted(walked) == np.flatnonzero(among).tolist(), "each once"
    differing = [int((made.codes[index] != codes).sum()) for index in walked]
    assert differing[0] == 1
    assert differing[-1] == len(made.axes), "all axes"
    assert list(made.by_distance(codes, np.zeros(made.size, bool), random)) == []
