"""Jobs of SLURM: their script, submitit's local executor, and a real SLURM of two nodes on this machine."""

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from fire.errors import InputError
from fire.files import holder, locked
from sweep.config import Options
from sweep.engines.slurm import SlurmEngine
from sweep.engines.spec import SlurmSettings
from sweep.store import Store
from tests.clusters import facts
from tests.processes import wait_until
from tests.sweeping import ROOT, TINY, answered, finish, point, start

pytest.importorskip("submitit", reason="submitit is not installed (the extra slurm)")

SCRIPT = ROOT / "scripts" / "slurm-one-machine.sh"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "munged", "runuser")
EPOCHS = 6
SEEDS = (0, 1, 2, 3)
SWEEP = ("-m", *TINY, f"train.epochs={EPOCHS}", "seed=0,1,2,3")
KEYS = [point(*TINY, f"train.epochs={EPOCHS}", f"seed={seed}").key for seed in SEEDS]
SLOW = 300  # seconds for what takes twenty where nothing else runs


def why_not() -> str:
    missing = [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    if missing:
        return f"SLURM is not installed: {', '.join(missing)} (Debian: slurmctld, slurmd, slurm-client, munge)"
    return "" if os.geteuid() == 0 else "starting a SLURM needs root"


real = pytest.mark.skipif(bool(why_not()), reason=why_not() or "SLURM is there")


def script(tmp_path: Path, monkeypatch, settings: SlurmSettings, *, sbatch="", **options: object) -> str:
    """What sbatch gets, as lines. sbatch: what it does instead, in the shell."""
    programs = tmp_path / "bin"
    programs.mkdir()
    texts = {
        "srun": "",
        "squeue": "",
        "scancel": "",
        "sbatch": sbatch or f'cp "$1" {tmp_path}/script; echo Submitted batch job 7',
    }
    for name, text in texts.items():
        path = programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    engine = SlurmEngine(Options(results_dir=str(tmp_path / "results"), **options), 1000, settings)
    try:
        engine.hire()
        assert stat.S_IMODE(next((tmp_path / "results" / ".slurm").glob("sweep-*")).stat().st_mode) == 0o700, (
            "a key lies in it"
        )
    finally:
        engine.close()
    return (tmp_path / "script").read_text()


def flags(text: str) -> dict[str, str]:
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE)
    return {name: value.strip("'") for name, value in found}


def test_the_script_says_what_the_settings_say(tmp_path, monkeypatch):
    settings = SlurmSettings(
        partition="gpu",
        account="us",
        qos="high",
        time=600,
        gpus=2,
        memory=32,
        setup=["module load python", "export A=1"],
        parameters={"reservation": "mine"},
    )
    text = script(tmp_path, monkeypatch, settings, workers=16, runs_per_gpu=4, threads=3)
    expected = {
        "partition": "gpu",
        "account": "us",
        "qos": "high",
        "time": "600",
        "gpus-per-node": "2",
        "ntasks-per-node": "8",
        "cpus-per-task": "3",
        "mem": "32GB",
        "reservation": "mine",
        "requeue": "",
        "signal": "CONT@60",  # to which no process must react
        "array": "0-1%2",  # 16 workers, 8 in a job
        "nodes": "1",
    }
    assert {name: flags(text).get(name) for name in expected} == expected
    lines = text.splitlines()
    assert lines.index("module load python") < lines.index("export A=1") < lines.index(next(filter(is_srun, lines)))


def test_all_workers_may_run_at_a_time(tmp_path, monkeypatch):
    assert flags(script(tmp_path, monkeypatch, SlurmSettings(), workers=500))["array"] == "0-499%500"


def test_folders_of_launches_that_have_ended_are_removed(tmp_path, monkeypatch):
    results = tmp_path / "results"
    for name in ("ended", "under way"):
        (results / ".slurm" / name).mkdir(parents=True)
        (results / ".slurm" / name / ".lock").touch()
        os.utime(results / ".slurm" / name / ".lock", (0, 0))
    with locked(results / ".slurm" / "under way" / ".lock"):
        script(tmp_path, monkeypatch, SlurmSettings(), workers=1)  # no worker connects, so its output stays
    ours, kept = sorted(folder.name for folder in (results / ".slurm").iterdir())
    assert (ours.startswith("sweep-"), kept) == (True, "under way")


def test_what_slurm_refuses_is_said_in_its_words(tmp_path, monkeypatch):
    refuses = "echo sbatch: error: invalid partition specified: gpu >&2; exit 1"
    with pytest.raises(InputError, match=r"^SLURM refuses the jobs: .*invalid partition specified: gpu"):
        script(tmp_path, monkeypatch, SlurmSettings(partition="gpu"), sbatch=refuses, workers=1)


def is_srun(line: str) -> bool:
    return line.startswith("srun ")


def test_a_worker_on_a_processor_is_a_job_with_its_threads_and_no_key_is_on_a_command_line(tmp_path, monkeypatch):
    text = script(tmp_path, monkeypatch, SlurmSettings(), workers=3, threads=2)
    found = flags(text)
    assert (found["ntasks-per-node"], found["cpus-per-task"], found["array"]) == ("1", "2", "0-2%3")
    assert not {"partition", "account", "qos", "mem", "gpus-per-node"} & found.keys()
    (srun,) = filter(is_srun, text.splitlines())
    assert re.search(r"python\S* -u -m submitit.core._submit \S+/\.slurm/sweep-\w+$", srun)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hydra.launcher.executor=local"], "workers must be at least 1 with hydra/launcher=slurm, got 0"),
        (["hydra.launcher.time=0"], "hydra.launcher.time must be at least 1, got 0"),
        (
            ["hydra.launcher.leave=60", "hydra.launcher.time=1"],
            "leave must be below the job's 60 seconds, ",
        ),
        (["hydra.launcher.tme=5"], "hydra.launcher.tme must be one of"),
        (["workers=1"], "hydra/launcher must be local on a machine without SLURM's sbatch, got 'slurm'"),
    ],
)
def test_what_cannot_be_is_one_line(overrides, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    folders = (f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    code, _, err = answered(*SWEEP, "hydra/launcher=slurm", *folders, *overrides)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The sweep by the local launcher."""
    root = tmp_path_factory.mktemp("here")
    code, out, err = finish(start(*SWEEP, f"data_dir={root}/data", f"results_dir={root}/results"), SLOW)
    assert (code, err) == (0, ""), out
    return root


def test_submitits_local_executor(here, tmp_path):
    settings = ("hydra/launcher=slurm", "hydra.launcher.executor=local", "hydra.launcher.time=2", "workers=2")
    folders = (f"data_dir={here}/data", f"results_dir={tmp_path}")
    code, out, err = finish(start(*SWEEP, *settings, *folders), SLOW)
    assert (code, err) == (0, ""), out
    assert facts(tmp_path) == facts(here / "results")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*KEYS, "sweeps"])


def test_a_search_runs_in_jobs(here, tmp_path):
    space = ("arch.sr=0.25,0.5", "arch.bypass=none", "arch.incr_e=16", "arch.freq=2", "arch.pct_3x3=0.5")
    options = ("search.budget_runs=2", "search.first=[]", f"data_dir={here}/data", f"results_dir={tmp_path}")
    engine = ("hydra/launcher=slurm", "hydra.launcher.executor=local", "workers=1")
    code, out, err = finish(start("experiment=search", *TINY, *space, *options, *engine), SLOW)
    assert (code, err) == (0, ""), out
    assert "2 networks tried: " in out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A SLURM of the nodes n1 and n2; its folder."""
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SCRIPT, "start", folder], check=True, timeout=SLOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield folder
        subprocess.run([SCRIPT, "stop", folder], check=True, timeout=SLOW)


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def on_node(name: str) -> list[int]:
    """The processes of jobs on a node, and their slurmstepd."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"\0SLURMD_NODENAME={name}\0".encode() in b"\0" + path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def send(number: int, *pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture(scope="module")
def there(cluster, here, tmp_path_factory):
    """The sweep on two nodes: a job is requeued, then a node killed. Results and outcome."""
    results = tmp_path_factory.mktemp("slurm") / "results"
    settings = ("hydra/launcher=slurm", "hydra.launcher.time=30", "workers=2", f"data_dir={here}/data")
    process = start(*SWEEP, *settings, f"results_dir={results}")
    store = Store(results)

    def under_way() -> int:
        return sum(holder(store.folder(key) / ".lock") is not None for key in KEYS)

    try:
        assert wait_until(lambda: under_way() == 2, SLOW), "on two nodes"
        send(signal.SIGSTOP, *on_node("n2"))  # else its worker may end the sweep before the other one is back
        requeued = asked("squeue", "--noheader", "--array", "--nodelist=n1", "--format=%i")
        asked("scontrol", "requeue", requeued)
        assert wait_until(lambda: "PD" in asked("squeue", "--noheader", f"--jobs={requeued}", "--format=%t"), SLOW)
        asked("scontrol", "update", f"jobid={requeued}", "StartTime=now")
        assert wait_until(lambda: under_way() == 2, SLOW), "the requeued worker connects again"
        send(signal.SIGKILL, int((cluster / "n2.pid").read_text()), *on_node("n2"))
    finally:
        outcome = finish(process, SLOW)
    return results, outcome


@real
def test_a_requeued_job_and_a_killed_node_cost_no_run(there):
    results, (code, out, err) = there
    assert (code, err) == (0, ""), out
    assert re.search(r"once more seed=\d: its worker on \S+ had to leave, as its machine is needed", out), out
    assert re.search(r"once more seed=\d: its worker on \S+, process \d+, was lost", out), out
    assert [record.status for record in Store(results).records()] == ["finished"] * len(SEEDS)


@real
def test_records_and_weights_are_those_of_the_local_launcher(there, here):
    assert facts(there[0]) == facts(here / "results")


@real
def test_no_job_and_no_file_is_left(there):
    results = there[0]
    assert sorted(path.name for path in results.iterdir()) == sorted([*KEYS, "sweeps"])
    assert wait_until(lambda: asked("squeue", "--noheader", "--states=PENDING,RUNNING") == "", SLOW)


@real
def test_a_run_that_takes_longer_than_a_job_goes_on_in_the_next(cluster, here, tmp_path):
    """Jobs of a minute, which are left after 25 seconds; SLURM sends its own signal at once."""
    settings = ("hydra/launcher=slurm", "hydra.launcher.time=1", "hydra.launcher.leave=35", "workers=1")
    folders = (f"data_dir={here}/data", f"results_dir={tmp_path}")
    code, out, err = finish(start("-m", *TINY, "train.epochs=240", "seed=0", *settings, *folders), SLOW)
    assert (code, err) == (0, ""), out
    assert re.search(r"once more .*: its worker on \S+ had to leave, as its time is over", out), out
    (record,) = Store(tmp_path).records()
    assert (record.status, record.epochs) == ("finished", 240)
    epochs = re.findall(r" epoch (\d+): ", (tmp_path / record.key / "log").read_text())
    assert len(epochs) == len(set(epochs)), "no epoch is trained twice"


@pytest.mark.parametrize(("minutes", "leave", "seconds"), [(240, 0, 14280), (10, 0, 480), (1, 0, 48), (60, 300, 3300)])
def test_a_worker_leaves_before_its_job_ends(minutes, leave, seconds):
    assert SlurmSettings(time=minutes, leave=leave).life == seconds
