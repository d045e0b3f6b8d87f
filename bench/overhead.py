"""What our own sweeps cost beside training: planning, a run's beginning and end, loading results."""

import dataclasses
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.measure import Row, interleaved, median
from bench.step import NETWORKS, SMALL
from fire.cost import count
from fire.data.spec import DataSpec
from fire.train import evaluation
from fire.train.spec import TrainSpec
from sweep.config import Options, RunConfig
from sweep.run import run
from sweep.store import Record, Store

PLAN = ("-m", "arch.base_e=range(16,116)", "arch.sr=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0", "dry_run=true")
LOAD = """
import sys, time
from analysis.results import read
started = time.perf_counter()
assert len(read(sys.argv[1]).runs) == int(sys.argv[2])
print(time.perf_counter() - started)
"""


def plan_seconds() -> float:
    """From launch to the table of 1,000 points: composed, validated, costed, keyed, looked up."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sweep", *PLAN], check=True, capture_output=True)
    return time.perf_counter() - started


def make_store(folder: Path, runs: int) -> None:
    """A store of `runs` finished runs."""
    cost = count(SMALL, 28, 1)
    store = Store(folder)
    for i in range(runs):
        record = Record(
            key=f"{i:016x}", status="finished", arch={"family": "squeezenet", **dataclasses.asdict(SMALL)},
            data={"name": "fashion_mnist", "classes": 10}, train={"epochs": 3, "lr": 0.2}, seed=i,
            parameters=cost.parameters, macs=cost.macs, activations=cost.activations, size_bytes=cost.size_bytes,
            top1=0.9, top5=0.99, validation_top1=0.9, loss=0.3, epochs=3, train_seconds=1.0,
        )  # fmt: skip
        folder_of_run = store.folder(record.key)
        folder_of_run.mkdir(parents=True)
        # As Store.write does, without its syncing to disk.
        (folder_of_run / "record.json").write_text(json.dumps(dataclasses.asdict(record)))


def load_seconds(folder: Path, runs: int) -> float:
    """All records into a DataFrame, in a fresh process, imports not counted."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(runs)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def run_seconds(data_dir: str) -> float:
    """What a run takes of a warm worker beside its training steps and its evaluations."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.__main__", "sweep.preloaded"])  # as sweep/forkserver.py does
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
            ours, theirs = context.Pipe()
            started = time.perf_counter()
            process = context.Process(target=_timed_run, args=(config, options, theirs))
            process.start()
            process.join()
            beside.append(time.perf_counter() - started - ours.recv())
    return statistics.median(beside[1:])  # the first one started the server


def _timed_run(config: RunConfig, options: Options, connection: Connection) -> None:
    """Send how long its training steps and its evaluations took."""
    evaluating = 0.0
    evaluate = evaluation.evaluate

    def timed(*arguments: Any) -> Any:
        nonlocal evaluating
        started = time.perf_counter()
        scores = evaluate(*arguments)
        evaluating += time.perf_counter() - started
        return scores

    evaluation.evaluate = timed
    record = run(config, options)
    assert record.train_seconds is not None, record.error
    connection.send(evaluating + record.train_seconds)


def rows(rounds: int, data_dir: str, records: tuple[int, ...]) -> list[Row]:
    """Absolute times, the only ones here; they stand beside their goals."""
    measurements: dict[str, Callable[[], float]] = {"plan": plan_seconds, "run": lambda: run_seconds(data_dir)}
    goals = {10_000: "2 s", 100_000: "15 s"}
    with tempfile.TemporaryDirectory() as folder:
        for runs in records:
            make_store(Path(folder) / str(runs), runs)
            measurements[str(runs)] = lambda runs=runs: load_seconds(Path(folder) / str(runs), runs)
        times = interleaved(measurements, rounds)
    found = [
        Row(
            what="planning a grid of 1,000 points, from launch to its table",
            peer="-",
            goal="5 s",
            measured=median(times["plan"], "s"),
        ),
        Row(
            what="a run on a warm worker, beside its training steps and evaluations",
            peer="-",
            goal="0.3 s",
            measured=median(times["run"], "s"),
        ),
    ]
    for runs in records:
        what = f"loading {runs:,} records into a DataFrame"
        found.append(Row(what=what, peer="-", goal=goals[runs], measured=median(times[str(runs)], "s")))
    return found
