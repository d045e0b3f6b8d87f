import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.results import read
from sweep.manifests import Sweep
from tests.records import DATA, TRAIN, record


def test_a_preset_stands_in_the_columns_in_which_its_runs_differ(store):
    runs = read(store.root).runs
    varied = ("arch", "arch.sr", "train.lr", "train", "compress.method", "seed")
    found = tables.columns_of(runs, Sweep(name="odd", varied=varied, points=()))
    assert found == ["sr", "train.lr", "compress", "seed"]  # of the recipes nothing differs


def test_presets_of_one_name_and_initial_weights_are_no_seeds(store):
    for key, fields in (
        ("e", {"data": dataclasses.replace(DATA, limit=100)}),
        ("f", {"train": dataclasses.replace(TRAIN, weights="a.safetensors", weights_fingerprint="0" * 16)}),
    ):
        store.write(record(key, **fields))
    runs = read(store.root).runs
    found = tables.columns_of(runs, Sweep(name="odd", varied=("data", "train.weights"), points=()))
    assert found == ["data", "data.limit", "train.weights_fingerprint"]


def test_folders_of_pictures_are_no_seeds(store):
    for key, fingerprint in (("e", "1" * 16), ("f", "2" * 16)):
        data = dataclasses.replace(DATA, name="image_folder", root=f"/{key}", fingerprint=fingerprint)
        store.write(record(key, data=data))
    sweep = Sweep(name="odd", varied=("data.root",), points=())
    assert tables.along(read(store.root).runs, sweep) == ("data.fingerprint",)


def test_yes_and_no_are_no_numbers():
    assert tables.is_number(pd.Series([0.5, np.nan]))
    assert not tables.is_number(pd.Series([True, False]))
    assert not tables.is_number(pd.Series(["none", "simple"]))


def test_labels_are_of_finished_runs(store):
    store.write(record("e", sr=0.75, status="stopped"))
    assert tables.labels(read(store.root).runs, ["sr"]) == {"a": "sr 0.5", "b": "sr 0.5", "c": "sr 0.25"}


def test_runs_are_apart_by_what_they_are_not_by_where_files_lay(store):
    store.write(record("e", data=dataclasses.replace(DATA, limit=100)))
    store.write(record("f", data=dataclasses.replace(DATA, root="/elsewhere")))
    runs = read(store.root).runs
    parts = {setting: list(part["key"]) for setting, part in tables.apart(runs, ("data",))}
    assert parts == {"limit 0": ["a", "b", "c", "d", "f"], "limit 100": ["e"]}


def test_over_seeds_by_hand(store):
    groups = tables.over_seeds(read(store.root).runs, ["sr"])
    assert groups["sr"].tolist() == [0.25, 0.5]  # the failed run is no group
    assert groups["n"].tolist() == [1, 2]
    assert groups["top1"].tolist() == pytest.approx([0.70, 0.85])
    # Student's t with 1 degree of freedom: 12.7062; standard deviation of 0.8 and 0.9: 0.0707107
    assert groups["top1_high"][1] - 0.85 == pytest.approx(12.7062 * 0.0707107 / np.sqrt(2), rel=1e-5)
    assert np.isnan(groups["top1_low"][0])


def test_network_columns_tell_networks_apart_but_not_seeds(store):
    columns = tables.network_columns(read(store.root).runs)
    assert {"sr", "bypass", "train.lr", "compress", "data", "data.limit"} <= set(columns)
    assert not {"seed", "top1", "key", "train_seconds", "data.root", "train.weights"} & set(columns)


def test_data_sets_without_a_spelling_of_their_own_are_shown_by_their_names():
    runs = pd.DataFrame({"data": ["fashion_mnist", "svhn", "image_folder", "svhn"]})
    assert tables.data_of(runs) == "Fashion-MNIST, svhn, image folder"


def test_recipes_are_named_by_epochs_and_by_what_tells_those_of_as_many_epochs_apart(store):
    assert set(tables.recipes(read(store.root).runs)) == {""}
    for key, fields in (("e", {"epochs": 24}), ("f", {"lr": 0.1, "clip": 1.0})):
        store.write(record(key, train=dataclasses.replace(TRAIN, **fields)))
    runs = read(store.root).runs.set_index("key", drop=False)
    found = tables.recipes(runs)
    assert found["e"] == "24 epochs"
    assert found["f"] == "3 epochs, lr 0.1", "clip tells the same runs apart"
    assert found["a"] == found["b"] == "3 epochs, lr 0.2"


@pytest.mark.parametrize(
    ("epochs", "text"),
    [
        ([], ""),
        ([1], "1 epoch"),
        ([8, 8], "8 epochs"),
        ([24, 3], "3 and 24 epochs"),
        ([8, 6, 40], "6, 8 and 40 epochs"),
    ],
)
def test_several_lengths_of_training_are_no_fraction(epochs, text):
    assert tables.epochs_of(pd.DataFrame({"train.epochs": epochs})) == text
