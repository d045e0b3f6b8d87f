"""Choosing what to train next. Nothing trains here."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fire.stats import pareto_front
from sweep.search import samplers
from sweep.search.searcher import Job, Observation, Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SAMPLERS, SearchSpec
from tests.searching import BASE, GRID, space
from tests.sweeping import planner, point

FIRST = [{}, {"arch.bypass": "simple"}, {"arch.sr": 1.0}, {"arch.sr": 0.3}]


def top1_of(space: Space, index: int) -> float:
    """A made-up accuracy, which grows with the size and is no simple function of it."""
    return float(1 - 1 / np.log(space.costs["parameters"][index]) - 0.05 * np.sin(7 * index))


def learnable_top1(space: Space, index: int) -> float:
    """A made-up accuracy that is best for one choice of three axes each, whatever the size."""
    arch = space.point(index).config.arch
    worse = (arch.bypass != "simple") + (arch.sr != 0.125) + (arch.pct_3x3 != 0.25)
    return float(1 - 1 / np.log(space.costs["parameters"][index]) - 0.05 * worse)


def run_search(
    space: Space, spec: SearchSpec, epochs: int, limit: int = 10_000, top1: Callable[[Space, int], float] = top1_of
) -> tuple[dict[int, Trial], list[Job]]:
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
        trials[job.point] = ended(top1(space, job.point), job, epochs, end=f"{len(jobs):05}")
    return trials, jobs


def ended(top1: float, job: Job, epochs: int, end: str = "") -> Trial:
    curve = tuple(top1 * (1 - 0.3 / epoch) for epoch in range(1, job.epoch + 1))
    if job.epoch < epochs:
        return Trial(status="stopped", curve=curve, end=end)
    return Trial(status="finished", curve=curve, top1=top1, end=end)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_point_breaks_a_constraint_or_comes_twice(sampler):
    made = space(parameters=6000, macs=1e6)
    assert 20 < made.allowed.sum() < 80
    trials, jobs = run_search(made, SearchSpec(budget_runs=24, sampler=sampler, reduction=2, first=FIRST), epochs=3)
    assert len(trials) == 24
    assert all(made.costs["parameters"][i] <= 6000 and made.costs["macs"][i] <= 1e6 for i in trials)
    began = [job for job in jobs if job.epoch == 1]
    assert len({job.point for job in began}) == len(began)
    assert len(set(jobs)) == len(jobs), "no job twice"
    assert {trial.status for trial in trials.values()} == {"finished", "stopped"}


def test_the_published_networks_come_first_and_to_the_end():
    made = space()
    _, jobs = run_search(made, SearchSpec(budget_runs=10, reduction=2, first=FIRST), epochs=3)
    expected = [{"arch.sr": 0.25, "arch.bypass": "none"}, {"arch.bypass": "simple"}, {"arch.sr": 1.0}]
    assert [job.epoch for job in jobs[:3]] == [3, 3, 3]
    for job, values in zip(jobs, expected, strict=False):
        arch = made.point(job.point).config.arch
        assert (arch.base_e, arch.fires, arch.pct_3x3) == (16, 4, 0.25)
        assert all(getattr(arch, key.removeprefix("arch.")) == value for key, value in values.items())
    assert jobs[3].epoch == 1, "sr 0.3 is not in the space"


def test_a_space_smaller_than_the_budget_is_enumerated():
    made = space(parameters=6000)
    allowed = set(np.flatnonzero(made.allowed).tolist())
    trials, _ = run_search(made, SearchSpec(budget_runs=1000), epochs=2)
    assert all(trial.status == "finished" for trial in trials.values())
    networks = {made.point(i).config.arch for i in allowed if made.point(i) is not None}
    assert {made.point(i).config.arch for i in trials} == networks
    assert Searcher(made, SearchSpec(budget_runs=1000), 2).next(trials) is None


def test_one_network_under_two_names_is_trained_once():
    # With as many modules as freq, the increment has no effect.
    made = Space(planner(), [*BASE, "arch.freq=4"], {"arch.incr_e": ["8", "16"], "arch.sr": ["0.25", "0.5"]})
    trials, _ = run_search(made, SearchSpec(budget_runs=10), epochs=1)
    assert len(trials) == 2


@pytest.mark.parametrize("tried", [2, 4])
def test_names_of_networks_that_were_tried_cost_no_further_asks(tried, monkeypatch):
    # As above: 20 points, which are 4 networks, one for each SR.
    incr_e = [str(8 * i) for i in range(1, 6)]
    srs = ["0.25", "0.5", "0.75", "1.0"]
    made = Space(planner(), [*BASE, "arch.freq=4"], {"arch.incr_e": incr_e, "arch.sr": srs})
    asked = []

    def proposals():
        while True:
            asked.append((3, 0))
            yield asked[-1]  # a further name of the first network

    def sampler(question):
        return samplers.nearest_untried(question, proposals())

    monkeypatch.setitem(samplers.SAMPLERS, "tpe", sampler)
    searcher = Searcher(made, SearchSpec(budget_runs=10, sampler="tpe"), 1)
    job = searcher.next({place: Trial(status="failed") for place in range(tried)})
    assert job is None if tried == 4 else made.point(job.point).config.arch.sr == 0.75, "the nearest that is left"
    assert len(asked) == samplers.ASKS


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_is_launched_again_asks_what_it_would_have_asked(sampler):
    # A sixth of the points are second and third names of a network, which turn out on the way.
    grid = GRID | {"arch.incr_e": ["8", "16", "32"], "arch.freq": ["2", "4"]}
    del grid["arch.pct_3x3"], grid["arch.base_e"]
    settings = SearchSpec(budget_runs=60, sampler=sampler, reduction=2, first=FIRST)
    made = Space(planner(), BASE, grid)
    lasting = Searcher(made, settings, 3)
    trials: dict[int, Trial] = {}
    for step in range(40):
        job = lasting.next(trials)
        if step % 5 == 0:
            again = Searcher(Space(planner(), BASE, grid), settings, 3)
            assert again.next(dict(reversed(trials.items()))) == job, step
        trials[job.point] = ended(top1_of(made, job.point), job, 3, end=f"{step:05}")
    assert len({made.point(index).config.arch.plan(1) for index in trials}) == len(trials)


def test_there_is_a_function_for_each_sampler():
    assert tuple(samplers.SAMPLERS) == SAMPLERS


def test_children_of_nsga2_are_of_the_best_networks_that_were_tried():
    # On the front are networks of four modules with simple bypass alone; all others are worse in both objectives.
    made = space()
    axes = {axis.key: axis for axis in made.axes}
    fires, bypass = (list(axes).index(key) for key in ("arch.fires", "arch.bypass"))
    good = (made.codes[:, fires] == 0) & (made.codes[:, bypass] == 1)
    observations = [
        Observation(tuple(codes), (float(i), -float(i)) if is_good else (1e3 + i, 1e3))
        for i, (codes, is_good) in enumerate(zip(made.codes.tolist(), good, strict=True))
    ]
    untried = np.ones(made.size, bool)
    children = [
        next(samplers.nsga2(samplers.Question(made, untried, observations, np.random.default_rng(seed))))
        for seed in range(60)
    ]
    # A child keeps both genes unless one of them mutates: each with a chance of 1/5 (Deb et al. 2002), to any choice.
    assert np.mean(good[children]) > 0.5 > good.mean() == 1 / 6


def test_in_the_end_nothing_is_left_that_might_be_on_the_front():
    made = space()
    settings = SearchSpec(budget_runs=30, reduction=2)
    trials, _ = run_search(made, settings, epochs=9)
    # The made-up curves keep their order, so what is expected is what comes.
    losses = {i: (-top1_of(made, i), float(made.costs["size_bytes"][i])) for i in trials}
    for index, is_best in zip(losses, pareto_front(list(losses.values())), strict=True):
        assert not is_best or trials[index].status == "finished", index
    assert [trial.status for trial in trials.values()].count("stopped") > 5


def test_killed_runs_go_on_before_anything_else():
    made = space()
    searcher = Searcher(made, SearchSpec(budget_runs=10, reduction=2, first_rung=1, first=FIRST), 9)
    stopped = {7: Trial(status="stopped", curve=(0.5,))}
    for curve, rung in (((), 1), ((0.5, 0.6, 0.7), 4), ((0.5,) * 9, 9)):
        assert searcher.next(stopped | {9: Trial(status="killed", curve=curve)}) == Job(9, rung), "of 1, 2, 4, 8, 9"
    # Killed behind its rung's epoch and before its record: it goes back there, and no further for that.
    assert searcher.next(stopped | {9: Trial(status="killed", curve=(0.5, 0.6))}) == Job(9, 2)
    first = searcher.first[0]
    assert searcher.next({first: Trial(status="killed")}) == Job(first, 9)


def test_stopped_runs_of_which_nothing_is_to_be_decided_go_on():
    better = {7: Trial(status="finished", curve=(0.9, 0.9, 0.9), top1=0.9)}
    stopped = better | {8: Trial(status="stopped", curve=(0.5,))}
    # Killed after its last epoch and before its record: the older one still says that it was stopped at a rung.
    whole = better | {8: Trial(status="stopped", curve=(0.5, 0.5, 0.5))}
    halving, none = (SearchSpec(budget_runs=1, objectives=["top1"], reduction=reduction) for reduction in (2, 1))
    assert Searcher(space(), halving, 3).next(stopped) is None, "beaten at its rung"
    assert Searcher(space(), halving, 3).next(whole) == Job(8, 3)
    assert Searcher(space(), none, 3).next(stopped) == Job(8, 3), "all are trained to the end"


def test_upcoming_points_are_within_the_budget_and_not_tried():
    made = space()
    searcher = Searcher(made, SearchSpec(budget_runs=3, reduction=2, first=FIRST), 3)
    first = list(searcher.first)
    assert len(first) == 3
    assert searcher.upcoming({}) == first
    assert Searcher(made, SearchSpec(budget_runs=2, first=FIRST), 3).upcoming({}) == first[:2]
    done, failed = Trial(status="finished", curve=(0.5,) * 3, top1=0.5), Trial(status="failed")
    killed, stopped = Trial(status="killed"), Trial(status="stopped", curve=(0.5,))
    assert searcher.upcoming({first[0]: done, first[1]: failed}) == first[2:]
    other = next(index for index in range(made.size) if index not in first)
    assert searcher.upcoming({first[0]: stopped, other: killed}) == [*sorted((first[0], other)), first[1]]
    assert searcher.upcoming({first[0]: done, other: stopped, other + 1: done}) == [], "the budget is spent"


def test_upcoming_points_of_one_network_are_its_first_in_the_order_of_the_runs():
    made = Space(planner(), BASE, {"arch.sr": ["0.25", "0.26", "1.0"]})  # 0.25 and 0.26 are one network
    searcher = Searcher(made, SearchSpec(budget_runs=2), 3, warm=(0, 2, 1))
    assert searcher.upcoming({}) == [0, 2]
    assert [searcher.next(trials) for trials in ({}, {0: Trial(status="running")})] == [Job(0, 3), Job(2, 3)]


def test_failed_points_count_and_are_not_tried_again():
    made = space(parameters=6000)
    count = int(made.allowed.sum())
    trials = {int(i): Trial(status="failed") for i in np.flatnonzero(made.allowed)}
    assert Searcher(made, SearchSpec(budget_runs=count + 5), 3).next(trials) is None


def test_failed_runs_take_no_place_in_a_rung():
    searcher = Searcher(space(), SearchSpec(budget_runs=1, objectives=["top1"], reduction=2), 2)
    failed = {0: Trial(status="failed", curve=(0.9,)), 1: Trial(status="failed", curve=(0.8,))}
    stopped = {2: Trial(status="stopped", curve=(0.5,)), 3: Trial(status="stopped", curve=(0.4,))}
    assert searcher.next(failed | stopped) == Job(2, 2)


def test_entries_of_first_that_are_no_networks_of_the_space_are_left_out_with_the_reason():
    bound = point(*BASE).cost.parameters
    searcher = Searcher(space(parameters=bound), SearchSpec(first=[*FIRST, {"arch.sr": 0.2}, {"arch.srr": 1}]), 3)
    unknown = searcher.left_out.pop("arch.srr=1")
    assert unknown.startswith("arch.srr must be one of base_e, ")
    assert searcher.left_out == {
        "arch.sr=1.0": f"exceeds parameters<={bound}",
        "arch.sr=0.3": f"exceeds parameters<={bound}",
        "arch.sr=0.2": "is not on the axes",
    }
    assert len(searcher.first) == 2
    # BASE has base_e=16.
    narrow = Space(planner(), BASE, {"arch.base_e": ["8", "14"]})
    assert Searcher(narrow, SearchSpec(first=[{}]), 3).left_out == {"{}": "is not on the axes"}


def test_the_highest_rung_is_promoted_first():
    # Rungs 1, 2, 4, 8, 9: both 0 and 3 are the best of their rung, and 0 is nearer to a result.
    searcher = Searcher(space(), SearchSpec(budget_runs=1, objectives=["top1"], reduction=2, first_rung=1), 9)
    reached = {0: 2, 1: 2, 2: 1, 3: 1}
    trials = {i: Trial(status="stopped", curve=(0.9 - i / 10,) * epochs) for i, epochs in reached.items()}
    assert searcher.next(trials) == Job(0, 4)
    trials = {i: replace(trial, curve=trial.curve[:1]) for i, trial in trials.items()}
    assert searcher.next(trials) == Job(0, 2)


def test_a_search_finds_better_networks_than_chance():
    made = space()
    top1 = np.array([learnable_top1(made, i) for i in range(made.size)])
    losses = np.stack([-top1, made.costs["size_bytes"]], axis=1)
    front = set(np.flatnonzero(pareto_front(losses)).tolist())
    found = {}
    for sampler in ("ehvi", "tpe", "random"):
        specs = [SearchSpec(budget_runs=30, seed=seed, sampler=sampler) for seed in range(8)]
        tried = [set(run_search(made, spec, epochs=3, top1=learnable_top1)[0]) for spec in specs]
        found[sampler] = np.mean([len(front & each) / len(front) for each in tried])
    # Over 8 seeds, the means of two random samplers differ with a standard deviation of 0.09.
    assert found["tpe"] > found["random"] + 0.35
    assert found["ehvi"] > found["random"] + 0.35
