"""The tables and the figure of compressed networks, on a store made by hand."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import compression, export, report, style
from analysis.figures import file_size
from analysis.results import read
from analysis.view import View
from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.compress.spec import CompressSpec
from fire.cost import count
from fire.data.spec import DataSpec
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.store import Store
from tests.records import record

NETWORKS = {
    "alexnet": AlexNetSpec(version="small", classes=10),
    "squeezenet": SqueezeNetSpec(version="small", classes=10),
}


def network(key: str, family: str, top1: float, start: str | None = None, **fields: Any) -> Record:
    return record(key, **{"arch": NETWORKS[family], "data": DataSpec(), "top1": top1, "float_key": start} | fields)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path)
    deep = CompressSpec(method="deep_compression", density=0.2)
    for one in (
        network("a", "alexnet", 0.90),
        network("b", "squeezenet", 0.92, seed=0),
        network("c", "squeezenet", 0.93, seed=1),
        network("d", "squeezenet", 0.919, seed=0, start="b", file_bytes=100_000, compress=deep),
        network("e", "squeezenet", 0.926, seed=1, start="c", file_bytes=110_000, compress=deep),
        network(
            "f",
            "squeezenet",
            0.921,
            seed=0,
            start="b",
            file_bytes=50_000,
            compress=CompressSpec(method="entropy", rate=0.3),
        ),
    ):
        store.write(one)
    points = tuple(({}, key) for key in "abcdef")
    store.write_sweep(Sweep(name="results", varied=("compress", "seed"), points=points))
    return store


def test_the_drop_is_paired_with_the_network_that_was_compressed(store):
    runs = compression.with_bytes(read(store.root).runs).set_index("key")
    assert runs.loc[["d", "e", "f"], "drop"].tolist() == pytest.approx([0.001, 0.004, -0.001])
    assert runs.loc[["a", "b", "c"], "drop"].isna().all()
    assert runs.loc["d", "bytes"] == 100_000
    assert runs.loc["b", "bytes"] == 4 * runs.loc["b", "parameters"]


def test_the_drop_is_against_what_was_compressed_whatever_became_of_it(store):
    otherwise = dataclasses.replace(store.read("d"), float_top1=0.95)
    store.write(otherwise)
    runs = compression.with_bytes(read(store.root).runs).set_index("key")
    assert runs.loc["d", "drop"] == pytest.approx(0.031)
    assert runs.loc["e", "drop"] == pytest.approx(0.004), "older records tell whose network it was"


def test_a_drop_of_some_seeds_is_none(store):
    (store.folder("c") / "record.json").unlink()
    runs = read(store.root).runs
    groups = compression.by_network(runs, ["compress"]).set_index("compress")
    assert np.isnan(groups.loc["deep_compression", "drop"])
    assert groups.loc["deep_compression", "n"] == 2


def test_a_store_of_alexnet_alone_has_its_table(store):
    for key in "bcdef":
        (store.folder(key) / "record.json").unlink()
    (row,) = compression.table_2(read(store.root).runs).to_dict("records")
    assert (row["network"], row["compression"], row["reduction"]) == ("AlexNet", "fp32", 1)


def test_points_without_a_setting_are_labelled_without_it(store):
    info = file_size.info(View(runs=read(store.root).runs, along=("compress", "compress.density")))
    assert not any("nan" in text for text in (*info.lines, *(point for line in info.points for point in line)))
    assert "fp32" in info.lines


def test_intervals_are_over_seeds(store):
    runs = read(store.root).runs
    groups = compression.by_network(runs[runs["family"] == "squeezenet"], ["compress"]).set_index("compress")
    deep = groups.loc["deep_compression"]
    assert (deep["n"], deep["bytes"]) == (2, 105_000)
    assert deep["drop"] == pytest.approx(0.0025)
    # Student's t of 1 degree of freedom at 97.5 % is 12.706; the standard error of {0.001, 0.004} is 0.0015.
    assert deep["drop_high"] == pytest.approx(0.0025 + 12.706 * 0.0015, rel=1e-3)
    assert np.isnan(groups.loc["entropy", "drop_low"])


def test_the_paper_stands_beside_ours(store):
    table = compression.table_2(read(store.root).runs).set_index(["network", "compression"])
    alexnet = 4 * count(NETWORKS["alexnet"], 28, 1).parameters
    fp32 = table.loc[("AlexNet", "fp32")]
    assert (fp32["bytes"], fp32["reduction"], fp32["paper_mb"]) == (alexnet, 1, 240)
    deep = table.loc[("SqueezeNet", "Deep Compression")]
    assert (deep["n"], deep["reduction"]) == (2, alexnet / 105_000)
    assert (deep["paper_mb"], deep["paper_reduction"], deep["paper_top1"]) == (0.47, 510, 0.575)
    entropy = table.loc[("SqueezeNet", "entropy")]
    assert entropy["drop"] == pytest.approx(-0.001)
    assert np.isnan(entropy["paper_mb"])
    shown = export.readable(table.reset_index())
    assert f"{alexnet / 105_000:,.0f}x" in set(shown["reduction"])
    assert {"240", "4.8", "0.47", "-"} == set(shown["paper, MB"])


def test_what_a_method_does_not_read_is_no_setting_of_it(store):
    runs = read(store.root).runs.set_index("key")
    assert runs.loc["d", "compress.density"] == 0.2
    assert runs.loc["f", "compress.rate"] == 0.3
    assert runs.loc[["d", "a"], "compress.rate"].isna().all()
    assert runs.loc[["f", "a"], "compress.density"].isna().all()


def test_the_figure_has_a_point_a_method(store):
    runs = read(store.root).runs
    info = file_size.info(View(runs=runs[runs["family"] == "squeezenet"], along=("compress",)))
    (points,) = info.points
    assert points == ("fp32", "Deep Compression", "entropy")
    assert info.cost[0][1:] == (105.0, 50.0)
    assert info.accuracy[0] == pytest.approx((92.5, 92.25, 92.1))
    assert not info.in_order
    with style.style():
        FigureCanvasAgg(file_size.figure(View(runs=runs, along=("compress",)))).draw()


def test_lines_go_along_the_last_setting(tmp_path):
    store = Store(tmp_path)
    grid = [(density, bits) for density in (0.1, 0.2) for bits in (4, 6)]
    for number, (density, bits) in enumerate(grid):
        compress = CompressSpec(method="deep_compression", density=density, conv_bits=bits)
        store.write(network(f"{number}", "squeezenet", 0.9, file_bytes=1000 * (number + 1), compress=compress))
    info = file_size.info(View(runs=read(tmp_path).runs, along=("compress.density", "compress.conv_bits")))
    assert info.lines == ("density 0.1", "density 0.2")
    assert info.points == (("conv_bits 6", "conv_bits 4"),) * 2
    assert info.cost == ((2.0, 1.0), (4.0, 3.0))
    assert info.in_order


def test_the_paper_s_numbers_stand_beside_the_only_network_of_their_kind(store):
    runs = read(store.root).runs
    table = compression.table_2(runs).set_index(["network", "compression"])
    assert table.loc[("SqueezeNet", "fp32"), "paper_mb"] == 4.8
    wide = network("w", "squeezenet", 0.93, arch=dataclasses.replace(NETWORKS["squeezenet"], base_e=64))
    store.write(wide)
    table = compression.table_2(read(store.root).runs)
    kinds = table.groupby("compression")["paper_mb"]
    assert kinds.get_group("fp32").notna().tolist() == [True, False, False], "AlexNet's alone"
    assert kinds.get_group("Deep Compression").tolist() == [0.47]


def test_the_report_has_the_table_and_keeps_fp32_networks_apart(store, tmp_path, unrendered):
    page = report.write(read(store.root), tmp_path / "report")
    text = page.read_text()
    assert "The paper&#x27;s tables 2 and 3, and ours" in text
    overview = (tmp_path / "report" / "tables" / "runs-fashion_mnist.csv").read_text().splitlines()
    assert len(overview) == 1 + 3


def test_a_sweep_of_seeds_alone_and_a_part_of_the_experiment_have_their_sections(store, tmp_path, unrendered):
    points = tuple(({}, key) for key in "de")  # the networks they were made from are in the store, not in the sweep
    store.write_sweep(Sweep(name="compress=deep_compression", varied=("seed",), points=points))
    store.write_sweep(Sweep(name="results_seed=0", varied=("compress",), points=(({}, "f"),)))
    (store.root / "sweeps" / "results.json").unlink()
    report.write(read(store.root), tmp_path / "report")
    written = tmp_path / "report" / "tables"
    rows = pd.read_csv(written / "compress=deep_compression.csv")
    assert rows["drop"].tolist() == pytest.approx([0.0025])
    assert len(pd.read_csv(written / "table_2.csv")) == 1


def test_what_was_trained_otherwise_is_no_seed_of_it(store, tmp_path, unrendered):
    store.write(network("g", "squeezenet", 0.5, data=DataSpec(name="digits")))
    store.write(network("h", "squeezenet", 0.8, arch=dataclasses.replace(NETWORKS["squeezenet"], base_e=64)))
    points = (({}, "g"), ({}, "h"))
    store.write_sweep(Sweep(name="results_arch.base_e=64", varied=("data", "arch.base_e"), points=points))
    report.write(read(store.root), tmp_path / "report")
    fashion, other = (pd.read_csv(tmp_path / "report" / "tables" / f"table_2-{n}.csv") for n in (1, 2))
    fp32 = fashion[fashion["compression"] == "fp32"].set_index("network")["top1"]
    assert fp32.to_dict() == pytest.approx(
        {"AlexNet": 0.90, "SqueezeNet, base_e 128": 0.925, "SqueezeNet, base_e 64": 0.8}
    )
    assert other["top1"].tolist() == [0.5]
