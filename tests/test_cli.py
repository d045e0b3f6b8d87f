"""python -m sweep as a person uses it, each time in a process of its own."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fire.arch import SqueezeNetSpec
from fire.cost import count
from sweep.compose import CONF
from sweep.store import Store
from tests.sweeping import TINY, answered, command, image_folder, point


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def sweep(data_dir, tmp_path):
    """The command, with its files below temporary directories."""
    return lambda *arguments: command(*arguments, f"data_dir={data_dir}", f"results_dir={tmp_path}/results")


@pytest.fixture
def planned(data_dir, tmp_path):
    """As `sweep`, in this process: for what trains nothing."""
    return lambda *arguments: answered(*arguments, f"data_dir={data_dir}", f"results_dir={tmp_path}/results")


def helped(*arguments: str) -> str:
    code, out, err = answered("--help", *arguments)
    assert (code, err) == (0, "")
    return out


def test_help():
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    for group in ("arch", "data", "train", "experiment"):
        for path in (CONF / group).glob("*.yaml"):
            assert path.stem in out
    assert "python -m sweep experiment=sr" in out


def test_help_tells_choices_and_what_an_experiment_varies():
    out = helped("experiment=sr", "seed=0,1")
    assert "\narch.bypass: none, simple, complex\n" in out
    assert "\nsearch.sampler: tpe, nsga2, nsga3, gp, qmc, random, grid\n" in out
    assert "\ncompress.pruning: sensitivity, table\n" in out
    assert "\ncompress.method:" not in out, "which is chosen by its group"
    assert "\narch.sr: 0.125,0.25,0.5,0.75,1.0\n" in out
    assert "Varied" not in helped()
    assert "\narch.version: caffe, small\n" in helped("arch=alexnet")


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
        (["arch.sr=abc"], ["sweep: arch.sr must be a number, got 'abc'"]),
        (["arch.sr=0.25,0.5"], ["arch.sr must be one value (with -m a list is a sweep), got 'arch.sr=0.25,0.5'"]),
        (["seed=x"], ["seed must be a whole number, got 'x'"]),
        (["seed=1.5"], ["seed must be a whole number, got '1.5'"]),
        (["seed=" + "1" * 5000], ["seed must be a value of Hydra's grammar, got '111111", "1...'"]),
        (["data.mirror=maybe"], ["data.mirror must be true or false, got 'maybe'"]),
        (["arch.sr=null"], ["arch.sr must be a value, got null"]),
        (["device=null"], ["device must be a value, got null"]),
        (["experiment=search", "search=null"], ["search must be set by its fields, search.NAME=VALUE, got"]),
        (["arch=null"], ["arch must be the name of one of conf/arch/*.yaml", "got null"]),
        (["experiment=null"], ["experiment must be the name of one of conf/experiment/*.yaml", "got null"]),
        (["-m", "experiment=sr,bypass"], ["experiment must be one name, ", "got 'experiment=sr,bypass'"]),
        (["experiment=sr,bypass"], ["experiment must be one name, ", "got 'experiment=sr,bypass'"]),
        (["sr"], ["sweep: arguments must be KEY=VALUE, got 'sr'"]),
        (["~seed"], ["sweep: arguments must be KEY=VALUE, got '~seed'"]),
        (["--data", "digits"], ["arguments must be KEY=VALUE or flags of --help, got '--data'"]),
        (["-sc", "install=bash"], ["arguments must be KEY=VALUE or flags of --help, got '-sc'"]),
        (["--experimental-rerun", "x"], ["KEY=VALUE or flags of --help, got '--experimental-rerun'"]),
        (["--resolve"], ["--resolve must be given with --cfg, got True"]),
        (["--cfg", "nope"], ["arguments must be as --help shows them: argument -c/--cfg: invalid choice: "]),
        (["-m", "--cfg", "job", "--package", "nope"], ["--package must be a key of the configuration, got 'nope'"]),
        (["--config-name", "mine"], ["arguments must be KEY=VALUE or flags of --help, got '--config-name'"]),
        (
            ["--config-dir", "/nope"],
            ["--config-dir must be a readable folder, got '/nope' (No such file "],
        ),
        (["experiment=sr", "seed=0,1", "train.typo=3"], ["train.typo must be one of epochs, ", "got a new key"]),
        (["experiment=sr", "seed=0,1", "train=slow"], ["train must be one of full, paper, quick, got 'slow'"]),
        (["experiment=sr", "seed=0,1", "train.lr=high"], ["train.lr must be a number, got 'high'"]),
        (["experiment=nope", "seed=0,1"], ["experiment must be one of best, bypass, ", "got 'nope'"]),
        (["experiment=sr", "hydra.mode=RUN"], ["hydra.mode must be left to -m and to the experiment, got "]),
        (["compress=1.5"], ["compress must be the name of one of conf/compress/*.yaml, got 1.5"]),
        (["arch=nan"], ["arch must be the name of one of conf/arch/*.yaml, got nan"]),
        (["-m", "arch=nan,alexnet"], ["sweep: arch=nan: a group must be set to the name of one of its presets"]),
        (["arch=[a,b]"], ["arch must be the name of one of conf/arch/*.yaml, got [a,b]"]),
        (["-m", "arch.conv1=glob(*)"], ["arch.conv1 must be a list of at least one value, got 'arch.conv1=glob(*)'"]),
        (["-m", "arch.sr=interval(0,1)"], ["arch.sr must be a list or a range of values in a sweep, got "]),
        (["-m", "arch.sr=[0.25,0.5]"], ["arch.sr must be a number, got '[0.25, 0.5]'"]),
        (["-m", "seed=range(0,1e8)"], ["the sweep must have at most 100,000 points, got 100,001 or more: seed=range"]),
        (["-m", "seed=range(0,1000)", "arch.snap=range(1,1001)"], ["at most 100,000 points, got 1,000,000 or more: "]),
        (["-m", "hydra.sweeper.params=5"], ["hydra.sweeper.params must be KEY: VALUES, by keys, got 5"]),
        (["-m", "hydra.sweeper._target_=os.system"], ["hydra.sweeper._target_ must be a sweeper of Hydra's, got "]),
        (["-m", "hydra.launcher._target_=no.such"], ["hydra.launcher._target_ must be a launcher of Hydra's, got "]),
        (["hydra.callbacks.x=1"], ["hydra.callbacks.x must be added with +hydra.callbacks.x=VALUE, got a new key"]),
        (["+hydra.callbacks.x=5"], ["hydra.callbacks.x must be a class, as _target_, and its arguments, got 5"]),
        (["experiment=search", "search.objectives=top1"], ["search.objectives must be a list in brackets"]),
        (["hydra/launcher=nope"], ["hydra/launcher must be one of basic, ", "local, got 'nope'"]),
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
def test_bad_input_is_one_line_and_nothing_is_made(planned, tmp_path, arguments, parts):
    code, out, err = planned(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep: [^\n]+\n", err), err
    assert all(part in err for part in parts), err
    assert not (tmp_path / "results").exists()


def test_results_below_a_file(data_dir, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = command(*TINY, f"data_dir={data_dir}", f"results_dir={tmp_path}/file/results")
    assert (code, out) == (2, "")
    assert err == f"sweep: results_dir must be a writable directory, got '{tmp_path}/file/results' (Not a directory)\n"


@pytest.mark.parametrize("name", ["results_dir", "data_dir"])
@pytest.mark.parametrize(("value", "rule"), [("null", "a value, got null"), ("", "a folder, got ''")])
def test_a_folder_must_have_a_name(name, value, rule):
    assert answered("data=digits", "dry_run=true", f"{name}={value}") == (2, "", f"sweep: {name} must be {rule}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "experiment=bypass", "seed=0,1"],
        ["experiment=bypass", "-m", "seed=0,1"],
        ["experiment=bypass", "seed=0,1", "--multirun"],
    ],
    ids=" ".join,
)
def test_flags_may_be_anywhere_among_overrides(planned, arguments):
    code, out, err = planned(*arguments, "dry_run=true")
    assert (code, err, out.count("to do")) == (0, "", 6)


def test_version_is_ours():
    code, out, err = answered("--version")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"squeezenet-design-space (\d+\.\d+\.\d+|not installed)(, commit [0-9a-f]{40}( with changes)?)?\n", out
    )


def test_configuration_is_printed_in_full_or_in_part():
    code, out, err = answered("-m", "--cfg", "job", "arch.sr=0.25", "seed=0,1")
    assert (code, err) == (0, "")
    cfg = OmegaConf.create(out)
    assert (cfg.arch.sr, "hydra" in cfg) == (0.25, False)
    assert answered("--cfg", "job", "--package", "arch.sr", "arch.sr=0.25") == (0, "0.25\n", "")
    assert answered("--cfg", "job", "--package", "arch.classes", "--resolve") == (0, "10\n", "")
    assert set(OmegaConf.create(answered("--cfg", "hydra")[1])) == {"hydra"}


@pytest.fixture
def users_folder(tmp_path) -> Path:
    """A folder of a user's own experiment, whose axes come without hydra.mode, and of a network."""
    folder = tmp_path / "it's mine, ok"
    (folder / "experiment").mkdir(parents=True)
    (folder / "arch").mkdir()
    (folder / "experiment/widths.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /arch: tiny\n  - override /data: digits\n"
        "hydra:\n  sweeper:\n    params:\n      arch.base_e: 8,16,24\n"
    )
    (folder / "arch/tiny.yaml").write_text("defaults:\n  - squeezenet_narrow\n  - _self_\nfires: 2\n")
    return folder


def test_experiments_may_lie_in_a_folder_of_the_user(users_folder, planned):
    code, out, err = planned("experiment=widths", "--config-dir", str(users_folder), "dry_run=true")
    assert (code, err) == (0, "")
    rows = re.findall(r"base_e=(\d+) +│ +\w{16} +│ +([\d,]+) ", out)
    spec = SqueezeNetSpec(version="small", incr_e=32, conv1=16, fires=2, classes=10)
    assert [(int(e), int(text.replace(",", ""))) for e, text in rows] == [
        (e, count(replace(spec, base_e=e), 8, 1).parameters) for e in (8, 16, 24)
    ]


def test_help_shows_the_users_folder(users_folder):
    out = helped(f"--config-dir={users_folder}", "experiment=widths")
    assert re.search(r"\nexperiment: .*, sr, widths\n", out)
    assert re.search(r"\narch: .*, tiny\n", out)
    assert "\narch.base_e: 8,16,24\n" in out
    assert "\n  fires: 2\n" in out


def test_a_typing_error_in_the_users_folder_is_one_line(users_folder, planned):
    (users_folder / "experiment/widths.yaml").write_text("# @package _global_\ntrain: {lr: [\n")
    code, out, err = planned("experiment=widths", "-cd", str(users_folder), "dry_run=true")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "widths.yaml" in err


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


def test_dry_run(planned, tmp_path):
    code, out, err = planned("experiment=sr", "arch.conv1=24", "dry_run=true")
    assert (code, err) == (0, "")
    specs = [
        SqueezeNetSpec(version="small", base_e=32, incr_e=32, conv1=24, sr=sr, classes=10)
        for sr in (0.125, 0.25, 0.5, 0.75, 1)
    ]
    rows = re.findall(r"sr=([\d.]+) +│ +\w{16} +│ +([\d,]+) ", out)
    assert [int(text.replace(",", "")) for _, text in rows] == [count(spec, 28, 1).parameters for spec in specs]
    assert [float(text) for text, _ in rows] == [spec.sr for spec in specs]
    assert not (tmp_path / "results").exists()


def test_a_dry_run_tells_which_networks_are_trained_first(planned):
    code, out, _ = planned("-m", "arch.sr=0.5,0.25", "compress=entropy,deep_compression", "dry_run=true")
    assert (code, out.count("to do")) == (0, 6)
    assert "4 points after 2 to start from" in out
    assert out.count("method=none") == 2


def test_a_setting_that_some_run_reads_is_no_mistake(planned):
    code, out, err = planned("-m", "compress=none,deep_compression", "compress.density=0.3", "dry_run=true")
    assert (code, err, out.count("to do")) == (0, "", 2)


def test_a_value_may_refer_to_another(planned):
    code, out, err = planned("arch.incr_e=${arch.base_e}", "arch.base_e=64", "dry_run=true")
    assert (code, err) == (0, "")
    assert f"{count(SqueezeNetSpec(version='small', base_e=64, incr_e=64, classes=10), 28, 1).parameters:,}" in out


def test_a_point_that_is_written_twice_is_one(planned):
    code, out, _ = planned("-m", "arch.sr=0.5,0.50,0.25", "seed=0,1", "dry_run=true")
    assert (code, out.count("to do")) == (0, 4)


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
