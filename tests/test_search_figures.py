"""What is shown of a search: facts by hand; runs that were stopped early are in nothing but the cost."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import costs, report, style, tables
from analysis.axes import MACS, SIZE
from analysis.figures import distribution, hypervolume, importance, parallel, pareto
from analysis.results import read
from analysis.view import View
from fire import stats
from fire.arch import ResNet8Spec, SqueezeNetSpec
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.store import Store
from tests.records import record
from tests.sweeping import write_curve
from tests.test_figures import drawn


def frame(**columns: list) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    defaults = {
        "status": ["finished"] * count,
        "key": [f"{i:04}" for i in range(count)],
        "end": [f"2026-01-01T00:00:{i:02}" for i in range(count)],
        "epochs": [1] * count,
        "macs": [1e9] * count,
        "size_bytes": [1000] * count,
    }
    runs = pd.DataFrame(defaults | columns)
    return runs.assign(size_mib=runs["size_bytes"] / 2**20)


def view(runs: pd.DataFrame, *along: str) -> View:
    """As the report views a search: by the accuracy on the validation set."""
    return View(runs=runs, along=along, group=next(iter(along), None), judged_by="validation_top1")


def test_hypervolume_over_cost_by_hand():
    # Over log10(size) to 4 + 0.2 and down to 0.5 - 0.04: (4, 0.5) gives 0.2 x 0.04, (2, 0.7) alone 2.2 x 0.24, and
    # (3, 0.9) adds 1.2 x 0.2.
    runs = frame(
        size_bytes=[10_000, 100, 1, 1000],
        validation_top1=[0.5, 0.7, 0.99, 0.9],
        status=["finished", "finished", "stopped", "finished"],
        epochs=[3, 3, 1, 3],
    ).sample(frac=1, random_state=0)
    info = hypervolume.info(view(runs))
    assert info.cost == (3, 6, 7, 10)
    assert info.volume == pytest.approx((0.008 / 0.768, 0.528 / 0.768, 0.528 / 0.768, 1))
    assert (info.finished, info.stopped) == (3, 1)
    assert hypervolume.info(view(runs[runs["size_bytes"] == 100])).volume == (1,), "a single run is all there is"


def test_hypervolumes_are_those_of_all_runs_so_far_to_the_last_bit(monkeypatch):
    random, computed = np.random.default_rng(0), []
    bytes_, top1 = random.integers(1, 20, 300) * 1000, random.random(300).round(2)  # with many that are equal
    runs = frame(size_bytes=bytes_, validation_top1=top1, end=[f"{i:04}" for i in range(300)])
    monkeypatch.setattr(hypervolume, "hypervolume", lambda *of: computed.append(of) or stats.hypervolume(*of))
    info = hypervolume.info(view(runs))
    sizes = np.log10(runs["size_mib"])
    reference = (sizes.max() + np.ptp(sizes) / 10, top1.min() - np.ptp(top1) / 10)
    expected = [stats.hypervolume(sizes[:n], top1[:n], reference) for n in range(1, 301)]
    assert info.volume == tuple(volume / expected[-1] for volume in expected)
    assert len(computed) == len(set(expected)) < 100, "a run that others beat leaves the area as it is"


def test_without_a_finished_run_that_can_be_judged_there_is_no_progress():
    known = frame(size_bytes=[1, 2], validation_top1=[0.5, 0.6])
    for runs in (
        known.assign(status="stopped"),
        known.assign(validation_top1=np.nan),
        known.assign(size_mib=np.nan),
    ):
        assert hypervolume.figure(view(runs)) is None
    assert hypervolume.info(view(known.assign(validation_top1=[np.nan, 0.6]))).finished == 1


def test_importance_of_what_matters_alone_and_of_what_does_not():
    random = np.random.default_rng(0)
    runs = frame(
        sr=random.choice([0.25, 0.5, 1.0], 200).tolist(), bypass=random.choice(["none", "simple"], 200).tolist()
    )
    runs["freq"] = random.choice([1, 2], 200)
    runs["validation_top1"] = runs["sr"] + 0.4 * (runs["bypass"] == "simple")
    info = importance.info(view(runs, "freq", "bypass", "sr"))
    # Variances on the grid: sr 0.0972 (of 0.25, 0.5, 1), bypass 0.04; nothing else, and no interaction.
    variances = np.array([np.var([0.25, 0.5, 1.0]), 0.4**2 / 4])
    assert info.names == ("sr", "bypass", "freq")
    assert info.shares[:2] == pytest.approx(variances / variances.sum(), abs=0.05)
    assert info.shares[2] < 0.01
    assert info.r2 > 0.95


def test_interactions_are_of_no_axis():
    runs = frame(a=[0, 0, 1, 1] * 20, b=[0, 1, 0, 1] * 20)
    runs["validation_top1"] = (runs["a"] ^ runs["b"]).astype(float)
    info = importance.info(view(runs, "a", "b"))
    assert max(info.shares) < 0.15


def test_few_runs_tell_nothing_of_importance():
    runs = frame(sr=[0.25, 0.5] * 4, validation_top1=[0.5] * 8, status=["finished"] * 7 + ["stopped"])
    assert importance.info(view(runs, "sr")) is None


def test_distributions_at_matched_size_by_hand():
    # Sizes 1 and 100: "none" has three small networks and one large one, "simple" one of each. 1000 is unmatched.
    runs = frame(
        size_bytes=[1, 1, 1, 100, 1, 100, 1, 100],
        bypass=["none"] * 4 + ["simple"] * 2 + ["none"] * 2,
        validation_top1=[0.1, 0.2, 0.3, 0.9, 0.2, 0.8, 0.99, 0.99],
        status=["finished"] * 6 + ["stopped", "failed"],
    )
    info = distribution.info(view(runs, "bypass"))
    assert info.names == ("none", "simple")
    assert info.accuracy == (pytest.approx((10, 20, 30, 90)), pytest.approx((20, 80)))
    assert info.part == (pytest.approx((1 / 6, 2 / 6, 3 / 6, 1)), pytest.approx((0.5, 1))), "a half for each size"
    assert info.counts == (4, 2)
    assert distribution.info(view(runs[runs["bypass"] == "none"], "bypass")) is None


def test_lines_are_of_finished_runs():
    runs = frame(
        sr=[0.5, 0.25, 0.5],
        freq=[1, 2, 2],
        fires=[4, 4, 8],
        validation_top1=[0.9, 0.8, 0.99],
        status=["finished", "finished", "stopped"],
    )
    info = parallel.info(view(runs, "sr", "fires", "freq"))
    assert (info.axes, info.values) == (("sr", "freq"), (("0.25", "0.5"), ("1", "2")))
    assert (info.places, info.accuracy) == (((0, 1), (1, 0)), pytest.approx((80, 90)))
    assert parallel.info(view(runs, "sr", "fires")) is None, "one axis is no line"


@pytest.fixture
def results(tmp_path):
    """A search of eleven finished runs, and one stopped with an accuracy that would top all figures."""
    store = Store(tmp_path / "results")
    keys = []
    for i, sr in enumerate(np.linspace(0.1, 1, 12).round(2).tolist()):
        arch = SqueezeNetSpec(sr=sr, freq=1 + i % 2, classes=10)
        made = finished(f"{i:04}", arch=arch, top1=0.5 + sr / 3, validation_top1=0.51 + sr / 3)
        if i == 6:
            made = replace(made, status="stopped", epochs=1, top1=None, validation_top1=0.9987)
            (store.root / made.key).mkdir(parents=True)
            write_curve(store.root / made.key, 0.9987)
        made = replace(made, end=f"2026-01-01T00:00:{i:02}")
        store.write(made)
        keys.append(made.key)
    search = {"objectives": ["top1", "size_bytes"], "constraints": ["macs<=1e9"]}
    points = tuple(({}, key) for key in keys)
    store.write_sweep(Sweep(name="search", varied=("arch.sr", "arch.freq"), points=points, search=search))
    store.write_sweep(Sweep(name="sr", varied=("arch.sr",), points=points))
    return store


def test_stopped_runs_are_in_no_figure_and_no_table(results, tmp_path, monkeypatch, unrendered):
    texts, names, touch = [], set(), style.save

    def save(figure, folder, name):
        texts.extend(drawn(figure))
        names.add(name)
        touch(figure, folder, name)

    monkeypatch.setattr(style, "save", save)
    page = report.write(read(results.root), tmp_path / "report").read_text()
    assert "12 networks tried, 11 trained to the end, 1 stopped early (these count as cost alone). Objectives" in page
    assert not [text for text in texts if "0.59" in text], "the stopped run's sr, wherever a label would show it"
    for table in (tmp_path / "report" / "tables").iterdir():
        assert "0.9987" not in table.read_text()
        assert "99.87" not in table.read_text()
    of_search = {name for name in names if name.startswith("search-")}
    assert of_search == {f"search-{name}" for name in ("front", "volume", "importance", "parallel")}
    means = tables.over_seeds(read(results.root).runs, ["sr"])
    assert (len(means), 0.59 in set(means["sr"])) == (11, False)


def finished(key: str, **fields) -> Record:
    """A run whose accuracy on the validation set is not that on the test set."""
    return record(key, **{"epochs": 3, "end": "2026-01-01T00:00:00"} | fields)


def test_the_front_of_a_search_is_that_of_the_validation_set(tmp_path, unrendered):
    store = Store(tmp_path)
    store.write(finished("small", sr=0.25, top1=0.5, validation_top1=0.9))
    store.write(finished("large", sr=0.5, top1=0.9, validation_top1=0.8))
    runs = read(tmp_path).runs
    assert pareto.info(View(runs=runs, group="sr")).front == (True, True)
    info = pareto.info(view(runs, "sr"))
    assert (info.front, info.accuracy) == ((True, False), pytest.approx((50, 90)))
    store.write_sweep(
        Sweep(
            name="search", varied=("arch.sr",), points=(({}, "small"), ({}, "large")), search={"objectives": ["top1"]}
        )
    )
    table = report.write(read(tmp_path), tmp_path / "report").with_name("tables") / "search.csv"
    assert pd.read_csv(table)["key"].tolist() == ["small"]


def test_a_search_is_shown_over_its_own_cost(tmp_path):
    # Fewer operations, more parameters: the second is on the front of MACs, the first on that of size.
    Store(tmp_path).write(finished("small", top1=0.8, size_bytes=1000, macs=9_000_000))
    Store(tmp_path).write(finished("quick", top1=0.7, size_bytes=2000, macs=3_000_000))
    runs = read(tmp_path).runs
    assert costs.axis_of(["top1", "size_bytes", "macs"], runs) == costs.axis_of(["top1"], runs) == SIZE
    cost = costs.axis_of(["top1", "latency", "macs"], runs)
    assert cost == MACS, "no run has a latency"
    assert pareto.info(View(runs=runs, group="bypass", cost=cost)).cost == (9, 3)
    assert dict(zip(runs["key"], costs.front(runs[cost.column], runs["top1"]), strict=True)) == {
        "small": True,
        "quick": True,
    }
    assert dict(zip(runs["key"], costs.front(runs["size_mib"], runs["top1"]), strict=True)) == {
        "small": True,
        "quick": False,
    }


@pytest.mark.parametrize("other", [{"host": "b"}, {"device": "GPU"}, {"threads": 2}], ids=str)
def test_latencies_of_one_place_are_compared(other, tmp_path, unrendered):
    store = Store(tmp_path)
    here = {"host": "a", "device": "cpu", "threads": 1}
    for key, latency, top1, place in (
        ("slow", 0.5, 0.75, here),
        ("quick", 0.25, 0.5, here),
        ("away", 0.125, 0.875, here | other),  # would beat both
        ("unknown", None, 0.9375, here | other),
        ("stopped", 0.125, 0.9, here | other),
    ):
        run = finished(key, validation_top1=top1, latency_seconds=latency, **place)
        store.write(replace(run, status="stopped") if key == "stopped" else run)
    runs, left_out = costs.with_comparable_latencies(read(tmp_path).runs)
    assert dict(runs.dropna(subset="latency_seconds")[["key", "latency_seconds"]].to_numpy()) == {
        "slow": 0.5,
        "quick": 0.25,
    }
    assert left_out == 1
    points = tuple(({}, key) for key in runs["key"])
    for objectives in (["top1", "latency"], ["top1", "macs"]):
        search = {"objectives": objectives}
        store.write_sweep(Sweep(name="search", varied=("arch.sr",), points=points, search=search))
        page = report.write(read(tmp_path), tmp_path / "report")
        note = "Latencies left out: 1, " in page.read_text()
        found = set(pd.read_csv(page.with_name("tables") / "search.csv")["key"])
        assert (note, found) == ((True, {"slow", "quick"}) if "latency" in objectives else (False, {"unknown"}))


def test_without_latencies_nothing_is_left_out():
    runs = frame(validation_top1=[0.5], host=["a"], device=["cpu"], threads=[1], latency_seconds=[np.nan])
    assert costs.with_comparable_latencies(runs)[1] == 0


@pytest.mark.parametrize("search", [{"objectives": ["top1", "macs"]}, None], ids=["search", "sweep"])
@pytest.mark.parametrize("varied", [(), ("arch",), ("train",), ("arch.sr", "train"), ("arch.bypass",)], ids=str)
def test_odd_axes_do_not_break_the_report(varied, search, tmp_path, unrendered):
    store = Store(tmp_path)
    for i in range(9):
        store.write(finished(f"{i:04}", sr=(i + 1) / 10, validation_top1=0.5))
    points = tuple(({}, f"{i:04}") for i in range(9))
    store.write_sweep(Sweep(name="odd", varied=varied, points=points, search=search))
    page = report.write(read(tmp_path), tmp_path / "report").read_text()
    assert ("9 trained to the end" if search else "9 of 9 runs finished") in page


def test_more_groups_than_colours_are_all_drawn():
    names = tuple("abcdefgh")
    ax = Figure().add_subplot()
    matched = ((0.1, 0.2), (0.2, 0.3), (0.5, 0.6))
    many = distribution.Info("fires", names, ((50.0,),) * 8, ((1.0,),) * 8, (1,) * 8, matched, "validation top-1")
    distribution.draw(many, ax)
    assert ax.get_title() == "At matched size, 0.1 to 0.3 and 0.5 to 0.6 MiB"
    assert len(ax.get_legend().get_texts()) == 8
    ax = Figure().add_subplot()
    sizes, none = tuple(float(i + 1) for i in range(8)), (np.nan,) * 8
    pareto.draw(
        pareto.Info("", "fires", "top1", SIZE, sizes, sizes, none, none, names, ("",) * 8, (True,) * 8, names), ax
    )
    assert len(ax.get_legend().get_texts()) == 8 + 1 + 8 + 1, "groups, the front, the networks on it, what is filled"


def test_families_that_lack_a_setting_are_shown_too(tmp_path, unrendered):
    store = Store(tmp_path)
    for i in range(9):
        arch = ResNet8Spec(classes=10) if i % 3 == 0 else SqueezeNetSpec(classes=10, sr=i / 10)
        store.write(record(f"{i:04}", arch=arch, validation_top1=0.5 + i / 100))
    shown = view(read(tmp_path).runs, "family", "sr")
    assert set(importance.info(shown).names) == {"family", "sr"}
    assert parallel.info(shown).values[1] == ("0.1", "0.2", "0.4", "0.5", "0.7", "0.8", "none")
