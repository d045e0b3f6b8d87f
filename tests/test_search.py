"""Choosing what to train next: spaces, constraints, rungs, samplers. Nothing trains here."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fire.errors import InputError, SpecError
from sweep.search import halving, samplers, sweeper
from sweep.search.searcher import Job, Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SAMPLERS, Constraint, SearchSpec, parse_constraint, quoted
from tests.sweeping import TINY, planner, point

GRID = {
    "arch.base_e": ["8", "16", "32"],
    "arch.sr": ["0.25", "0.125", "1.0"],
    "arch.pct_3x3": ["0.25", "0.75"],
    "arch.bypass": ["none", "simple", "complex"],
    "arch.fires": ["4", "8"],
}
FIRST = [{}, {"arch.bypass": "simple"}, {"arch.sr": 1.0}, {"arch.sr": 0.3}]
BASE = [*TINY, "arch.sr=0.25", "arch.pct_3x3=0.25", "arch.fires=4"]


@functools.cache
def cached_space(bounds: tuple[Constraint, ...]) -> Space:
    return Space(planner(), BASE, GRID, bounds)


def space(*constraints: str) -> Space:
    """A space of 108 points."""
    return cached_space(tuple(map(parse_constraint, constraints)))


def top1_of(space: Space, index: int) -> float:
    """A made-up accuracy, which grows with the size and is no simple function of it."""
    return float(1 - 1 / np.log(space.costs["parameters"][index]) - 0.05 * np.sin(7 * index))


def run_search(space: Space, spec: SearchSpec, epochs: int, limit: int = 10_000) -> tuple[dict[int, Trial], list[Job]]:
    """A search with two workers, of which the one that started first ends first; its trials and jobs."""
    searcher = Searcher(space, spec, epochs)
    trials: dict[int, Trial] = {}
    jobs: list[Job] = []
    running: list[Job] = []
    while len(jobs) < limit:
        while len(running) < 2 and (job := searcher.next(trials)) is not None:
            running.append(job)
            jobs.append(job)
            trials[job.point] = replace(trials.get(job.point, Trial(status="running")), status="running")
        if not running:
            break
        job = running.pop(0)
        trials[job.point] = ended(space, job, epochs, end=f"{len(jobs):05}")
    return trials, jobs


def ended(space: Space, job: Job, epochs: int, end: str = "") -> Trial:
    top1 = top1_of(space, job.point)
    curve = tuple(top1 * (1 - 0.3 / epoch) for epoch in range(1, job.epoch + 1))
    if job.epoch < epochs:
        return Trial(status="stopped", curve=curve, end=end)
    return Trial(status="finished", curve=curve, top1=top1, end=end)


# Specifications


def test_constraints_are_read():
    assert parse_constraint(" size_bytes <= 500e3") == ("size_bytes", True, 500_000)
    assert parse_constraint("macs>=2") == ("macs", False, 2)
    assert str(parse_constraint("macs<=20e6")) == "macs<=20000000"
    assert str(parse_constraint("parameters>=1248424")) == "parameters>=1248424", "to the last digit"


@pytest.mark.parametrize("text", ["size_bytes=5", "size_bytes<=", "top1<=3", "macs<=few", "macs<=nan", "<=3", ""])
def test_bad_constraints_are_refused_on_one_line(text):
    with pytest.raises(SpecError, match=r"^search.constraints must be .+, got .*$"):
        SearchSpec(constraints=[text])


@pytest.mark.parametrize(
    "values",
    [
        {"budget_runs": 0},
        {"objectives": []},
        {"objectives": ["top5"]},
        {"objectives": ["top1", "top1"]},
        {"sampler": "cmaes"},
        {"seed": -1},
        {"reduction": 0},
        {"first_rung": -1},
    ],
)
def test_bad_settings_are_refused_by_name(values):
    (name,) = values
    with pytest.raises(SpecError, match=f"^search.{name} must be "):
        SearchSpec(**values)


def test_constraints_on_the_command_line_get_the_quotes_that_hydra_wants():
    assert quoted("search.constraints=[a<=5, b<=6]") == "search.constraints=['a<=5', 'b<=6']"
    for other in ("search.constraints=['a<=5']", "search.budget_runs=5", "arch.sr=0.1"):
        assert quoted(other) == other


def test_rungs_are_multiples_up_to_the_end():
    assert SearchSpec(reduction=3, first_rung=1).rungs(27) == (1, 3, 9, 27)
    assert SearchSpec(reduction=3, first_rung=1).rungs(5) == (1, 3, 5)
    assert SearchSpec(reduction=2, first_rung=3).rungs(10) == (3, 6, 10)
    assert SearchSpec(reduction=1).rungs(10) == SearchSpec(first_rung=10).rungs(10) == (10,)
    thirds = {epochs: SearchSpec().rungs(epochs) for epochs in (1, 3, 9, 24)}
    assert thirds == {1: (1,), 3: (1, 2, 3), 9: (3, 6, 9), 24: (8, 16, 24)}


# Spaces


def test_the_costs_of_a_space_are_those_of_its_runs():
    made = space()
    assert made.size == 3 * 3 * 2 * 3 * 2
    for index in range(0, made.size, 7):
        planned = made.point(index)
        assert planned.key == point(*BASE, *(f"{k}={v}" for k, v in made.overrides(index).items())).key
        assert [made.costs[name][index] for name in ("parameters", "macs", "activations")] == list(planned.cost)
        assert made.costs["size_bytes"][index] == planned.cost.size_bytes
        assert made.of_config(planned.config) == (index, planned)
    assert made.of_config(point(*BASE, "arch.sr=0.5").config) is None
    assert made.of_config(point(*BASE, "train.lr=0.3").config) is None, "another setting differs"


def test_choices_that_are_numbers_are_ascending():
    (sr,) = (axis for axis in space().axes if axis.key == "arch.sr")
    assert (sr.choices, sr.values, sr.ordered) == (("0.125", "0.25", "1.0"), (0.125, 0.25, 1.0), True)


def test_groups_and_recipes_are_axes_too():
    grid = {"train.lr": ["0.1", "0.2"], "arch": ["squeezenet_narrow", "alexnet_small"]}
    made = Space(planner(), [], grid, ())
    for index in range(made.size):
        planned = made.point(index)
        assert made.costs["macs"][index] == planned.cost.macs
        assert made.of_config(planned.config) == (index, planned)
    assert [axis.ordered for axis in made.axes] == [True, False]


@pytest.mark.parametrize(
    ("grid", "constraints", "message"),
    [
        ({"arch.sr": ["0.5", "7.0"]}, [], "sr must be in"),
        ({"arch.width": ["1", "2"]}, [], "arch.width"),
        ({"arch.sr": ["0.5", "0.50"]}, [], "arch.sr must have distinct choices"),
        (
            {"train.epochs": ["2", "3"]},
            [],
            "train.epochs must be an axis that leaves train.epochs as it is, got '2, 3'",
        ),
        ({"data.limit": ["0", "100"]}, [], "data.limit must be an axis that leaves data as it is"),
        ({"compress": ["none", "entropy"]}, [], "compress must be an axis that leaves compress as it is"),
        ({"arch.base_e": [str(i) for i in range(1, 2000)], "train.lr": [str(i) for i in range(1, 2000)]}, [], "points"),
        (
            {"arch.sr": ["0.5", "1.0"]},
            ["size_bytes<=100"],
            r"must leave a network of the space.*has size_bytes [\d,]+ to [\d,]+\)",
        ),
    ],
)
def test_bad_spaces_are_refused_on_one_line(grid, constraints, message):
    with pytest.raises(InputError, match=message) as caught:
        Space(planner(), BASE, grid, [parse_constraint(text) for text in constraints])
    assert "\n" not in str(caught.value)


def test_a_recipe_may_not_bring_its_own_number_of_epochs():
    with pytest.raises(
        InputError, match=r"^train must be an axis that leaves train.epochs as it is, got 'quick, full'$"
    ):
        Space(planner(), ["data=digits"], {"train": ["quick", "full"]}, ())
    assert Space(planner(), TINY, {"train": ["quick", "full"]}, ()).size == 2, "here it is set beside them"


def test_a_value_that_follows_an_axis_is_refused_where_arrays_do_not_count_it():
    with pytest.raises(InputError, match="the space must be of axes to which no other value refers, got"):
        Space(planner(), [*BASE, "arch.incr_e=${arch.base_e}"], {"arch.base_e": ["8", "32"]}, ())


def test_the_space_of_a_search_is_of_lists_of_choices():
    parse = OverridesParser.create().parse_override
    assert sweeper._choices(parse("arch.sr=0.25,0.5")) == ["0.25", "0.5"]
    for text, message in (
        ("search.objectives=top1,macs", "search.objectives must be one value; a list stands in brackets"),
        ("experiment=sr,bypass", "the space must be of networks and recipes, got 'experiment'"),
        ("seed=0,1", "the space must be of networks and recipes, got 'seed'"),
        ("arch.sr=interval(0,1)", "the space must be of lists of choices"),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            sweeper._choices(parse(text))


def test_the_nearest_point_differs_least():
    made = space()
    codes = made.codes[50]
    among = np.ones(made.size, bool)
    random = np.random.default_rng(0)
    assert made.nearest(codes, among, random) == 50
    among[50] = False
    for _ in range(10):
        found = made.codes[made.nearest(codes, among, random)]
        differing = np.flatnonzero(found != codes)
        assert len(differing) == 1, "one axis"
        assert abs(found - codes).max() == 1, "one step"


# Rungs: ranks by hand


def test_non_dominated_ranks_by_hand():
    # Error over size: a staircase 0, 2, 4 that nothing beats; 1 is beaten by 0 alone; 3 by 1 too; 5 equals 4.
    losses = [(0.1, 9), (0.2, 10), (0.3, 5), (0.4, 11), (0.5, 1), (0.5, 1)]
    assert halving.ranks(losses).tolist() == [0, 1, 0, 2, 0, 0]
    assert halving.ranks([(3.0,), (1.0,), (2.0,)]).tolist() == [2, 0, 1], "one objective: the order"
    assert halving.ranks(np.zeros((0, 2))).tolist() == []


def test_crowding_distance_by_hand():
    # Deb et al. 2002: the neighbours' distance over the range, summed; here 3/4 + 3/4 and 3/4 + 3/4.
    assert halving.crowding([(0, 4), (1, 3), (3, 1), (4, 0)]).tolist() == [np.inf, 1.5, 1.5, np.inf]


def test_ranks_agree_with_optunas_sorting():
    from optuna.study import StudyDirection, create_study
    from optuna.trial import create_trial

    losses = np.random.default_rng(0).integers(0, 8, (40, 3)).astype(float)
    study = create_study(directions=["minimize"] * 3)
    study.add_trials([create_trial(values=row) for row in losses])
    assert study.directions == [StudyDirection.MINIMIZE] * 3
    front = {trial.number for trial in study.best_trials}
    assert set(np.flatnonzero(halving.ranks(losses) == 0).tolist()) == front


def test_a_small_network_is_promoted_beside_a_better_large_one():
    # After one epoch: a large good one, a large bad one, a small bad one that is beaten by none of its size.
    losses = {1: {10: (-0.9, 100.0), 11: (-0.5, 100.0), 12: (-0.4, 1.0)}, 3: {}}
    reached = dict.fromkeys((10, 11, 12), 1)
    waiting = [10, 11, 12]
    assert halving.promotion(reached, waiting, losses, (1, 3), reduction=3) in ((10, 3), (12, 3))
    losses[1] |= {13: (-0.45, 90.0), 14: (-0.3, 80.0), 15: (-0.2, 70.0)}
    promoted = []
    while (found := halving.promotion(reached | dict.fromkeys(promoted, 3), waiting, losses, (1, 3), 3)) is not None:
        promoted.append(found[0])
    assert sorted(promoted) == [10, 12], "a third of six: the two that stand for all others"


def test_nothing_is_promoted_before_there_is_a_choice():
    assert halving.promotion({1: 1, 2: 1}, [1, 2], {1: {1: (0.0,), 2: (1.0,)}, 3: {}}, (1, 3), reduction=3) is None


def test_ties_do_not_depend_on_the_order_of_events():
    losses = {i: (float(i % 3), float(-i % 3)) for i in range(9)}
    waiting = list(range(9))
    found = {
        halving.promotion(dict.fromkeys(order, 1), waiting, {1: {i: losses[i] for i in order}, 3: {}}, (1, 3), 3)
        for order in (waiting, waiting[::-1])
    }
    assert len(found) == 1


def test_the_highest_rung_goes_first():
    losses = {1: {i: (float(i),) for i in range(6)}, 3: {i: (float(i),) for i in range(3)}, 9: {}}
    reached = {0: 3, 1: 3, 2: 3, 3: 1, 4: 1, 5: 1}
    assert halving.promotion(reached, list(range(6)), losses, (1, 3, 9), reduction=3) == (0, 9)


# Searches


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_point_breaks_a_constraint_or_comes_twice(sampler):
    made = space("parameters<=6000", "macs>=20e3")
    assert 20 < made.allowed.sum() < 80
    budget = 12 if sampler == "gp" else 24  # each of its answers takes a second
    trials, jobs = run_search(made, SearchSpec(budget_runs=budget, sampler=sampler, first=FIRST), epochs=3)
    assert len(trials) == budget
    assert all(made.costs["parameters"][i] <= 6000 and made.costs["macs"][i] >= 20e3 for i in trials)
    began = [job for job in jobs if job.epoch == 1]
    assert len({job.point for job in began}) == len(began)
    assert len(set(jobs)) == len(jobs), "no job twice"
    assert {trial.status for trial in trials.values()} == {"finished", "stopped"}


def test_the_published_networks_come_first_and_to_the_end():
    made = space()
    _, jobs = run_search(made, SearchSpec(budget_runs=10, first=FIRST), epochs=3)
    expected = [{"arch.sr": 0.25, "arch.bypass": "none"}, {"arch.bypass": "simple"}, {"arch.sr": 1.0}]
    assert [job.epoch for job in jobs[:3]] == [3, 3, 3]
    for job, values in zip(jobs, expected, strict=False):
        arch = made.point(job.point).config.arch
        assert (arch.base_e, arch.fires, arch.pct_3x3) == (16, 4, 0.25)
        assert all(getattr(arch, key.removeprefix("arch.")) == value for key, value in values.items())
    assert jobs[3].epoch == 1, "sr 0.3 is not in the space"


def test_a_space_smaller_than_the_budget_is_enumerated():
    made = space("parameters<=6000")
    allowed = set(np.flatnonzero(made.allowed).tolist())
    trials, _ = run_search(made, SearchSpec(budget_runs=1000, reduction=1), epochs=2)
    assert all(trial.status == "finished" for trial in trials.values())
    networks = {made.point(i).config.arch for i in allowed if made.point(i) is not None}
    assert {made.point(i).config.arch for i in trials} == networks
    assert Searcher(made, SearchSpec(budget_runs=1000), 2).next(trials) is None


def test_one_network_under_two_names_is_trained_once():
    # With as many modules as freq, the increment never comes to bear.
    made = Space(planner(), [*BASE, "arch.freq=4"], {"arch.incr_e": ["8", "16"], "arch.sr": ["0.25", "0.5"]}, ())
    trials, _ = run_search(made, SearchSpec(budget_runs=10), epochs=1)
    assert len(trials) == 2


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "random", "grid"])
def test_a_search_that_is_launched_again_asks_what_it_would_have_asked(sampler):
    # A sixth of the points are second and third names of a network, which turn out on the way.
    grid = GRID | {"arch.incr_e": ["8", "16", "32"], "arch.freq": ["2", "4"]}
    del grid["arch.pct_3x3"], grid["arch.base_e"]
    spec = SearchSpec(budget_runs=60, sampler=sampler, first=FIRST)
    made = Space(planner(), BASE, grid, ())
    lasting = Searcher(made, spec, 3)
    trials: dict[int, Trial] = {}
    for step in range(40):
        job = lasting.next(trials)
        again = Searcher(Space(planner(), BASE, grid, ()), spec, 3)
        assert again.next(dict(reversed(trials.items()))) == job is not None, step
        trials[job.point] = ended(made, job, 3, end=f"{step:05}")
    assert len({made.point(index).config.arch.plan(1) for index in trials}) == len(trials)


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_optuna_reads_the_generations_that_are_noted(sampler):
    # By a private attribute: if Optuna reads another one, all is generation 0, and nothing ever gets parents.
    made = space()
    known = [samplers.Known(tuple(made.codes[i].tolist()), (-top1_of(made, i), float(i))) for i in range(20)]
    study = samplers.study_of(sampler, made.axes, known, 2, samplers.Settings(0, 0, known=20, budget=80))
    for generation, numbers in ((0, range(8)), (1, range(8, 16)), (2, range(16, 20))):
        population = study.sampler.get_population(study, generation)
        assert [trial.number for trial in population] == list(numbers)


def test_in_the_end_nothing_is_left_that_might_be_on_the_front():
    made = space()
    spec = SearchSpec(budget_runs=30)
    trials, _ = run_search(made, spec, epochs=9)
    # The made-up curves keep their order, so what is expected is what comes.
    losses = {i: (-top1_of(made, i), float(made.costs["size_bytes"][i])) for i in trials}
    for index, rank in zip(losses, halving.ranks(list(losses.values())), strict=True):
        assert rank > 0 or trials[index].status == "finished", index
    assert [trial.status for trial in trials.values()].count("stopped") > 5


def test_killed_runs_go_on_before_anything_else():
    made = space()
    searcher = Searcher(made, SearchSpec(budget_runs=10, first_rung=1, first=FIRST), 9)
    stopped = {7: Trial(status="stopped", curve=(0.5,))}
    for curve, rung in (((), 1), ((0.5, 0.6, 0.7), 4), ((0.5,) * 9, 9)):
        assert searcher.next(stopped | {9: Trial(status="killed", curve=curve)}) == Job(9, rung), "of 1, 2, 4, 8, 9"
    # Killed behind its rung's epoch and before its record: it goes back there, and no further for that.
    assert searcher.next(stopped | {9: Trial(status="killed", curve=(0.5, 0.6))}) == Job(9, 2)
    first = searcher.first[0]
    assert searcher.next({first: Trial(status="killed")}) == Job(first, 9)


def test_failed_points_count_and_are_not_tried_again():
    made = space("parameters<=6000")
    count = int(made.allowed.sum())
    trials = {int(i): Trial(status="failed") for i in np.flatnonzero(made.allowed)}
    assert Searcher(made, SearchSpec(budget_runs=count + 5), 3).next(trials) is None


def test_failed_runs_take_no_place_in_a_rung():
    searcher = Searcher(space(), SearchSpec(budget_runs=1, objectives=["top1"]), 2)
    failed = {0: Trial(status="failed", curve=(0.9,)), 1: Trial(status="failed", curve=(0.8,))}
    stopped = {2: Trial(status="stopped", curve=(0.5,)), 3: Trial(status="stopped", curve=(0.4,))}
    assert searcher.next(failed | stopped) == Job(2, 2)


def test_published_networks_that_are_left_out_are_told():
    bound = point(*BASE).cost.parameters
    searcher = Searcher(space(f"parameters<={bound}"), SearchSpec(first=[*FIRST, {"arch.sr": 0.2}]), 3)
    assert searcher.left_out == {
        "arch.sr=1.0": f"breaks parameters<={bound}",
        "arch.sr=0.3": f"breaks parameters<={bound}",
        "arch.sr=0.2": "is not on the axes",
    }
    assert len(searcher.first) == 2
    with pytest.raises(InputError, match=r"arch\.srr"):
        Searcher(space(), SearchSpec(first=[{"arch.srr": 1}]), 3)


def test_a_search_finds_better_networks_than_chance():
    made = space()
    top1 = np.array([top1_of(made, i) for i in range(made.size)])
    losses = np.stack([-top1, made.costs["size_bytes"]], axis=1)
    front = set(np.flatnonzero(halving.ranks(losses) == 0).tolist())
    found = []
    for seed in range(3):
        trials, _ = run_search(made, SearchSpec(budget_runs=40, seed=seed), epochs=3)
        found.append(len(front & set(trials)) / len(front))
    assert np.mean(found) > 40 / made.size, "what random points would have found"
