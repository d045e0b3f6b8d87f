"""What our own sweeps cost beside training: planning, a run's beginning and end, loading results."""

import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from analysis import index
from bench.measure import Row, interleaved, median
from bench.step import NETWORKS, SMALL
from bench.timed_worker import timed_work
from fire.cost import COSTS
from fire.data.spec import DataSpec
from fire.train.spec import TrainSpec
from sweep import forkserver
from sweep.config import Options, RunConfig
from sweep.record import Record, dump
from sweep.store import Store

PLAN = ("sweep", "-m", "arch.base_e=range(16,116)", "arch.sr=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0", "dry_run=true")
LOAD = """
import sys, time
from analysis.results import read
started = time.perf_counter()
runs = read(sys.argv[1]).runs
print(time.perf_counter() - started)
assert len(runs) == int(sys.argv[2])
"""


@dataclass(frozen=True, kw_only=True)
class _Absolute:
    """A row of the table, and what measures its seconds."""

    what: str
    goal: str
    measure: Callable[[], float]


def make_store(folder: Path, runs: int, first: int = 0) -> None:
    """A store of `runs` finished runs, each of a point of its own; `first` is the number of the first."""
    store = Store(folder)
    for i in range(first, first + runs):
        arch = replace(SMALL, base_e=16 + i % 100, sr=(1 + i // 100 % 100) / 100, pct_3x3=i // 10_000 % 10 / 10)
        config = RunConfig(arch=arch, data=DataSpec(), train=TrainSpec(epochs=3, lr=0.2), seed=i // 100_000)
        cost, share = config.cost, i / 1e6
        record = Record(
            key=config.key, status="finished", config=config, **{name: getattr(cost, name) for name in COSTS},
            top1=0.9 - share, top5=0.99, validation_top1=0.9 - share, validation_loss=0.3 + share, loss=0.3 + share,
            train_loss=0.2 + share, epochs=3, train_seconds=100 + share, images_per_second=1000 + share,
            images_skipped=0, weights_bytes=cost.size_bytes + 4000, precision="fp32", kernels="torch", threads=1,
            device="cpu", host="a processor, 2 cores", torch="2.14.1", git_commit="0" * 40, git_dirty=False,
            start=f"2026-01-01T00:{i // 60 % 60:02}:{i % 60:02}+00:00", end="2026-01-02T00:00:00+00:00",
        )  # fmt: skip
        folder_of_run = store.folder(record.key)
        folder_of_run.mkdir(parents=True)
        (folder_of_run / "record.json").write_text(dump(record))  # Store.write would sync each to disk


def load_seconds(folder: Path) -> float:
    """All records into a DataFrame, in a fresh process, imports not counted."""
    runs = len(Store(folder).stamps())
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(runs)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def first_load_seconds(folder: Path) -> float:
    """The same, of a folder that nobody has read."""
    (folder / index.NAME).unlink(missing_ok=True)
    return load_seconds(folder)


def next_load_seconds(folder: Path) -> float:
    """The same after ten more runs."""
    make_store(folder, 10, first=len(Store(folder).stamps()))
    return load_seconds(folder)


def launch_seconds(*arguments: str) -> float:
    """From launch to the end of python -m ARGUMENTS."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def run_seconds(data_dir: str) -> float:
    """What a run takes of a warm worker beside its training steps and its evaluations."""
    context = forkserver.context()
    beside = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(5):
            config = RunConfig(
                arch=NETWORKS["squeezenet_narrow"],
                data=DataSpec(limit=1280),
                train=TrainSpec(epochs=1, lr=0.1),
                seed=seed,
            )
            options = Options(threads=1, data_dir=data_dir, results_dir=folder)
            (progress, theirs), (ours, seconds) = context.Pipe(), context.Pipe()
            started = time.perf_counter()
            process = context.Process(target=timed_work, args=(config, options, theirs, seconds))
            process.start()
            theirs.close(), seconds.close()  # else a worker that dies would not be noticed
            process.join()
            beside.append(time.perf_counter() - started - ours.recv())
            progress.close()
    return statistics.median(beside[1:])  # the first one started the server


def rows(rounds: int, data_dir: str, records: tuple[int, ...]) -> list[Row]:
    """Absolute times, the only ones here; they stand beside their goals."""
    rows = [
        _Absolute(
            what="python -m sweep --help", goal="0.8 s", measure=functools.partial(launch_seconds, "sweep", "--help")
        ),
        _Absolute(
            what="planning a grid of 1,000 points, from launch to its table",
            goal="5 s",
            measure=functools.partial(launch_seconds, *PLAN),
        ),
        _Absolute(
            what="a run on a warm worker, beside its training steps and evaluations",
            goal="0.25 s",
            measure=functools.partial(run_seconds, data_dir),
        ),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for runs in records:
            folder = Path(temporary) / str(runs)
            make_store(folder, runs)
            goals = {10_000: ("2 s", "-", "2 s", "20 s"), 100_000: ("12 s", "1 s", "15 s", "120 s")}[runs]
            what = f"loading {runs:,} records into a DataFrame"
            report = ("analysis", str(folder), "--out", str(Path(temporary) / "report"))
            rows += [
                _Absolute(what=what, goal=goals[0], measure=functools.partial(first_load_seconds, folder)),
                _Absolute(
                    what=f"{what}, again after ten new runs",
                    goal=goals[1],
                    measure=functools.partial(next_load_seconds, folder),
                ),
                _Absolute(
                    what=f"python -m sweep.search best, of {runs:,} runs",
                    goal=goals[2],
                    measure=functools.partial(launch_seconds, "sweep.search", "best", str(folder)),
                ),
                _Absolute(
                    what=f"python -m analysis, of {runs:,} runs",
                    goal=goals[3],
                    measure=functools.partial(launch_seconds, *report),
                ),
            ]
        times = interleaved({row.what: row.measure for row in rows}, rounds)
    return [Row(what=row.what, peer="-", goal=row.goal, measured=median(times[row.what], "s")) for row in rows]
