"""From the store to DataFrames: whole rows or none, and a line for what cannot be read."""

import dataclasses
import errno
import json
import os

import numpy as np
import pytest

from analysis.results import read
from fire.errors import InputError
from fire.train.progress import Epoch
from sweep import curves
from sweep.manifests import Sweep
from sweep.store import Store
from tests.records import failed

FIELDS = [field.name for field in dataclasses.fields(Epoch)]


def test_a_record_older_than_a_field_has_its_default(store):
    path = store.folder("a") / "record.json"
    content = json.loads(path.read_text())
    del content["arch"]["snap"]
    path.write_text(json.dumps(content))
    run = read(store.root).runs.set_index("key").loc["a"]
    assert (run["snap"], run["train.optimizer"], run["data.validation"]) == (1, "sgd", 5000)
    assert (run["train.epochs"], run["train.lr"]) == (3, 0.2)


def test_load_has_a_row_a_run_and_keeps_missing_missing(store):
    runs = read(store.root).runs.set_index("key")
    assert list(runs.index) == list("abcd")
    assert runs.loc["a", ["sr", "bypass", "data", "train.lr", "top1"]].tolist() == [0.5, "none", "digits", 0.2, 0.8]
    assert np.isnan(runs.loc["d", "top1"])
    assert runs.loc["a", "size_mib"] == 4 * runs.loc["a", "parameters"] / 2**20


def test_settings_that_a_run_does_not_read_are_missing(store):
    """They make no other run, so tables must not tell runs apart by them."""
    run = read(store.root).runs.set_index("key").loc["a"]
    assert run["train.optimizer"] == "sgd"
    assert run.reindex(["train.muon_lr", "data.resize", "compress.rate"]).isna().all()
    assert run["train.warmup"] == 0.2


def test_an_empty_store_is_an_empty_table(tmp_path):
    assert len(read(tmp_path).runs) == 0


@pytest.mark.parametrize("name", ["nowhere", "file", "x" * 300], ids=["missing", "a file", "a long name"])
def test_what_is_no_directory_is_named_on_one_line(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^the results must be a readable directory, got .*\)$"):
        read(tmp_path / name)


def test_a_directory_that_cannot_be_listed_is_named_on_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))  # root, as which tests may run, may all

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"readable directory, got .* \(Permission denied\)$"):
        read(tmp_path)


def test_runs_of_a_sweep_follow_its_points(store):
    results = read(store.root)
    (sweep,) = results.sweeps
    assert list(results.of(sweep)["key"]) == list("dcba")


def write_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "values", "reason"),
    [
        ("arch", {"family": "resnet"}, "family must be one of squeezenet, alexnet, resnet8, got 'resnet'"),
        ("arch", {"sr": 7.0}, "sr must be in (0, 1], got 7.0"),
        ("arch", {"rate": 1}, "rate must be a setting of this version, got 1"),
        ("data", {"name": "a/b"}, "data.name must be one of"),
        ("data", {"fingerprint": "a\u0000b"}, "fingerprint must be printable"),
        ("compress", {"method": "newer"}, "compress.method must be one of"),
        (None, {"top1": 1.5}, "top1 must be in [0, 1], got 1.5"),
        (None, {"top1": None}, "top1 must be known of a finished run, got None"),
        (None, {"size_bytes": 0}, "size_bytes must be above 0, got 0"),
        (None, {"peak_ram_bytes": -1}, "peak_ram_bytes must be above 0, got -1"),
        (None, {"int8_bytes": 0}, "int8_bytes must be above 0, got 0"),
        (None, {"int8_latency_seconds": 0.0}, "int8_latency_seconds must be above 0, got 0.0"),
        (None, {"int8_top1": 1.5}, "int8_top1 must be in [0, 1], got 1.5"),
    ],
    ids=str,
)
def test_a_record_that_no_run_can_have_is_no_row_but_a_line(part, values, reason, store):
    write_json(store.folder("a") / "record.json", lambda c: (c if part is None else c[part]).update(values))
    results = read(store.root)
    assert list(results.runs["key"]) == list("bcd")
    (line,) = map(str, results.unreadable)
    assert line.startswith(f"{store.root}/a/record.json cannot be read: {reason}")


def test_a_record_without_a_family_is_a_line(store):
    write_json(store.folder("a") / "record.json", lambda content: content["arch"].pop("family"))
    (line,) = map(str, read(store.root).unreadable)
    assert "family must be one of" in line


def test_a_damaged_curve_is_a_line_and_its_run_a_row(store):
    for key in "ab":
        (store.folder(key) / "curve.csv").write_text(curves.dump([Epoch(**dict.fromkeys(FIELDS, 0.5) | {"epoch": 1})]))
    path = store.folder("a") / "curve.csv"
    path.write_bytes(path.read_bytes() + b"\xff\xff")
    results = read(store.root)
    assert list(results.runs["key"]) == list("abcd")
    assert set(results.curves) == {"b"}
    (line,) = map(str, results.unreadable)
    assert line.startswith(f"{path} cannot be read: ")


def test_a_damaged_manifest_is_a_line(store):
    path = store.root / "sweeps" / "sr.json"
    write_json(path, lambda content: content.update(varied=[5]))
    results = read(store.root)
    assert results.sweeps == ()
    (line,) = map(str, results.unreadable)
    assert line.startswith(f"{path} cannot be read: varied must be ")


@pytest.mark.parametrize(
    ("name", "search", "experiment", "overrides"),
    [
        ("sr", None, "sr", ()),
        ("pct_3x3_train.batch_size=64_data=digits", None, "pct_3x3", ("train.batch_size=64", "data=digits")),
        ("results_alexnet_seed=0,1", None, "results_alexnet", ("seed=0,1",)),
        ("arch.pct_3x3=0.1,0.5_seed=0", None, None, ("arch.pct_3x3=0.1,0.5", "seed=0")),
        ("search_sr_arch.conv1=24", {"objectives": ["top1"]}, "sr", ("arch.conv1=24",)),
        ("search", {"objectives": ["top1"]}, "search", ()),
    ],
)
def test_manifests_of_earlier_versions_say_their_experiment_in_their_name(
    name, search, experiment, overrides, tmp_path
):
    Store(tmp_path).write_sweep(Sweep(name=name, varied=(), points=(), search=search))
    (sweep,) = read(tmp_path).sweeps
    assert (sweep.experiment, sweep.overrides) == (experiment, overrides)


def test_a_manifest_that_says_its_experiment_is_believed(tmp_path):
    made = Sweep(name="sr_x=1", varied=(), points=(), experiment=None, overrides=("x=1",), launched="2026-01-01")
    Store(tmp_path).write_sweep(made)
    assert read(tmp_path).sweeps == (made,)


def test_texts_that_no_table_can_hold_are_shown_with_their_bytes(tmp_path):
    store = Store(tmp_path / "results")
    store.write(failed("a", traceback="in caf\udce9/1.png"))  # how Python reads the byte E9 of a path in Latin-1
    (text,) = read(store.root).runs["traceback"]
    assert text == "in caf\\udce9/1.png"
