"""python -m sweep as a person uses it, each time in a process of its own."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from fire.arch import SqueezeNetSpec
from fire.cost import count
from sweep import usage
from sweep.config import CONF
from sweep.store import Store
from tests.sweeping import TINY, command, image_folder, point


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def sweep(data_dir, tmp_path):
    """The command, with its files below temporary directories."""
    return lambda *arguments: command(*arguments, f"data_dir={data_dir}", f"results_dir={tmp_path}/results")


def test_help():
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    for group in ("arch", "data", "train", "experiment"):
        for path in (CONF / group).glob("*.yaml"):
            assert path.stem in out
    assert "python -m sweep experiment=sr" in out


def test_help_tells_choices_and_what_an_experiment_varies():
    out = usage.text(["experiment=sr"])
    assert "\narch.bypass: none, simple, complex\n" in out
    assert "\nsearch.sampler: tpe, nsga2, nsga3, gp, qmc, random, grid\n" in out
    assert "\ncompress.pruning: sensitivity, table\n" in out
    assert "\ncompress.method:" not in out, "which is chosen by its group"
    assert "\narch.sr: 0.125,0.25,0.5,0.75,1.0\n" in out
    assert "Varied" not in usage.text([])
    assert "\narch.version: caffe, small\n" in usage.text(["arch=alexnet"])


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["arch.sr=0"], ["sweep: arch.sr must be in (0, 1], got 0.0"]),
        (["arch.sr=1.5"], ["arch.sr must be in (0, 1], got 1.5"]),
        (["arch.pct_3x3=-1"], ["arch.pct_3x3 must be in [0, 1], got -1.0"]),
        (["arch.bypass=diagonal"], ["arch.bypass must be one of none, simple, complex, got 'diagonal'"]),
        (["experiment=nope"], ["experiment must be one of best, bypass, ", "pct_3x3", "sr", "got 'nope'"]),
        (["arch.srr=1"], ["arch.srr must be one of base_e, ", ", sr, ", "got a new key"]),
        (["dryrun=true"], ["dryrun must be one of seed, ", ", dry_run, ", "got a new key"]),
        (["search.budget=5"], ["search.budget must be one of budget_runs, ", "got a new key"]),
        (["+sr=1"], ["sr must be one of seed,", "got a new key"]),
        (["arch.sr=abc"], ["arch.sr", "'abc'", "Float"]),
        (["arch.sr=0.25,0.5"], ["arch.sr=0.25,0.5", "--multirun"]),
        (["seed=x"], ["'x'", "Integer"]),
        (["arch=null"], ["arch must be the name of one of conf/arch/*.yaml", "got null"]),
        (["experiment=null"], ["experiment must be the name of one of conf/experiment/*.yaml", "got null"]),
        (["-m", "experiment=sr,bypass"], ["experiment must be one name, ", "got 'experiment=sr,bypass'"]),
        (["experiment=sr,bypass"], ["experiment must be one name, ", "got 'experiment=sr,bypass'"]),
        (["sr"], ["sweep: arguments must be KEY=VALUE, got 'sr'"]),
        (["~seed"], ["sweep: arguments must be KEY=VALUE, got '~seed'"]),
        (["--data", "digits"], ["arguments must be KEY=VALUE or flags of --hydra-help, got '--data'"]),
        (["arch.sr=[1,2"], ["arch.sr must be a value of Hydra's grammar, special characters in quotes, got '[1,2'"]),
        (["-m", "arch.sr=0.25,0.5,7"], ["sweep: arch.sr=7: arch.sr must be in (0, 1], got 7.0"]),
        (["seed=1", "-m", "arch.sr=0.25,7"], ["sweep: arch.sr=7: arch.sr must be in (0, 1], got 7.0"]),
        (["experiment=sr", "device=gpu"], ["sweep: device must be one of auto, cpu, cuda, cuda:N, got 'gpu'"]),
        (["-m", "data=digits,image_folder"], ["data=image_folder", "data.root must be a folder", "got None"]),
        (
            ["hydra/sweeper=search", "search.budget_runs=3"],
            ["hydra/sweeper must be set in a sweep (-m, or ", "got 'search'"],
        ),
        (
            ["search.budget_runs=3"],
            [
                "search.budget_runs must be set in a search",
                "-m with hydra/sweeper=search",
                "got 'search.budget_runs=3'",
            ],
        ),
        (["experiment=sr", "search.sampler=gp"], ["search.sampler must be set in a search"]),
        (["timeout=1"], ["timeout must be set in a sweep (-m, or an experiment of several points), got 'timeout=1'"]),
        (["experiment=best", "workers=2"], ["workers must be set in a sweep"]),
        (["compress.density=0.2"], ["compress.density must be a setting that compress=none reads (no setting), got "]),
        (["-m", "compress=entropy", "compress.density=0.1,0.2"], ["density must be a setting that compress=entropy "]),
        (["compress.method=entropy"], ["compress.method must be chosen with compress=METHOD", "got 'compress.method="]),
        (["-m", "compress.method=none,entropy"], ["compress.method must be chosen with compress=METHOD"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_nothing_is_made(sweep, tmp_path, arguments, parts):
    code, out, err = sweep(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep: [^\n]+\n", err), err
    assert all(part in err for part in parts), err
    assert not (tmp_path / "results").exists()


def test_results_below_a_file(data_dir, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = command(*TINY, f"data_dir={data_dir}", f"results_dir={tmp_path}/file/results")
    assert (code, out) == (2, "")
    assert err == f"sweep: results_dir must be a writable directory, got '{tmp_path}/file/results' (Not a directory)\n"


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


def test_dry_run(sweep, tmp_path):
    code, out, err = sweep("experiment=sr", "arch.conv1=24", "dry_run=true")
    assert (code, err) == (0, "")
    specs = [
        SqueezeNetSpec(version="small", base_e=32, incr_e=32, conv1=24, sr=sr, classes=10)
        for sr in (0.125, 0.25, 0.5, 0.75, 1)
    ]
    rows = re.findall(r"sr=([\d.]+) +│ +\w{16} +│ +([\d,]+) ", out)
    assert [int(text.replace(",", "")) for _, text in rows] == [count(spec, 28, 1).parameters for spec in specs]
    assert [float(text) for text, _ in rows] == [spec.sr for spec in specs]
    assert not (tmp_path / "results").exists()


def test_a_dry_run_tells_which_networks_are_trained_first(sweep):
    code, out, _ = sweep("-m", "arch.sr=0.5,0.25", "compress=entropy,deep_compression", "dry_run=true")
    assert (code, out.count("to do")) == (0, 6)
    assert "4 points after 2 to start from" in out
    assert out.count("method=none") == 2


def test_a_setting_that_some_run_reads_is_no_mistake(sweep):
    code, out, err = sweep("-m", "compress=none,deep_compression", "compress.density=0.3", "dry_run=true")
    assert (code, err, out.count("to do")) == (0, "", 2)


def test_a_value_may_refer_to_another(sweep):
    code, out, err = sweep("arch.incr_e=${arch.base_e}", "arch.base_e=64", "dry_run=true")
    assert (code, err) == (0, "")
    assert f"{count(SqueezeNetSpec(version='small', base_e=64, incr_e=64, classes=10), 28, 1).parameters:,}" in out


def test_a_point_that_is_written_twice_is_one(sweep):
    code, out, _ = sweep("-m", "arch.sr=0.5,0.50,0.25", "seed=0,1", "dry_run=true")
    assert (code, out.count("to do")) == (0, 4)


LEARNS, LEARNS_TOO, DIVERGES = (point(*TINY, f"train.lr={lr}").key for lr in ("0.1", "0.2", "1e30"))
SWEEP = ("-m", *TINY, "train.lr=0.1,0.2,1e30")


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

    code, out, err = command(*SWEEP, f"data_dir={data_dir}", f"results_dir={results}")
    assert (code, err) == (1, "")
    assert "3 runs, 1 finished before" in out
    assert f"damaged: {damaged} cannot be read" in out
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
    records = {record.arch["bypass"]: record for record in Store(tmp_path / "results").records()}
    assert {record.status for record in records.values()} == {"finished"}
    assert records["none"].parameters == records["simple"].parameters < records["complex"].parameters
    # hydra/launcher=basic etc. are Hydra's; ours leaves no files of Hydra's beside the runs
    assert {path.name for path in (tmp_path / "results").iterdir()} - set(manifest.keys) <= {"sweeps", ".hydra"}
