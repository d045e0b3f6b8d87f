"""Searches along a map: they end when the band is narrow, and begin with the networks expected best."""

import dataclasses

import numpy as np
import pytest

from fire.errors import InputError
from fire.stats import hypervolume
from sweep.commands.display import Display
from sweep.config import Options
from sweep.manifests import Sweep
from sweep.map import stored
from sweep.map.making import make
from sweep.search import guided, history, samplers
from sweep.search.campaign import Campaign
from sweep.search.searcher import Observation, Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SearchSpec
from sweep.store import Store
from tests.records import record_of
from tests.searching import BASE, space
from tests.sweeping import TINY, answered, planner
from tests.test_search import learnable_top1, run_search

MAP = SearchSpec(budget_runs=40, sampler="map", objectives=["top1"])


def test_the_search_ends_when_the_band_is_as_narrow_as_asked():
    made = space()
    wide, _ = run_search(made, dataclasses.replace(MAP, band=0.99), epochs=1)
    assert 10 <= len(wide) <= 12, "as soon as there can be a map; two workers"
    whole, _ = run_search(made, MAP, epochs=1)
    assert len(whole) == 40
    ended, _ = run_search(made, dataclasses.replace(MAP, band=0.99, budget_runs=10 * made.size), epochs=1)
    assert ended.keys() == wide.keys(), "with a budget for the whole space, too"


def test_the_summary_says_why_it_ended_before_its_budget(tmp_path, capsys):
    made, store = space(), Store(tmp_path)
    fill(store, 12)
    campaign = Campaign(
        manifest=Sweep(name="map", varied=(), points=()),
        store=store,
        options=Options(results_dir=str(tmp_path)),
        space=made,
        searcher=Searcher(made, dataclasses.replace(MAP, band=0.99), 3),
        trials=history.trials(store, made, history.records(store, made), None),
        display=Display([], Options(), open_ended=True),
    )
    assert campaign.next(()) is None
    campaign.print_summary()
    assert "ended after 12 of 40 runs: the band of the map is as narrow as search.band" in capsys.readouterr().out
    campaign.searcher = Searcher(made, MAP, 3)
    campaign.print_summary()
    assert "ended after" not in capsys.readouterr().out, "it was interrupted"


def test_runs_under_way_are_not_proposed_again():
    made = space()
    trials = {
        int(i): Trial(status="finished", curve=(0.5,), top1=0.5 + i / 1000, end=f"{i:04}") for i in range(0, 60, 4)
    }
    searcher = Searcher(made, MAP, 1)
    chosen = []
    for _ in range(6):
        job = searcher.next(trials)
        chosen.append(made.network(job.point))
        trials[job.point] = Trial(status="running")
    assert len(set(chosen)) == 6


def test_steps_hold_the_hypervolume_that_a_network_adds():
    random = np.random.default_rng(0)
    costs, top1 = random.random(12), random.random(12)
    worst = top1.min() - np.ptp(top1) / 10
    steps = guided.steps(costs, top1, most=1.5)
    before = hypervolume(costs, top1, (1.5, worst))
    for cost, accuracy in random.random((20, 2)):
        widths = np.maximum(0, steps.ends - np.maximum(steps.starts, cost))
        added = widths @ np.maximum(0, accuracy - steps.top1)
        after = hypervolume([*costs, cost], [*top1, accuracy], (1.5, worst))
        assert added == pytest.approx(after - before), (cost, accuracy)


def asked(spec: SearchSpec, observations: list[Observation], seed: int = 0) -> list[int]:
    """What the sampler ehvi proposes after these observations, the best first."""
    made, untried = space(), np.ones(space().size, bool)
    untried[[np.ravel_multi_index(codes, made.shape) for codes, _ in observations]] = False
    found = list(samplers.ehvi(samplers.Question(made, untried, observations, np.random.default_rng(seed), spec)))
    assert set(found) == set(np.flatnonzero(untried)), "each point comes"
    return found


def test_ehvi_begins_with_cheap_networks_of_all_sizes():
    macs, codes = space().costs["macs"], space().codes
    order = np.argsort(macs)[::-1].tolist()
    for tried in range(10):
        running = [Observation(tuple(codes[place].tolist()), None) for place in order[:tried]]
        left = np.sort(macs[order[tried:]])
        tenth = np.array_split(left[: len(left) // 2], 10)[tried]
        assert tenth[0] <= macs[asked(SearchSpec(), running)[0]] <= tenth[-1]


@pytest.mark.parametrize(
    "objectives", [["top1"], ["top1", "size_bytes"], ["top1", "latency"], ["macs", "top1", "latency"]]
)
def test_ehvi_asks_for_what_is_accurate_for_its_cost(objectives):
    made = space()
    random = np.random.default_rng(0)
    tried = random.permutation(made.size)[:20]
    top1 = {i: learnable_top1(made, i) for i in range(made.size)}
    costs = made.costs["macs" if "latency" in objectives else "size_bytes"]
    place = objectives.index("top1")
    seen = []
    for i in tried.tolist():
        losses = [float(costs[i])] * len(objectives)
        losses[place] = -top1[i]
        seen.append(Observation(tuple(made.codes[i].tolist()), tuple(losses)))
    spent = SearchSpec(budget_runs=20, objectives=objectives)  # the cost of training counts no more
    best, *others = asked(spent, seen)

    def volume(*points: int) -> float:
        known = np.append(tried, points).astype(int)
        cost = np.zeros(len(known)) if objectives == ["top1"] else np.log(costs[known])
        return hypervolume(cost, [top1[i] for i in known], (np.log(costs.max()) + 1, 0))

    assert volume(best) > volume()
    assert volume(best) >= np.quantile([volume(point) for point in others], 0.9)


def test_ehvi_sees_which_recipe_is_better():
    grid = {"arch.sr": [f"{sr:.2f}" for sr in np.linspace(0.1, 0.9, 9)], "train": ["quick", "mixup", "full"]}
    made = Space(planner(), [*TINY, "arch.fires=2"], grid)
    recipes = made.codes[:, 1]
    tried = np.random.default_rng(0).permutation(made.size)[:15]
    size = made.costs["size_bytes"]
    seen = [
        Observation(tuple(made.codes[i].tolist()), (-(0.5 + 0.2 * (recipes[i] == 2)), float(size[i])))
        for i in tried.tolist()
    ]
    untried = np.ones(made.size, bool)
    untried[tried] = False
    first = next(samplers.ehvi(samplers.Question(made, untried, seen, np.random.default_rng(0))))
    assert recipes[first] == 2, "costs say nothing of it"


def test_the_map_of_ehvi_is_fitted_again_to_a_twentieth_more_runs():
    assert [samplers._fitted(ended) for ended in (10, 11, 39, 41, 42)] == [10, 11, 39, 40, 42]
    fitted = [samplers._fitted(ended) for ended in range(1000, 2001)]
    assert len(set(fitted)) <= 16, "1.05 to the power of 14 is 2"
    assert all(20 / 21 < many / ended <= 1 for many, ended in zip(fitted, range(1000, 2001), strict=True))


def test_macs_stand_for_a_latency_that_is_not_known():
    made = space()
    question = samplers.Question(made, np.ones(made.size, bool), [], np.random.default_rng(0))
    for objectives, cost in ((["top1", "latency"], "macs"), (["latency", "top1", "flash_bytes"], "flash_bytes")):
        found = samplers._cost(question._replace(spec=SearchSpec(objectives=objectives)))
        assert found == pytest.approx(np.log(made.costs[cost]))


def test_what_runs_is_expected_to_end_as_the_map_says():
    made = space()
    order = np.random.default_rng(0).permutation(made.size)
    seen = [
        Observation(tuple(made.codes[i].tolist()), (-learnable_top1(made, i), float(made.costs["size_bytes"][i])))
        for i in order[:30].tolist()
    ]
    first = asked(SearchSpec(), seen)[0]
    under_way = Observation(tuple(made.codes[first].tolist()), None)
    second = asked(SearchSpec(), [*seen, under_way])[0]
    sizes = made.costs["size_bytes"]
    assert sizes[second] != sizes[first], "what a twin of it would add is expected already"


def fill(store: Store, count: int = 40) -> list[str]:
    """Finished runs of the small space, where simple bypass is worth ten points; their keys."""
    made, keys = space(), []
    for index in np.random.default_rng(0).permutation(made.size).tolist():
        point = made.point(index)
        if point is not None and point.key not in keys and len(keys) < count:
            better = 0.1 if point.config.arch.bypass == "simple" else 0.0
            store.write(record_of(point.config, 0.4 + better + 0.03 * np.log10(point.cost.parameters)))
            keys.append(point.key)
    return keys


def test_a_search_begins_with_the_networks_expected_best_of_each_size(tmp_path):
    store, made = Store(tmp_path), space()
    fill(store)
    stored.write(store.root, make(store.records()))
    spec = SearchSpec(budget_runs=20, warm_start="map", sampler="random", first=[{}])
    warm = guided.beginning(made, spec, store)
    assert 5 <= len(warm) <= guided.BEGIN_WITH
    assert {made.point(i).config.arch.bypass for i in warm} == {"simple"}
    sizes = made.costs["size_bytes"][list(warm)]
    assert (np.diff(sizes) > 0).all(), "a network of each class, the smallest first"
    searcher = Searcher(made, spec, 3, warm)
    trials: dict[int, Trial] = {}
    for point in (*searcher.first, *(i for i in warm if i not in searcher.first)):
        assert searcher.upcoming(trials)[0] == point
        assert searcher.next(trials).point == point
        trials[point] = Trial(status="failed")
    assert guided.beginning(made, dataclasses.replace(spec, objectives=["top1"]), store) != warm
    assert guided.beginning(made, SearchSpec(), store) == ()


def test_a_search_keeps_its_beginning_when_there_are_more_runs(tmp_path):
    store = Store(tmp_path)
    fill(store)
    stored.write(store.root, make(store.records()))
    spec = SearchSpec(warm_start="map")
    before = guided.beginning(space(), spec, store)
    fill(store, 80)
    assert guided.beginning(space(), spec, store) == before, "the map's file names its runs"


def test_without_a_map_of_this_recipe_there_is_no_warm_start(tmp_path):
    store = Store(tmp_path)
    fill(store)
    made = make(store.records())
    stored.write(store.root, dataclasses.replace(made, train=made.train | {"lr": 7.0}))
    with pytest.raises(InputError) as caught:
        guided.beginning(space(), SearchSpec(warm_start="map"), store)
    assert str(caught.value) == (
        "search.warm_start must be none where the results have no map of this data set and recipe "
        "(python -m analysis map RESULTS), got 'map'"
    )


def test_the_experiment_plans_its_runs(tmp_path):
    arguments = [*BASE, f"results_dir={tmp_path}", "search.budget_runs=3", "dry_run=true"]
    code, out, err = answered("experiment=map", *arguments)
    assert (code, err) == (0, "")
    assert "3 to be" in out
    code, _, err = answered("experiment=map", *arguments, "search.warm_start=map")
    assert code == 2
    assert err.startswith("sweep: search.warm_start must be none where the results have no map")
