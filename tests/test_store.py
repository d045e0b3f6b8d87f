"""The store: whole records or none, on plain files."""

import dataclasses
import json
import math
from pathlib import Path

import pandas as pd
import pytest

from fire.arch import SqueezeNetSpec
from fire.data.spec import DataSpec
from fire.errors import InputError
from fire.train.progress import Epoch
from fire.train.spec import TrainSpec
from sweep import curves
from sweep.config import RunConfig
from sweep.manifests import Sweep
from sweep.record import Record, dump
from sweep.store import Damage, Store, StoreError

RECORD = Record(
    key="0123456789abcdef",
    status="finished",
    config=RunConfig(
        arch=SqueezeNetSpec(sr=0.1, classes=10), data=DataSpec(name="digits"), train=TrainSpec(lr=1e-3), seed=7
    ),
    parameters=1_248_424,
    macs=1,
    activations=2,
    size_bytes=4_993_696,
    peak_ram_bytes=3,
    weight_bytes=4,
    flash_bytes=5,
    top1=1 / 3,
    top5=0.0,
    loss=math.ulp(1.0),
    epochs=3,
    git_dirty=False,
)
FAILED = dataclasses.replace(
    RECORD, status="failed", top1=None, top5=None, loss=None, error="diverged: the loss is nan"
)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results")


def record_json(store: Store):
    return store.folder(RECORD.key) / "record.json"


def damage(store: Store, key: str = RECORD.key) -> list[Damage]:
    found: list[Damage] = []
    store.read(key, found.append)
    return found


@pytest.mark.parametrize(("name", "value", "rule"), [("validation_top1", 37, "in [0, 1]"), ("macs", 0, "above 0")])
def test_numbers_that_no_run_has_are_refused(store, name, value, rule):
    store.write(RECORD)
    path = record_json(store)
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    (found,) = damage(store)
    assert f"{name} must be {rule}, got {value}" in found.reason


def test_a_record_older_than_a_cost_has_it_by_arithmetic(store):
    arch = SqueezeNetSpec(version="1.1", classes=5)
    config = RunConfig(
        arch=arch, data=DataSpec(channels=3, classes=5, stored_size=224, image_size=224), train=TrainSpec()
    )
    store.write(dataclasses.replace(RECORD, config=config, weight_bytes=None, flash_bytes=None))
    path = record_json(store)
    content = json.loads(path.read_text())
    del content["weight_bytes"], content["flash_bytes"]
    path.write_text(json.dumps(content))
    read = store.read(RECORD.key)
    assert round(read.weight_bytes / 1024, 1) == 716.7  # the weights of this network in ST's model zoo, KiB
    assert (read.macs, read.peak_ram_bytes) == (1, 3)  # as written


@pytest.mark.parametrize("record", [RECORD, FAILED], ids=lambda record: record.status)
def test_what_is_written_is_read(store, record):
    store.write(record)
    assert store.read(record.key) == record
    assert list(store.records()) == [record]
    assert damage(store) == []


def test_a_zero_is_a_zero_and_nothing_is_none(store):
    store.write(RECORD)
    content = json.loads(record_json(store).read_text())
    assert (content["top5"], content["validation_top1"], content["error"]) == (0.0, None, None)


def test_only_a_finished_run_is_done(store):
    assert not store.is_done(RECORD.key)
    store.write(FAILED)
    assert not store.is_done(RECORD.key)
    store.write(RECORD)  # tried again
    assert store.is_done(RECORD.key)
    assert [path.name for path in record_json(store).parent.iterdir()] == ["record.json"]


def test_no_run_is_neither_done_nor_damaged(store):
    assert store.read("fedcba9876543210") is None
    assert damage(store, "fedcba9876543210") == []
    assert list(store.keys()) == list(store.records()) == list(store.sweeps()) == []
    assert not store.root.exists(), "asking makes no folders"


COMMITTED = Path(__file__).parents[1] / "docs/results"
PARTS = ("arch", "data", "train", "compress")


@pytest.mark.parametrize("key", ["62b729812c885841", "0f6be2e30a316f02"], ids=["plain", "compressed"])
def test_a_record_is_the_text_that_it_was(key):
    path = COMMITTED / key / "record.json"
    record = Store(COMMITTED).read(key)
    written, before = json.loads(dump(record)), json.loads(path.read_text())
    assert dump(record) == json.dumps(written, indent=1) + "\n"
    assert [name for name in written if name in before] == list(before), "in the same order"
    assert {name: written[name] for name in before} == before | {part: written[part] for part in PARTS}
    for part in PARTS:
        assert {name: written[part][name] for name in before[part]} == before[part]
        assert [name for name in written[part] if name in before[part]] == list(before[part])


def test_every_committed_record_has_its_key():
    records = list(Store(COMMITTED).records())
    assert len(records) == len(list(COMMITTED.glob("*/record.json"))) > 50
    assert [record.config.key for record in records] == [record.key for record in records]


def test_a_record_of_another_version_is_read_and_says_what_is_unknown(store):
    store.write(RECORD)
    content = json.loads(record_json(store).read_text())
    content["train"]["later"] = 0.0
    record_json(store).write_text(json.dumps(content))
    record = store.read(RECORD.key)
    assert (record.config, record.unknown) == (None, "later must be a setting of this version, got 0.0")
    assert dataclasses.replace(record, config=RECORD.config, unknown=None) == RECORD
    assert store.is_done(RECORD.key), "it is not trained again"


@pytest.mark.parametrize("part", [0, 0.5, 0.99])
def test_a_record_cut_short_is_damaged(store, part):
    store.write(RECORD)
    whole = record_json(store).read_bytes().rstrip()
    record_json(store).write_bytes(whole[: int(part * len(whole))])
    assert store.read(RECORD.key) is None
    assert not store.is_done(RECORD.key)
    assert len(damage(store)) == 1
    assert list(store.keys()) == [RECORD.key]
    assert list(store.records()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_record_holds_what_is_no_number(store, value):
    store.write(RECORD)
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(dataclasses.replace(RECORD, loss=value))
    assert store.read(RECORD.key) == RECORD, "the former record stays"


def test_records_come_sorted_whatever_else_lies_there(store):
    keys = ["c" * 16, "a" * 16, "b" * 16]
    for key in keys:
        store.write(dataclasses.replace(RECORD, key=key))
    (store.root / "notes.txt").write_text("mine")
    (store.root / ("d" * 16)).mkdir()  # a run that has not ended
    store.write_sweep(Sweep(name="s", varied=(), points=()))
    assert [record.key for record in store.records()] == sorted(keys)


SWEEP = Sweep(
    name="sr",
    varied=("arch.sr", "seed"),
    points=(({"arch.sr": "0.125", "seed": "0"}, "a" * 16), ({"arch.sr": "1.0", "seed": "0"}, "b" * 16)),
)


def test_manifests(store):
    other = dataclasses.replace(SWEEP, name="another", varied=("seed",))
    assert store.write_sweep(SWEEP) == store.root / "sweeps" / "sr.json"
    store.write_sweep(other)
    assert list(store.sweeps()) == [other, SWEEP]
    assert SWEEP.keys == ("a" * 16, "b" * 16)


def test_a_manifest_of_an_earlier_version_is_read(store):
    path = store.write_sweep(SWEEP)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: content[name] for name in ("format", "name", "varied", "points")}))
    assert list(store.sweeps()) == [SWEEP]
    assert (SWEEP.experiment, SWEEP.overrides, SWEEP.launched) == (None, (), None)


def test_the_next_launch_replaces_its_manifest(store):
    store.write_sweep(SWEEP)
    longer = dataclasses.replace(SWEEP, points=(*SWEEP.points, ({"arch.sr": "0.5", "seed": "0"}, "c" * 16)))
    store.write_sweep(longer)
    assert list(store.sweeps()) == [longer]


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("no directory")
    store = Store(tmp_path / "file" / "results")
    with pytest.raises(StoreError, match=r"^results_dir must be a writable directory, got '.*file/results'") as caught:
        store.check_writable()
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)


def test_a_directory_that_can_be_used_is_made_and_left_empty(store):
    store.check_writable()
    assert list(store.root.iterdir()) == []


def test_curves_come_back_to_the_last_bit(store):
    numbers = [math.pi / 10**i for i in range(6)]
    names = ("lr", "train_loss", "validation_loss", "validation_top1", "train_seconds", "seconds")
    rows = tuple(Epoch(epoch=epoch, **dict(zip(names, numbers, strict=True))) for epoch in (1, 2, 3))
    path = store.folder("run") / "curve.csv"
    path.parent.mkdir(parents=True)
    path.write_text(curves.dump(rows))
    assert store.curve("run") == rows
    assert pd.read_csv(path).to_dict("records") == [dataclasses.asdict(row) for row in rows]


def test_a_curve_without_epochs_is_empty(store):
    assert curves.parse(curves.dump(()).encode()) == store.curve("no run") == ()
