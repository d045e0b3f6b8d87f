"""python -m sweep as a person uses it, with training, each time in a process of its own."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from sweep.store import Store
from tests.sweeping import TINY, command, image_folder, point


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def sweep(data_dir, tmp_path):
    """The command, with its files below temporary directories."""
    return lambda *arguments: command(*arguments, f"data_dir={data_dir}", f"results_dir={tmp_path}/results")


def no_folder(root: Path) -> str:
    shutil.rmtree(root)
    return f"data.root must be an existing folder, got {str(root)!r}"


def empty_class(root: Path) -> str:
    (root / "val/class1/0.jpg").unlink()
    return f"class folder {root / 'val/class1'} must hold images"


def cut_short(root: Path) -> str:
    path = root / "train/class0/1.jpg"
    path.write_bytes(path.read_bytes()[:300])
    return f"images must be readable, got 1 unreadable of 4: {path} ("


@pytest.mark.parametrize("harm", [no_folder, empty_class, cut_short])
def test_bad_image_folders(sweep, tmp_path, harm):
    root = image_folder(tmp_path / "images")
    message = harm(root)
    sizes = ("data.stored_size=20", "data.image_size=20", "data.validation=1")
    code, out, err = sweep("-m", "seed=0,1", "data=image_folder", f"data.root={root}", *sizes)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep: [^\n]+\n", err), err
    assert message in err
    assert not list((tmp_path / "results").glob("*/config.yaml")), "no run has begun"


LEARNS, LEARNS_TOO, DIVERGES = (point(*TINY, f"train.lr={lr}").key for lr in ("0.1", "0.2", "1e30"))
SWEEP = ("-m", *TINY, "train.lr=0.1,0.2,1e30", "timeout=1e300")  # more seconds than any system call takes


@pytest.fixture(scope="module")
def launched(data_dir, tmp_path_factory):
    """A sweep of three points of which one fails: its results, exit code, standard output and error."""
    results = tmp_path_factory.mktemp("launched") / "results"
    return results, *command(*SWEEP, f"data_dir={data_dir}", f"results_dir={results}")


def test_one_failure_costs_one_run(launched):
    results, code, out, err = launched
    assert (code, err) == (1, "")
    store = Store(results)
    assert {record.key: record.status for record in store.records()} == {
        LEARNS: "finished",
        LEARNS_TOO: "finished",
        DIVERGES: "failed",
    }
    table, _, failures = out.partition("failures")
    assert "lr=0.1 " in table
    assert "lr=0.2 " in table
    assert DIVERGES in failures
    assert "diverged" in failures
    assert "lr=0.1 " not in failures
    for record in store.records():
        assert (record.error is None) == (record.top1 is not None) == (record.key != DIVERGES)
        assert record.threads == (1 if record.top1 is not None else None)


def test_the_manifest_says_what_varied(launched):
    (sweep,) = Store(launched[0]).sweeps()
    assert sweep.varied == ("train.lr",)
    assert [(float(overrides["train.lr"]), key) for overrides, key in sweep.points] == [
        (0.1, LEARNS),
        (0.2, LEARNS_TOO),
        (1e30, DIVERGES),
    ]
    assert all(set(overrides) == {"train.lr"} for overrides, _ in sweep.points)


def test_launched_again_it_does_what_is_missing(launched, data_dir, tmp_path):
    results = shutil.copytree(launched[0], tmp_path / "moved")  # a copy keeps the times
    damaged = results / LEARNS_TOO / "record.json"
    whole = json.loads(damaged.read_text())
    os.truncate(damaged, damaged.stat().st_size // 2)
    before = (results / LEARNS / "record.json").stat().st_mtime_ns
    (manifest,) = (results / "sweeps").glob("*.json")
    manifest.write_text("[" * 100_000)

    code, out, err = command(*SWEEP, f"data_dir={data_dir}", f"results_dir={results}")
    assert (code, err) == (1, "")
    assert "3 runs, 1 finished before" in out
    assert out.count(f"damaged: {damaged} cannot be read") == 1
    assert out.count(f"damaged: {manifest} cannot be read") == 1
    assert (results / LEARNS / "record.json").stat().st_mtime_ns == before
    assert json.loads(damaged.read_text())["top1"] == whole["top1"]
    starts = {key: (results / key / "log").read_text().count(" start, ") for key in (LEARNS, LEARNS_TOO, DIVERGES)}
    assert starts == {LEARNS: 1, LEARNS_TOO: 2, DIVERGES: 2}
    assert len(list(Store(results).sweeps())) == 1


def test_one_run_and_then_nothing_to_do(sweep, tmp_path):
    (code, out, err), key = sweep(*TINY), point(*TINY).key
    assert (code, err) == (0, "")
    assert len(re.findall(r"epoch \d/3", out)) == 3
    record = Store(tmp_path / "results").read(key)
    assert f"{100 * record.top1:.2f} %" in out

    code, out, err = sweep(*TINY)
    assert (code, err) == (0, "")
    assert not re.search(r"epoch \d/3", out)
    assert f"{100 * record.top1:.2f} %" in out
    assert Store(tmp_path / "results").read(key) == record


def test_an_experiment_needs_no_flag(sweep, tmp_path):
    code, out, err = sweep("experiment=bypass", *TINY)
    assert (code, err) == (0, ""), out
    (manifest,) = Store(tmp_path / "results").sweeps()
    assert manifest.name.startswith("bypass")
    assert manifest.varied == ("arch.bypass",)
    assert manifest.experiment == "bypass"
    assert set(manifest.overrides) == {*TINY} - {"threads=1"}, "threads change no result"
    records = {record.config.arch.bypass: record for record in Store(tmp_path / "results").records()}
    assert {record.status for record in records.values()} == {"finished"}
    assert records["none"].parameters == records["simple"].parameters < records["complex"].parameters
    # hydra/launcher=basic etc. are Hydra's; ours leaves no files of Hydra's beside the runs
    assert {path.name for path in (tmp_path / "results").iterdir()} - set(manifest.keys) <= {"sweeps", ".hydra"}
