"""The table of a SqueezeNet against ResNet8, on a store made by hand."""

import dataclasses

import numpy as np
import pytest

from analysis import duel, export, report, sections
from analysis.results import read
from fire.arch import ResNet8Spec, SqueezeNetSpec
from fire.compress.spec import CompressSpec
from sweep.store import Store
from tests.records import TRAIN, record, sweep
from tests.sweeping import point

NETWORKS = {"squeezenet": SqueezeNetSpec(version="small", classes=10), "resnet8": ResNet8Spec(classes=10)}


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "results")
    for family, seed, top1 in (
        ("squeezenet", 5, 0.88),
        ("squeezenet", 6, 0.87),
        ("resnet8", 5, 0.860),
        ("resnet8", 6, 0.862),
        ("resnet8", 7, None),
    ):
        fields = {"int8_top1": top1, "int8_bytes": 90_000 if top1 else None}
        store.write(record(f"{family}{seed}", arch=NETWORKS[family], seed=seed, top1=0.9, **fields))
    keys = [found.key for found in store.records()]
    store.write_sweep(sweep("duel", ("arch", "seed"), keys, experiment="duel"))
    return store


def test_the_table_by_hand(store):
    reference, ours = duel.table(read(store.root).runs).to_dict("records")
    assert (reference["network"], reference["n"]) == ("ResNet8", 2), "the third has no int8 file"
    assert reference["weight_bytes"] == 78_744
    assert np.isnan(reference["difference"])
    assert ours["difference"] == pytest.approx(0.875 - 0.861)
    # t = 0.014 / sqrt(0.005^2 + 0.001^2) = 2.746 with 1.08 degrees of freedom; from 1 they would give p = 0.111.
    assert 0.09 < ours["p"] < 0.111


def test_compressed_networks_are_no_seeds(store):
    compress = CompressSpec(method="entropy")
    store.write(record("coded", arch=NETWORKS["squeezenet"], seed=5, compress=compress, int8_top1=0.5, int8_bytes=1))
    assert [row["n"] for row in duel.table(read(store.root).runs).to_dict("records")] == [2, 2]


def test_a_title_names_the_data_once(store):
    for found in list(store.records()):
        store.write(dataclasses.replace(found, data_title="Eights!"))
    (section,) = sections.of_duels(read(store.root))
    assert section.title == "In int8 against ResNet8: Eights!, 3 epochs"


def test_a_single_seed_or_no_reference_has_no_p(store):
    runs = read(store.root).runs.set_index("key", drop=False)
    (_, alone) = duel.table(runs.loc[["squeezenet5", "resnet85", "resnet86"]]).to_dict("records")
    assert (alone["difference"], np.isnan(alone["p"])) == (pytest.approx(0.019), True)
    (row,) = duel.table(runs.loc[["squeezenet5", "squeezenet6"]]).to_dict("records")
    assert "difference" not in row


def test_two_networks_of_a_family_and_two_recipes_are_kept_apart(store, tmp_path, unrendered):
    wide = SqueezeNetSpec(version="small", classes=10, base_e=64)
    store.write(record("wide", arch=wide, seed=5, top1=0.9, int8_top1=0.5, int8_bytes=1))
    rows = duel.table(read(store.root).runs).to_dict("records")
    assert [(row["network"], row["n"]) for row in rows] == [
        ("ResNet8", 2),
        ("SqueezeNet, base_e 128", 2),
        ("SqueezeNet, base_e 64", 1),
    ]
    longer = dataclasses.replace(TRAIN, epochs=40)
    store.write(record("longer", train=longer, arch=NETWORKS["squeezenet"], top1=0.9, int8_top1=0.9, int8_bytes=1))
    keys = [found.key for found in store.records()]
    store.write_sweep(sweep("duel", ("arch", "seed"), keys, experiment="duel"))
    shown = {part.title for part in sections.of_duels(read(store.root))}
    assert shown == {f"In int8 against ResNet8: digits, epochs {epochs}" for epochs in (3, 40)}


def test_the_report_has_the_table(store, tmp_path, unrendered):
    text = report.write(read(store.root), tmp_path / "report").read_text()
    assert "In int8 against ResNet8: digits, 3 epochs" in text
    readable = export.readable(duel.table(read(store.root).runs))
    assert list(readable)[-3:] == ["int8_top1 %", "difference, points", "p"]
    assert readable["int8 weights, KiB"].tolist()[0] == "76.9"


def test_the_network_keeps_each_of_resnet8s_budgets():
    networks = ("squeezenet_mlperf_tiny", "resnet8")
    ours, theirs = (point("experiment=duel", f"arch={name}", "seed=5").config for name in networks)
    for name in ("macs", "weight_bytes", "peak_ram_bytes"):
        assert getattr(ours.cost, name) <= getattr(theirs.cost, name)
    assert ours.train == theirs.train
