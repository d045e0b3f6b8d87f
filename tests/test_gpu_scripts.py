"""The scripts for a machine with a GPU, rehearsed without one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench import gpu, gpu_bench, gpu_check, gpu_steps, gpu_ways
from bench.gpu import Check, Site
from bench.gpu_ways import Pace
from fire.machine import hardware
from tests.records import record_of
from tests.sweeping import ROOT, TINY, point

SCRIPTS = [path.relative_to(ROOT) for folder in ("bench", "scripts") for path in sorted((ROOT / folder).glob("*.sh"))]


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_bash_can_read_it(path):
    assert os.access(ROOT / path, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / path)], check=True)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the scripts, and a Python that writes down its arguments."""
    bench = tmp_path / "checkout" / "bench"
    bench.mkdir(parents=True)
    for name in ("gpu.sh", "gpu_check.sh", "gpu_bench.sh"):
        shutil.copy(ROOT / "bench" / name, bench)
    shutil.copy(ROOT / "pyproject.toml", bench.parent)
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/bash\n"
        f'[ "$1" = -c ] && exec {sys.executable} "$@"\n'
        f'echo "$(basename "$PWD") $0 $*" >>{tmp_path}/calls\n'
        f'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp {python} "$3/bin/python"; fi\n'
    )
    python.chmod(0o755)

    def call(script: str, *arguments: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        environment = {name: value for name, value in os.environ.items() if name not in ("WHEELS", "OUT", "DEVICE")}
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            ["bash", str(bench / script), *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHON": "./python", "LIMIT": "1000", **variables},
            capture_output=True,
            text=True,
        )
        return done, (tmp_path / "calls").read_text().splitlines()

    return call


def test_a_script_runs_its_module_with_absolute_folders(checkout, tmp_path):
    for part in ("train", "val"):
        (tmp_path / "pictures" / part).mkdir(parents=True)
    done, (call,) = checkout("gpu_bench.sh", "pictures", OUT="found", DEVICE="cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert call.startswith(f"checkout {tmp_path}/./python -m bench.gpu_bench --device cpu --out {tmp_path}/found ")
    assert f"--pictures {tmp_path}/pictures " in call
    seconds = int(call.rpartition(" ")[2])
    assert 900 < seconds <= 1000, "what is left of LIMIT"


def test_an_environment_is_made_of_wheels_once(checkout, tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "pytest-9.0.0-py3-none-any.whl").touch()
    done, (venv, install, check) = checkout("gpu_check.sh", "", "wheels")
    assert (done.returncode, done.stderr) == (0, "")
    assert venv.endswith("-m venv .venv-gpu")
    assert f"-m pip install --quiet --no-index --find-links {tmp_path}/wheels torch>=2." in install
    assert " hydra-core" in install
    assert install.endswith(" pytest"), "there is no wheel of xdist"
    assert f"{tmp_path}/checkout/.venv-gpu/bin/python -m bench.gpu_check --device cuda" in check
    done, calls = checkout("gpu_bench.sh", WHEELS="wheels")
    assert len(calls) == 1


def test_a_folder_without_pictures_is_refused(checkout, tmp_path):
    done, calls = checkout("gpu_check.sh", "nowhere")
    assert (done.returncode, calls) == (2, [])
    assert done.stderr == f"gpu_check: PICTURES must be a folder with train/ and val/, got {tmp_path}/nowhere\n"


def test_without_a_gpu_only_the_rehearsal_runs(monkeypatch, capsys):
    monkeypatch.setattr(hardware, "gpus", list)
    with pytest.raises(SystemExit) as end:
        gpu.main("gpu_check", gpu_check.checks, gpu.table, [])
    assert end.value.code == 2
    assert "device must be cpu where torch can use no GPU, got cuda" in capsys.readouterr().err


def test_the_table_is_printed_and_written(tmp_path, capsys):
    found = [Check(what="a", expected="b", found="c|d", holds=True), Check(what="e", expected="-", found="f")]
    arguments = ["--device", "cpu", "--out", str(tmp_path / "out")]
    assert gpu.main("gpu_check", lambda site: iter(found), gpu.table, arguments) == found
    text = (tmp_path / "out" / "gpu_check.md").read_text()
    assert "REHEARSAL on the processor" in text
    assert text.splitlines()[-2:] == ["| a | b | c/d | yes |", "| e | - | f | - |"]
    assert text in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "gpu_check.json").read_text())
    assert written["rows"][0] == {"what": "a", "expected": "b", "found": "c|d", "holds": True}


@pytest.fixture
def site(tmp_path) -> Site:
    """The rehearsal's."""
    return Site(device="cpu", data={"digits": gpu.REHEARSED}, data_dir=str(tmp_path / "data"), work=tmp_path / "work")


def test_checks_of_steps_hold_on_a_processor(site):
    found = [*gpu_steps.arithmetic(site), *gpu_steps.captured(site)]
    assert [(check.found, check.holds) for check in found] == [
        ("bfloat16 channels_last", True),
        ("counted on a GPU only", None),
        ("the same bits", True),
        ("the same bits", True),
    ]


def test_a_part_that_fails_hides_no_other(site, monkeypatch, capsys):
    def broken(site):
        raise RuntimeError("CUDA error:\nan illegal address")

    def late(site):
        yield Check(what="first", expected="-", found="-")
        replace(site, ends=0.0).seconds_left()

    monkeypatch.setattr(gpu_check, "sweeps", broken)
    monkeypatch.setattr(gpu_check, "resumed", late)
    for name in ("arithmetic", "captured"):
        monkeypatch.setattr(gpu_steps, name, lambda site: iter(()))
    monkeypatch.setattr(gpu_check, "suite", lambda site: iter([Check(what="last", expected="-", found="-")]))
    found = [(check.found, check.holds) for check in gpu_check.checks(site)]
    assert found == [
        ("RuntimeError: CUDA error: an illegal address", False),
        ("-", None),
        ("not done: no time was left", False),
        ("-", None),
    ]
    assert "Traceback" in capsys.readouterr().err


def test_a_whole_sweep_is_rehearsed(site):
    found = {check.what.partition(",")[0]: check for check in gpu_check.sweeps(site)}
    assert found["a sweep"].found == found["a sweep"].expected == "2 runs on cpu in fp32"
    assert found["shared and unshared runs"].found == "the same bits in all 2"
    assert found["top-1 less that of the same runs on the processor"].found == "+0.00 points (+0.00 to +0.00, n = 2)"
    assert all(check.holds is not False for check in found.values())


def test_runs_at_the_same_time_are_counted():
    def record(start: int, end: int):
        times = {"start": f"2026-01-01T00:00:{start:02}+00:00", "end": f"2026-01-01T00:00:{end:02}+00:00"}
        return replace(record_of(point(*TINY).config), **times)

    assert gpu_check.most_at_a_time([record(1, 5), record(5, 9), record(9, 9)]) == 1
    assert gpu_check.most_at_a_time([record(1, 5), record(2, 6), record(4, 5), record(5, 7)]) == 3


def test_the_largest_difference_of_a_weight(tmp_path):
    for name, value in (("a", 1.0), ("b", 1.25)):
        (tmp_path / name).mkdir()
        weights = {"conv1": torch.ones(3), "conv2": torch.tensor([0.5, value])}
        save_file(weights, tmp_path / name / "weights.safetensors")
    assert gpu_check.difference(tmp_path / "a", tmp_path / "a") == 0
    assert gpu_check.difference(tmp_path / "a", tmp_path / "b") == 0.25


def test_networks_an_hour_are_computed_from_seconds(site):
    task = gpu_ways.make_task(site, "digits", site.data["digits"])
    eager = Pace(seconds=36, images_per_second=1000, top1={0: 0.5, 1: 0.7}, basis="steps")
    ours = Pace(seconds=6, images_per_second=6000, top1={0: 0.6, 1: 0.7, 2: 0.9}, basis="in full")
    row = gpu_bench._row("ours", task, {gpu_bench.EAGER: eager, "ours": ours})
    assert (row.what, row.measured) == ("digits, 2 networks: ours", "6.00")
    assert row.detail == (
        "600 networks an hour; 216 (extrapolated) in 0.36 h; 6,000 images/s; mean top-1 73.33 % of 3 networks, "
        "+5.00 points beside eager torch (2 networks); in full"
    )
    assert gpu_bench._row(gpu_bench.EAGER, task, {gpu_bench.EAGER: eager}).measured == "-"


@pytest.mark.parametrize("way", [gpu_ways.eager, gpu_ways.together, gpu_ways.tutorial], ids=lambda way: way.__name__)
def test_ways_of_this_process_are_rehearsed(way, site):
    task = gpu_ways.make_task(site, "digits", site.data["digits"])
    assert (len({config.key for config in task.configs}), task.steps) == (2, 27)
    pace = way(site, task)
    assert pace.seconds > 0
    assert pace.images_per_second > 0
    assert list(pace.top1) == ([] if way is gpu_ways.tutorial else [0, 1])
    assert all(top1 > 0.15 for top1 in pace.top1.values()), "above chance"


def test_our_sweeps_are_rehearsed(site):
    task = gpu_ways.make_task(site, "digits", site.data["digits"])
    whole, part = gpu_ways.at_once(site, task), gpu_ways.one_at_a_time(site, task)
    assert sorted(whole.top1) == [0, 1]
    for pace in (whole, part):
        assert pace.seconds > task.images / pace.images_per_second / 2, "a run has a beginning and an end"


def test_the_service_for_shared_gpus_is_ended(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-cuda-mps-control"
    tool.write_text(f'#!/bin/sh\necho "$CUDA_MPS_PIPE_DIRECTORY $* $([ "$1" ] || cat)" >>{tmp_path}/calls\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with gpu.mps(tmp_path) as variables:
        assert (tmp_path / "calls").read_text() == f"{tmp_path}/mps -d \n"
    assert (tmp_path / "calls").read_text().splitlines()[1].split() == [f"{tmp_path}/mps", "quit"]
    assert all(Path(path).is_dir() for path in variables.values())
    tool.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(subprocess.CalledProcessError), gpu.mps(tmp_path):
        raise AssertionError("it is not there")
