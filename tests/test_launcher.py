"""Sweeps whose processes are killed: only the epoch under way is lost, and no process remains."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest
import torch
from safetensors.torch import load_file

import sweep.__main__
from fire.files import locked
from fire.machine import hardware
from sweep.config import Options
from sweep.engines.local import slots
from sweep.store import Store
from tests.processes import holder, session, wait_until
from tests.sweeping import ROOT, TINY, command, finish, point, start

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")

EPOCHS = 24  # enough that none ends before it is killed, even if it begins seconds before the other
LONG = (*TINY, f"train.epochs={EPOCHS}", "workers=2", "runs_per_gpu=2")  # both at a time, also on one GPU
KEYS = [point(*LONG, f"seed={seed}").key for seed in (0, 1)]
INTERRUPTED = "sweep: interrupted; the same command goes on from the last epochs\n"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


def launch(data_dir: Path, results: Path) -> subprocess.Popen[str]:
    return start("-m", *LONG, "seed=0,1", f"data_dir={data_dir}", f"results_dir={results}")


def epochs_done(results: Path) -> list[int]:
    paths = [results / key / "curve.csv" for key in KEYS]
    return [len(path.read_text().splitlines()) - 1 if path.exists() else 0 for path in paths]


def trained_epochs(results: Path, key: str) -> list[int]:
    """The epochs that the log tells of, one for each time that it was trained: seconds tell two times apart."""
    rows = re.findall(r" epoch (\d+): (.*)", (results / key / "log").read_text())
    return sorted(int(epoch) for epoch, _ in set(rows))


def kill_holder(results: Path, key: str, process: subprocess.Popen[str], epochs: int) -> None:
    """Kill the worker of a run once it has done this number of epochs."""
    assert wait_until(lambda: epochs_done(results)[KEYS.index(key)] >= epochs)
    os.kill(holder(results / key / ".lock", session(process.pid)), signal.SIGKILL)


@pytest.fixture(scope="module")
def one_killed(data_dir, tmp_path_factory):
    """A sweep of two runs of which the first had its process killed twice: results, exit code, output and error."""
    results = tmp_path_factory.mktemp("killed") / "results"
    process = launch(data_dir, results)
    try:
        kill_holder(results, KEYS[0], process, epochs=1)
        done = epochs_done(results)[0]
        kill_holder(results, KEYS[0], process, epochs=done + 1)
    finally:
        outcome = finish(process)
    return results, *outcome


def test_a_second_launch_trains_what_the_first_has_not_begun_and_names_the_rest(data_dir, tmp_path):
    with locked(tmp_path / point(*TINY).key / ".lock", patience=0):
        code, out, err = command("-m", *TINY, "seed=0,1", f"data_dir={data_dir}", f"results_dir={tmp_path}")
    holder = f"host {socket.gethostname()}, process {os.getpid()}"
    assert (code, err) == (75, f"sweep: 1 run is under way elsewhere: seed=0 ({holder})\n")
    assert f"elsewhere seed=0: under way on {holder}" in out
    assert "once more" not in out
    assert "failures" not in out
    assert "finished seed=1: " in out


def test_a_killed_worker_costs_its_run_only(one_killed):
    results, code, out, err = one_killed
    assert (code, err) == (1, "")
    assert re.search(r"once more seed=0: .*killed by SIGKILL", out)
    assert re.search(r"failed seed=0: .*killed by SIGKILL", out)
    store = Store(results)
    assert store.read(KEYS[0]) is None
    assert store.is_done(KEYS[1])
    assert KEYS[0] in out.partition("failures")[2]


def test_a_run_that_was_killed_once_goes_on_at_once(data_dir, tmp_path):
    results = tmp_path / "results"
    process = launch(data_dir, results)
    try:
        kill_holder(results, KEYS[1], process, epochs=2)
    finally:
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert re.search(r"once more seed=1: .*killed by SIGKILL", out)
    trained = trained_epochs(results, KEYS[1])
    assert trained == sorted(set(trained))  # none twice
    assert (results / KEYS[1] / "log").read_text().count(" start, ") == 2


def fork_server(process: subprocess.Popen[str]) -> int:
    """The process that workers are to be forked from, as soon as it is there: it has not imported torch yet."""
    found: set[int] = set()

    def appears() -> bool:
        for pid in session(process.pid):
            with contextlib.suppress(OSError):
                if "multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_text():
                    found.add(pid)
        return bool(found)

    assert wait_until(appears)
    return found.pop()


@pytest.fixture
def long_tmpdir(tmp_path, monkeypatch):
    """A TMPDIR below which no socket can have a name."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))


@pytest.mark.usefixtures("long_tmpdir")
@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, INTERRUPTED),
        (signal.SIGTERM, 130, INTERRUPTED),
        (signal.SIGKILL, 1, "sweep: the process that workers are forked from died; the same command goes on from the "),
    ],
)
def test_the_first_seconds_end_in_a_line_whatever_happens(number, code, message, data_dir, tmp_path):
    process = launch(data_dir, tmp_path / "results")
    try:
        server = fork_server(process)
        assert wait_until(lambda: "/torch/" in Path(f"/proc/{server}/maps").read_text()), "it imports torch"
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal sends Ctrl-C
        else:
            os.kill(process.pid if number == signal.SIGTERM else server, number)
    finally:
        outcome = finish(process)
    assert outcome[0] == code
    assert outcome[2].startswith(message)
    assert outcome[2].count("\n") == 1
    assert wait_until(lambda: not session(process.pid), seconds=20), "orphans"


def test_a_second_interrupt_at_the_exit_says_nothing():
    program = "import os, signal, sys; from sweep.commands import exits\n"
    program += "def interrupt(*_): os.kill(os.getpid(), signal.SIGINT)\n"
    program += "import atexit; atexit.register(interrupt)\n"
    program += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # jobs in a shell's background ignore it
    program += "exits.main('sweep', interrupt)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "sweep: interrupted\n")


def test_a_run_is_stopped_when_its_time_is_over_and_goes_on_later(data_dir, tmp_path):
    results = tmp_path / "results"
    arguments = ("-m", *LONG, f"data_dir={data_dir}", f"results_dir={results}")
    for seconds in (3, 6, 12, 24, 48):  # until a busy machine comes past the first epoch
        code, out, err = command(*arguments, "train.epochs=10000", f"timeout={seconds}")
        assert (code, err) == (1, "")
        if list(results.glob("*/checkpoint.pt")):
            break
    late = f"timeout={seconds} seconds are over"
    assert f"{late}); the next launch goes on from its last epoch" in out
    assert late in out.partition("failures")[2], "the table says it too"
    assert "once more" not in out
    assert list(Store(results).keys()) == []
    assert list(results.glob("*/checkpoint.pt"))


def test_a_run_out_of_memory_is_tried_twice(data_dir, tmp_path):
    # conv1's output of a batch has 34 GB, more than the processes may have addresses.
    vast = ("-m", *TINY, "arch.conv1=1048576", f"data_dir={data_dir}", f"results_dir={tmp_path / 'results'}")
    process = start(*vast)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (2**34, 2**34))
    code, out, err = finish(process)
    assert (code, err) == (1, "")
    assert "once more" in out, out
    (record,) = Store(tmp_path / "results").records()
    assert record.status == "failed"


@pytest.mark.parametrize(
    ("options", "visible", "expected"),
    [
        ({}, "", [None] * 3),
        ({"workers": 2}, "", [None] * 2),
        ({"threads": 2}, "", [None]),
        ({"threads": 2, "workers": 3}, "", [None] * 3),
        ({}, "0,2", ["0", "2"]),
        ({"runs_per_gpu": 3}, "0,2", ["0", "2", "0", "2", "0"]),  # five runs: no more places
        ({"runs_per_gpu": 3, "workers": 4}, "0,2", ["0", "2", "0", "2"]),
        ({"device": "cpu"}, "0,2", [None] * 3),
        ({"device": "cuda:1", "runs_per_gpu": 2}, "0,1", ["1", "1"]),
        ({"device": "cuda:1"}, "2,3", ["3"]),
        ({"workers": 10**12}, "", [None] * 5),
        ({"workers": 10**12, "runs_per_gpu": 10**12}, "0,2", ["0", "2", "0", "2", "0"]),
    ],
)
def test_places_for_runs(options, visible, expected, monkeypatch):
    monkeypatch.setattr(hardware, "cores", lambda: 3)
    monkeypatch.setattr(hardware, "gpus", lambda: [name for name in visible.split(",") if name])
    assert slots(Options(**options), runs=5) == expected


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_hydras_own_launchers_work_too(launcher, data_dir, tmp_path):
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    code, _, err = command(
        "-m",
        *TINY,
        "seed=0,1",
        f"hydra/launcher={launcher}",
        *options,
        f"data_dir={data_dir}",
        f"results_dir={tmp_path}",
    )
    assert code == 0, err
    assert all(record.status == "finished" for record in Store(tmp_path).records())
    assert len(list(Store(tmp_path).keys())) == 2


def test_hydras_own_launchers_can_send_the_task_to_other_processes():
    cloudpickle.register_pickle_by_value(sweep.__main__)  # as of python -m sweep, whose module others cannot import
    try:
        assert cloudpickle.dumps(sweep.__main__._task)
    finally:
        cloudpickle.unregister_pickle_by_value(sweep.__main__)


def test_a_stopped_sweep_leaves_no_process_and_goes_on(one_killed, data_dir, tmp_path):
    results = tmp_path / "results"
    codes = {signal.SIGINT: 130, signal.SIGTERM: 130, signal.SIGKILL: -signal.SIGKILL}
    for number, code in codes.items():
        before = epochs_done(results)
        process = launch(data_dir, results)
        try:
            assert wait_until(lambda before=before: all(map(int.__gt__, epochs_done(results), before)))
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # as a terminal sends Ctrl-C, to all
            else:
                os.kill(process.pid, number)  # to the launcher alone
        finally:
            outcome = finish(process)
        assert (outcome[0], outcome[2]) == (code, INTERRUPTED if code == 130 else "")
        assert wait_until(lambda leader=process.pid: not session(leader), seconds=20), "orphans"
        assert list(Store(results).keys()) == [], "no record of what has not ended"
        assert all((results / key / "checkpoint.pt").exists() for key in KEYS)

    assert finish(launch(data_dir, results))[0] == 0
    for key in KEYS:
        # An epoch can be in the checkpoint and not yet in the log when its process is killed; none is trained twice.
        trained = trained_epochs(results, key)
        assert trained == sorted(set(trained))
        assert trained[-1] == EPOCHS
        assert len(trained) >= EPOCHS - len(codes)
        assert (results / key / "log").read_text().count(" start, ") == len(codes) + 1
    resumed, whole = (load_file(folder / KEYS[1] / "weights.safetensors") for folder in (results, one_killed[0]))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole), "to the last bit"
