"""Searches along a map: they end when the band is narrow, and begin with the networks expected best."""

import dataclasses

import numpy as np
import pytest

from fire.errors import InputError
from sweep.commands.display import Display
from sweep.config import Options
from sweep.manifests import Sweep
from sweep.map import stored
from sweep.map.making import make
from sweep.search import guided, history
from sweep.search.campaign import Campaign
from sweep.search.searcher import Searcher, Trial
from sweep.search.spec import SearchSpec
from sweep.store import Store
from tests.records import record_of
from tests.searching import BASE, space
from tests.sweeping import answered
from tests.test_search import run_search

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
