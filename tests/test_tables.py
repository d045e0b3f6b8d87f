import dataclasses
import json

import numpy as np
import pytest

from analysis import tables
from fire.arch import SqueezeNetSpec
from fire.cost import count
from fire.errors import InputError
from sweep.store import Record, Store, Sweep


def record(key: str, sr: float = 0.5, top1: float | None = 0.9, seed: int = 0, status: str = "finished") -> Record:
    spec = SqueezeNetSpec(sr=sr, classes=10)
    cost = count(spec)
    return Record(
        key=key,
        status=status,
        arch={"family": "squeezenet", **dataclasses.asdict(spec)},
        data={"name": "digits", "classes": 10},
        train={"epochs": 3, "lr": 0.2},
        seed=seed,
        **cost._asdict(),
        size_bytes=cost.size_bytes,
        top1=top1,
        error=None if status == "finished" else "diverged",
        train_seconds=60.0,
    )


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    store.write(record("a", sr=0.5, top1=0.80, seed=0))
    store.write(record("b", sr=0.5, top1=0.90, seed=1))
    store.write(record("c", sr=0.25, top1=0.70))
    store.write(record("d", sr=0.125, top1=None, status="failed"))
    store.write_sweep(Sweep(name="sr", varied=("arch.sr",), points=tuple(({}, key) for key in "dcbae")))
    return store


def test_a_record_older_than_a_field_has_its_default(store):
    path = store.folder("a") / "record.json"
    content = json.loads(path.read_text())
    del content["arch"]["snap"]
    path.write_text(json.dumps(content))
    run = tables.load(store.root).set_index("key").loc["a"]
    assert (run["snap"], run["train.optimizer"], run["data.validation"]) == (1, "sgd", 5000)
    assert (run["train.epochs"], run["train.lr"]) == (3, 0.2)


def test_a_preset_stands_in_the_columns_in_which_its_runs_differ(store):
    runs = tables.load(store.root)
    varied = ("arch", "arch.sr", "train.lr", "train", "compress.method", "seed")
    found = tables.columns_of(runs, Sweep(name="odd", varied=varied, points=()))
    assert found == ["sr", "train.lr", "compress", "seed"]  # of the recipes nothing differs


def test_labels_are_of_finished_runs(store):
    store.write(record("e", sr=0.75, status="stopped"))
    assert tables.labels(tables.load(store.root), ["sr"]) == {"a": "sr 0.5", "b": "sr 0.5", "c": "sr 0.25"}


def test_load_has_a_row_a_run_and_keeps_missing_missing(store):
    runs = tables.load(store.root).set_index("key")
    assert list(runs.index) == list("abcd")
    assert runs.loc["a", ["sr", "bypass", "data", "train.lr", "top1"]].tolist() == [0.5, "none", "digits", 0.2, 0.8]
    assert np.isnan(runs.loc["d", "top1"])
    assert runs.loc["a", "size_mib"] == 4 * runs.loc["a", "parameters"] / 2**20


def test_an_unreadable_record_is_no_row(store):
    path = store.folder("a") / "record.json"
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    assert list(tables.load(store.root)["key"]) == list("bcd")


@pytest.mark.parametrize(
    "changes",
    [{"arch": {}}, {"arch": {"family": "resnet"}}, {"data": [1]}, {"compress": {"method": "newer"}}],
    ids=["no family", "another family", "no data", "another method"],
)
def test_a_record_of_another_version_is_no_row_and_is_told(changes, store):
    store.write(dataclasses.replace(record("e"), **changes))
    runs = tables.load(store.root)
    assert list(runs["key"]) == list("abcd")
    assert list(tables.unreadable(store.root, runs)["key"]) == ["e"]


def test_runs_are_apart_by_what_they_are_not_by_where_files_lay(store):
    one = record("e")
    store.write(dataclasses.replace(one, data=one.data | {"limit": 100}))
    store.write(dataclasses.replace(one, key="f", data=one.data | {"root": "/elsewhere"}))
    runs = tables.load(store.root)
    parts = {told: list(part["key"]) for told, part in tables.apart(runs, ("data",))}
    assert parts == {"limit 0": ["a", "b", "c", "d", "f"], "limit 100": ["e"]}


def test_an_empty_store_is_an_empty_table_and_a_missing_one_an_error(tmp_path):
    assert len(tables.load(tmp_path)) == 0
    with pytest.raises(InputError, match=r"must be a directory, got .*nowhere"):
        tables.load(tmp_path / "nowhere")


def test_of_sweep_follows_the_order_of_the_points(store):
    (sweep,) = tables.sweeps(store.root)
    assert list(tables.of_sweep(tables.load(store.root), sweep)["key"]) == list("dcba")


def test_over_seeds_by_hand(store):
    groups = tables.over_seeds(tables.load(store.root), ["sr"])
    assert groups["sr"].tolist() == [0.25, 0.5]  # the failed run is no group
    assert groups["n"].tolist() == [1, 2]
    assert groups["top1"].tolist() == pytest.approx([0.70, 0.85])
    # Student's t with 1 degree of freedom: 12.7062; standard deviation of 0.8 and 0.9: 0.0707107
    assert groups["top1_high"][1] - 0.85 == pytest.approx(12.7062 * 0.0707107 / np.sqrt(2), rel=1e-5)
    assert np.isnan(groups["top1_low"][0])


def test_results_with_prefers_own_results(tmp_path):
    for folder in ("docs/results", "results"):
        with pytest.raises(InputError, match="bypass"):
            tables.results_with("bypass", tmp_path)
        (tmp_path / folder / "sweeps").mkdir(parents=True)
        (tmp_path / folder / "sweeps" / "sr.json").write_text(json.dumps({}))
        assert tables.results_with("sr", tmp_path) == tmp_path / folder


def test_network_columns_tell_networks_apart_but_not_seeds(store):
    columns = tables.network_columns(tables.load(store.root))
    assert {"sr", "bypass", "train.lr", "compress", "data", "data.limit"} <= set(columns)
    assert not {"seed", "top1", "key", "train_seconds", "data.root", "train.weights"} & set(columns)
