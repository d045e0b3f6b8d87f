"""python -m sweep as a person uses it, without training: help, flags, wrong input, dry runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fire.arch import SqueezeNetSpec
from fire.cost import count
from sweep.compose import CONF
from tests.sweeping import TINY, answered, command


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def planned(data_dir, tmp_path):
    """The command in this process, with its files below temporary directories: for what trains nothing."""
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
    assert "\nsearch.sampler: ehvi, tpe, nsga2, random, grid, map\n" in out
    assert "\ncompress.pruning: sensitivity, table\n" in out
    assert "\ncompress.method:" not in out, "which is chosen by its group"
    assert "\narch.sr: 0.125,0.25,0.5,0.75,1.0\n" in out
    assert "Varied" not in helped()
    assert "\narch.version: caffe, small\n" in helped("arch=alexnet")


def test_help_says_what_settings_mean_and_their_ranges():
    lines = helped("train.lr=0.1", "seed=1").splitlines()
    assert "  lr: 0.1  # of SGD, at the peak of the schedule; above 0 and finite" in lines
    assert "  fires: 8  # number of Fire modules; in [1, 512]" in lines
    assert "timeout: 0.0  # seconds until a run of a sweep is stopped; 0: never; at least 0 and finite" in lines
    assert "seed: 1" in lines


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
        (
            ["experiment=sr", "seed=0,1", "train=slow"],
            ["train must be one of colour, fast, full, mixup, ", "got 'slow'"],
        ),
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
        (["hydra/launcher=slurm"], ["hydra/launcher must be set in a sweep (-m, or ", "got 'slurm'"]),
        (
            ["arch=alexnet_small", "arch.fc=8192"],
            ["arch must be a network of at most 67,108,864 parameters", "got '88,383,178'"],
        ),
        (["hydra/launcher=nope"], ["hydra/launcher must be one of basic, ", "local, ray, slurm, got 'nope'"]),
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


@pytest.mark.parametrize("value", ["${arch.base_e}", "${.base_e}", "${oc.select:arch.base_e}"])
def test_values_in_a_users_preset_may_follow_others(value, users_folder, planned):
    (users_folder / "arch/tiny.yaml").write_text(f"defaults:\n  - squeezenet_narrow\n  - _self_\nincr_e: {value}\n")
    code, out, err = planned("experiment=widths", "--config-dir", str(users_folder), "dry_run=true")
    assert (code, err) == (0, "")
    spec = SqueezeNetSpec(version="small", conv1=16, classes=10)
    for width in (8, 16, 24):
        expected = count(replace(spec, base_e=width, incr_e=width), 8, 1).parameters
        assert re.search(rf"base_e={width} +│ +\w{{16}} +│ +{expected:,} ", out)


def test_help_shows_the_users_folder(users_folder):
    out = helped(f"--config-dir={users_folder}", "experiment=widths")
    assert re.search(r"\nexperiment: .*, sr, .*, widths\n", out)
    assert re.search(r"\narch: .*, tiny\n", out)
    assert "\narch.base_e: 8,16,24\n" in out
    assert "\n  fires: 2  #" in out


def test_a_typing_error_in_the_users_folder_is_one_line(users_folder, planned):
    (users_folder / "experiment/widths.yaml").write_text("# @package _global_\ntrain: {lr: [\n")
    code, out, err = planned("experiment=widths", "-cd", str(users_folder), "dry_run=true")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "widths.yaml" in err


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
    on_device = re.findall(r"│ +([\d.,]+) │ +([\d.,]+) │ to do", out)
    costs = [count(spec, 28, 1) for spec in specs]
    assert on_device == [(f"{cost.peak_ram_bytes / 1024:,.1f}", f"{cost.flash_bytes / 1024:,.1f}") for cost in costs]
    assert max(map(len, out.splitlines())) <= 120
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
