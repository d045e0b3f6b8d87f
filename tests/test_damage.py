"""Files of a store that are no longer what the program wrote: each is named once, and nothing else is lost."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.manifests import Sweep
from sweep.record import Record, dump
from sweep.search.__main__ import answer
from sweep.store import Damage, Store
from tests.records import record_of
from tests.sweeping import ROOT, command, point, write_curve
from tests.test_store import RECORD

KEY = "a" * 16  # of the damaged run
OBJECTIVES = {"objectives": ["top1"], "constraints": []}


@pytest.fixture
def store(tmp_path) -> Store:
    """A store of a whole run, and of one whose files are to be damaged."""
    made = Store(tmp_path / "results")
    made.write(RECORD)
    made.folder(KEY).mkdir()
    for key in (RECORD.key, KEY):
        write_curve(made.folder(key), 0.5, 0.6)
    for name in ("whole", "damaged"):
        made.write_sweep(Sweep(name=name, varied=("seed",), points=(({"seed": "0"}, KEY),), search=OBJECTIVES))
    return made


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def bad_bytes(path: Path) -> None:
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\xff\xff")


def directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def endless_device(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = (nested, bad_bytes, directory, endless_device, pipe, loop)


def each_named_once(found: list[Damage], path: Path) -> None:
    assert [damage.path for damage in found] == [path]
    assert str(found[0]).startswith(f"{path} cannot be read: ")
    assert "\n" not in str(found[0])


@pytest.mark.parametrize("damage", [*DAMAGES, empty], ids=lambda damage: damage.__name__)
def test_a_record_that_cannot_be_read_is_named_and_the_others_are_read(store, damage):
    path = store.folder(KEY) / "record.json"
    damage(path)
    found: list[Damage] = []
    assert [record.key for record in store.records(found.append)] == [RECORD.key]
    each_named_once(found, path)
    assert store.read(KEY) is None
    assert not store.is_done(KEY)


@pytest.mark.parametrize("damage", [*DAMAGES, empty], ids=lambda damage: damage.__name__)
def test_a_manifest_that_cannot_be_read_is_named_and_the_others_are_read(store, damage):
    path = store.root / "sweeps" / "damaged.json"
    damage(path)
    found: list[Damage] = []
    assert [sweep.name for sweep in store.sweeps(found.append)] == ["whole"]
    each_named_once(found, path)


@pytest.mark.parametrize("damage", [*DAMAGES, empty], ids=lambda damage: damage.__name__)
def test_a_curve_that_cannot_be_read_is_named(store, damage):
    path = store.folder(KEY) / "curve.csv"
    damage(path)
    found: list[Damage] = []
    assert store.curve(KEY, found.append) == ()
    each_named_once(found, path)
    assert store.validation_curve(RECORD.key, found.append) == (0.5, 0.6)


RIGHT = json.loads(dump(record_of(point("data=digits").config, 0.5, key=KEY)))
WRONG_RECORDS = [
    ("seed", "x", "seed must be a whole number, got 'x'"),
    ("seed", True, "seed must be a whole number, got True"),
    ("seed", 2**64, "seed must be a whole number, got 18446744073709551616"),
    ("parameters", 1.5, "parameters must be a whole number, got 1.5"),
    ("top1", "0.5", "top1 must be a finite number or null, got '0.5'"),
    ("top1", [0.5], "top1 must be a finite number or null, got [0.5]"),
    ("status", "done", "status must be one of finished, failed, stopped, got 'done'"),
    ("error", 5, "error must be text or null, got 5"),
    ("arch", "x", "arch must be an object, got 'x'"),
    ("arch", {"family": "squeezenet", "sr": "x"}, "arch.sr must be a finite number, got 'x'"),
    ("arch", {"family": "squeezenet", "fires": 2.5}, "arch.fires must be a whole number, got 2.5"),
    (
        "arch",
        {"family": ["x"]},
        "arch.family must be a finite number or text or true or false or null, got ['x']",
    ),
    (
        "arch",
        {"family": "of a later version", "x": {}},
        "arch.x must be a finite number or text or true or false or null, got {}",
    ),
    ("data", {"name": 5}, "data.name must be text, got 5"),
    ("train", {"epochs": None}, "train.epochs must be a whole number, got None"),
    ("compress", {"rate": {}}, "compress.rate must be a finite number, got {}"),
    ("key", "b" * 16, f"key and format must be {KEY} and 1, got {'b' * 16} and 1"),
    ("format", 2, f"key and format must be {KEY} and 1, got {KEY} and 2"),
    ("accuracy", 0.5, "got an unexpected keyword argument 'accuracy'"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_RECORDS, ids=lambda value: str(value)[:30])
def test_a_value_of_a_wrong_type_makes_a_record_unreadable(store, name, value, message):
    path = store.folder(KEY) / "record.json"
    path.write_text(json.dumps(RIGHT))
    assert store.read(KEY) is not None
    path.write_text(json.dumps(RIGHT | {name: value}))
    found: list[Damage] = []
    assert store.read(KEY, found.append) is None
    each_named_once(found, path)
    assert message in found[0].reason


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_what_is_no_finite_number_makes_a_record_unreadable(store, number):
    content = json.dumps(RIGHT | {"top1": 0.123}).replace("0.123", number)
    (store.folder(KEY) / "record.json").write_text(content)
    assert store.read(KEY) is None


@pytest.mark.parametrize("content", ["null", "[1, 2]", '"text"', "{}"])
def test_other_json_is_no_record(store, content):
    (store.folder(KEY) / "record.json").write_text(content)
    assert store.read(KEY) is None


MANIFEST = {"format": 1, "name": "damaged", "varied": [], "points": []}
WRONG_MANIFESTS = [
    {"varied": [5]},
    {"varied": "seed"},
    {"points": [1]},
    {"points": [[{}, {}]]},
    {"points": [{"overrides": {}, "key": 5}]},
    {"points": [{"overrides": {"seed": 0}, "key": KEY}]},
    {"points": [{"overrides": {}}]},
    {"search": {"objectives": [5], "constraints": []}},
    {"search": {"objectives": "top1"}},
    {"name": "another"},
    {"format": 2},
]


@pytest.mark.parametrize("changes", [{}, *WRONG_MANIFESTS], ids=str)
def test_a_value_of_a_wrong_type_makes_a_manifest_unreadable(store, changes):
    (store.root / "sweeps" / "damaged.json").write_text(json.dumps(MANIFEST | changes))
    assert (store.read_sweep("damaged") is not None) == (not changes)


@pytest.mark.parametrize(
    "content",
    [
        "epoch,validation_top1\n1,0.5\n",
        "nonsense",
        "{header}1,2,3\n",
        "{header}x,1,1,1,1,1,1\n",
        "{header}2,1,1,1,1,1,1\n",
        "{header}1,1,nan,1,1,1,1\n",
        "{header}1,1,1,1,1,1,1\n3,1,1,1,1,1,1\n",
    ],
)
def test_a_curve_must_be_that_of_epochs(store, content):
    path = store.folder(KEY) / "curve.csv"
    path.write_text(content.replace("{header}", path.read_text().splitlines()[0] + "\n"))
    found: list[Damage] = []
    assert store.curve(KEY, found.append) == ()
    each_named_once(found, path)


def test_every_published_file_can_be_read():
    store = Store(ROOT / "docs" / "results")
    found: list[Damage] = []
    records: list[Record] = list(store.records(found.append))
    assert [record.key for record in records] == list(store.keys()) != []
    assert all(store.curve(record.key, found.append) for record in records)
    assert list(store.sweeps(found.append))
    assert found == []


def test_the_best_network_is_found_beside_damaged_records(store, monkeypatch, capsys):
    config = point("data=digits").config
    store.write(record_of(config, 0.75))
    monkeypatch.setattr("sweep.search.best.lines", lambda candidate: [candidate.config.key])
    damaged = [store.root / f"{number:016}" / "record.json" for number in range(9)]
    for path in damaged:
        path.parent.mkdir()
        nested(path)
    answer(["best", str(store.root)])
    out, err = capsys.readouterr()
    assert config.key in out
    lines = err.splitlines()
    assert lines[:5] == [f"damaged: {path} cannot be read: JSON is nested too deeply" for path in damaged[:5]]
    assert lines[5:] == ["damaged: 4 more files cannot be read"]


def test_sweeps_and_searches_name_damaged_files_once(store):
    space = ("data=digits", "arch=squeezenet_narrow", "arch.sr=0.25,0.5", "dry_run=true", f"results_dir={store.root}")
    path = store.folder(point("data=digits", "arch=squeezenet_narrow", "arch.sr=0.5").key) / "record.json"
    path.parent.mkdir()
    damages: list[Callable[[Path], None]] = [nested, bad_bytes]
    for overrides, damage in zip(((), ("hydra/sweeper=search",)), damages, strict=True):
        damage(path)
        code, out, err = command("-m", *space, *overrides)
        assert (code, err) == (0, "")
        assert len(re.findall(re.escape(str(path)), out)) == 1, out
