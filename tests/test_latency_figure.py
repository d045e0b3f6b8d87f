"""Accuracy over latency: only networks that were timed on one machine."""

import numpy as np
import pandas as pd
import pytest

from analysis import costs, sections
from analysis.figures import latency
from analysis.results import read
from analysis.view import View
from tests.records import record

HERE = {"host": "a machine", "device": "cpu", "threads": 1}


def view(store, *along: str) -> View:
    return View(runs=read(store.root).runs, along=along, group=along[0])


@pytest.fixture
def timed(store):
    """Two seeds of sr=0.5 and one run of 0.25, timed here; 0.75 timed elsewhere; 1.0 not timed."""
    for key, seconds, sr, top1, seed in (
        ("a", 0.004, 0.5, 0.80, 0),
        ("b", 0.002, 0.5, 0.90, 1),
        ("c", 0.005, 0.25, 0.70, 0),
    ):
        store.write(record(key, sr=sr, top1=top1, seed=seed, latency_seconds=seconds, **HERE))
    store.write(record("e", sr=0.75, latency_seconds=0.001, **HERE | {"threads": 2}))
    store.write(record("f", sr=1.0))
    return store


def test_latency_and_accuracy_are_means_over_seeds(timed):
    info = latency.info(view(timed, "sr"))
    assert info.group == ("0.25", "0.5")
    assert info.cost == pytest.approx((5, 3)), "milliseconds"
    assert info.accuracy == pytest.approx((70, 85))
    assert info.front == (False, True), "the slower one is worse"
    assert np.isnan(info.high).all(), "two seeds: no interval is drawn"
    assert np.isnan(info.low[0])
    assert info.axis.note == "a machine, cpu, 1 thread; without 1 run timed elsewhere and 1 run not timed"
    assert info.title.endswith(", 1 to 2 seeds")


def test_of_two_machines_with_as_many_runs_always_the_same_one_is_kept():
    columns = {"status": "finished", "top1": 0.9, "device": "cpu", "threads": 1}
    runs = pd.DataFrame({"host": ["b", "a", "b"], "latency_seconds": [np.nan, 1.0, 2.0], **columns})
    for shown in (runs, runs[1:], runs[::-1]):
        kept, left_out = costs.with_comparable_latencies(shown)
        assert (kept.set_index("host")["latency_seconds"]["a"], left_out) == (1.0, 1)


def test_without_two_latencies_there_is_no_figure(store):
    assert latency.figure(view(store, "sr")) is None
    store.write(record("a", sr=0.5, latency_seconds=0.004, **HERE))
    assert latency.figure(view(store, "sr")) is None
    assert not [each for each in sections.figures_of_sweep(view(store, "sr"), "sr") if "latency" in each.name]


def test_the_report_of_a_sweep_and_of_all_networks_has_it(timed):
    shown = {each.name: each.text for section in sections.of(read(timed.root)) for each in section.figures}
    assert shown["sr-latency"] == "Accuracy over latency"
    assert shown["pareto-digits-latency"] == "All networks: accuracy over latency"
