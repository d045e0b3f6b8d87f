"""The comparison of maps with simpler predictors, on made-up tables."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from bench import map as compared
from bench import replay
from bench.tabular import Tabular
from fire.cost import COSTS
from tests.searching import space
from tests.test_search import top1_of


def test_tau_is_kendalls():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 30))
    everything = compared.pairs_of(np.ones(30))
    assert everything.sum() == 30 * 29 / 2
    assert compared.tau(a, b, everything) == pytest.approx(kendalltau(a, b).statistic)


def test_networks_of_about_equal_macs_are_compared_by_hand():
    macs = np.array([100.0, 119.0, 121.0, 300.0])
    pairs = compared.pairs_of(macs, compared.ALIKE)
    assert np.argwhere(pairs).tolist() == [[0, 1], [1, 2]]
    # Of these two pairs the first is in order, the second is not.
    assert compared.tau(np.array([1.0, 2, 3, 0]), np.array([5.0, 6, 4, 0]), pairs) == 0
    assert np.isnan(compared.tau(macs, macs, compared.pairs_of(macs, 1.0)))


def made_up(noise: float) -> compared.Networks:
    """96 networks whose accuracy follows from MACs and SR."""
    random = np.random.default_rng(0)
    macs, sr = np.exp(random.uniform(13, 18, 96)), random.choice([0.125, 0.25, 0.5, 1.0], 96)
    costs = {name: macs * np.exp(random.normal(0, 1, 96)) for name in ("parameters", "activations", "peak_ram_bytes")}
    exact = 0.3 + 0.02 * np.log(macs) + 0.1 * sr
    top1, first = (exact + random.normal(0, deviation, 96) for deviation in (noise, 0.03))
    return compared.Networks(costs | {"macs": macs, "sr": sr}, first - 0.2, top1, macs)


def test_the_process_orders_better_than_costs_alone_and_no_better_than_the_seeds():
    networks = made_up(0.004)
    second = networks.top1 + np.random.default_rng(1).normal(0, 0.004, 96)
    second[24:] = np.nan
    found = {row.what: row for row in compared.rows(networks, second)}
    assert list(found) == [
        "two seeds",
        *(
            f"tau: {name}{early}"
            for name in (
                "parameters alone",
                "MACs alone",
                "ridge regression",
                "random forest",
                "Gaussian process of costs alone",
                "Gaussian process, settings weigh as costs",
                "the map's Gaussian process",
            )
            for early in ("", " and one epoch of each")
        ),
        "coverage of the 90 % band",
    ]
    assert found["two seeds"].peer == "24 networks"

    def measured(what: str) -> float:
        return float(re.match(r"[\d.]+", found[what].measured)[0])

    assert measured("tau: the map's Gaussian process") > measured("tau: MACs alone") + 0.1
    assert measured("tau: MACs alone") > measured("tau: parameters alone")
    assert 0.8 <= measured("coverage of the 90 % band") <= 1
    assert float(found["tau: MACs alone"].goal) == pytest.approx(0.95 * measured("two seeds"), abs=0.01)
    alone = next(compared.rows(networks))
    assert (alone.what, alone.goal) == ("tau: parameters alone", "-"), "no second seed, no goal"
    shared = {row.what: row.measured for row in compared.rows(networks._replace(supernet=networks.top1))}
    assert shared["tau: the supernet alone"] == "1.00 (1.00 to 1.00, n = 20)", "it knows the order"
    assert {"tau: the map's Gaussian process and the supernet", "tau: MACs alone and the supernet"} < shared.keys()


def test_searches_with_and_without_a_map_are_replayed_to_99_percent():
    made = space.__wrapped__()
    chosen = [i for i in np.random.default_rng(0).permutation(made.size).tolist() if made.point(i) is not None][:60]
    names = [axis.key.removeprefix("arch.") for axis in made.axes]
    rows = [[axis.values[code] for axis, code in zip(made.axes, made.codes[i], strict=True)] for i in chosen]
    curves = np.array([[top1_of(made, i) * 0.8, top1_of(made, i)] for i in chosen])
    table = replay.Table(made, Tabular(networks=pd.DataFrame(rows, columns=names), curves=curves))
    found = list(compared.warm_rows(table))
    assert [row.what.split(":")[0] for row in found] == ["search.warm_start=none", "search.warm_start=map"]
    assert all(0 < float(re.match(r"[\d.]+", row.measured)[0]) <= 1 for row in found)


def test_what_was_trained_before_a_search_costs_too():
    table = SimpleNamespace(
        epochs=1, cost=200, hypervolume=1, cost_of=lambda point, epochs: 10, dominated=lambda points: len(points) / 10
    )
    steps = [(5.0, None), (5.0, 8), (5.0, None), (5.0, 9), (5.0, 10)]
    assert compared._cost_to(table, list(range(8)), iter(steps)) == (8 * 10 + 4 * 5) / 200
    assert compared._cost_to(table, list(range(8)), iter(steps[:3])) == 1, "never reached"


def test_networks_of_a_table_have_costs_and_the_settings_that_vary():
    rows = pd.DataFrame(
        {name: [1.0, 2.0] for name in COSTS} | {"sr": [0.25, 0.5], "fires": [8, 8], "bypass": ["none", "simple"]}
    )
    found = compared.networks_of(Tabular(networks=rows, curves=np.array([[0.1, 0.5], [0.2, 0.6]])))
    assert list(found.columns) == ["parameters", "macs", "activations", "peak_ram_bytes", "sr", "bypass"]
    assert (found.epoch_1.tolist(), found.top1.tolist()) == ([0.1, 0.2], [0.5, 0.6])


def test_accuracies_of_the_supernet_go_by_key(tmp_path):
    rows = pd.DataFrame({name: [1.0, 2.0] for name in COSTS} | {"sr": [0.25, 0.5], "key": ["a", "b"]})
    table = Tabular(networks=rows, curves=np.array([[0.5], [0.6]]))
    shared = tmp_path / "supernet.csv"
    shared.write_text("key,top1\nb,0.2\na,0.1\n")
    assert compared.networks_of(table, shared).supernet.tolist() == [0.1, 0.2]
    shared.write_text("key,top1\nb,0.2\n")
    with pytest.raises(ValueError, match="must hold all 2 networks, lacks 1"):
        compared.networks_of(table, shared)
