"""The squeeze-ratio sweep from launch to its last result, as whole commands: ours, Lightning with Hydra, Ray Tune."""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.measure import Row, interleaved, median, ratio
from sweep.store import Store

RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0)


@dataclass
class Command:
    """A sweep as a command, run in a fresh folder, with what came of each time: peak memory and accuracies."""

    name: str
    arguments: list[str]
    ours: bool = False
    peak_bytes: list[float] = field(default_factory=list)
    top1: list[list[float]] = field(default_factory=list)

    def seconds(self, seed: int | None = None) -> float:
        """From launch to exit. seed: by default another one each round, the same for all commands."""
        seed = len(self.top1) if seed is None else seed
        with tempfile.TemporaryDirectory() as folder:
            arguments = [argument.format(folder=folder, seed=seed) for argument in self.arguments]
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            peak = Peak(process.pid)
            _, errors = process.communicate()
            took = time.perf_counter() - started
            self.peak_bytes.append(peak.stop())
            if process.returncode != 0:
                raise RuntimeError(f"{self.name}: exit code {process.returncode}: {errors[-2000:]}")
            self.top1.append(our_scores(folder) if self.ours else peer_scores(folder))
        return took


class Peak(threading.Thread):
    """The largest sum of the memory of a process and its descendants, shared pages counted once (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._bytes = 0.0
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            total = 0
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            for process in family:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:  # it has ended meanwhile
                    continue
            self._bytes = max(self._bytes, total)

    def stop(self) -> float:
        """The peak in bytes."""
        self._ended.set()
        self.join()
        return self._bytes


def our_scores(folder: str) -> list[float]:
    """In the order of the squeeze ratios."""
    records = sorted(Store(f"{folder}/results").records(), key=lambda record: record.config.arch.sr)
    return [record.top1 for record in records if record.top1 is not None]


def peer_scores(folder: str) -> list[float]:
    """In the order of the squeeze ratios."""
    rows = [json.loads(line) for line in Path(f"{folder}/out").read_text().splitlines()]
    return [row["top1"] for row in sorted(rows, key=lambda row: float(row["sr"]))]


def ours(overrides: list[str], data_dir: str) -> list[str]:
    """Our sweep, with a recipe."""
    places = ["seed={seed}", f"data_dir={data_dir}", "results_dir={folder}/results"]
    return ["sweep", "experiment=sr", *overrides, *places]


def lightning(epochs: int, images: int, data_dir: str) -> list[str]:
    """The peer's sweep; images: 0 for all."""
    return [
        "bench.lightning_peer", "-m", f"sr={','.join(map(str, RATIOS))}", f"epochs={epochs}", f"images={images}",
        "seed={seed}", f"data_dir={Path(data_dir).resolve()}", "out={folder}/out", "hydra.sweep.dir={folder}/multirun",
    ]  # fmt: skip


def commands(epochs: int, images: int, data_dir: str) -> list[Command]:
    """The same configurations, epochs, seeds, SGD, peak learning rate and variance of initial weights for all.

    The peers' one-cycle schedule is torch's by default, as tutorials have it: it follows cosines and cycles the
    momentum, too, and all parameters decay. Ours is linear, keeps the momentum, and no bias or normalisation decays.
    """
    for_ray = [str(epochs), str(images), "{seed}", data_dir, "{folder}/out", *map(str, RATIOS)]
    recipe = [f"train.epochs={epochs}", "train.optimizer=sgd", "train.clip=0", f"data.limit={images}"]
    return [
        Command("ours", ours(recipe, data_dir), ours=True),
        Command("Lightning", lightning(epochs, images, data_dir)),
        Command("Ray Tune", ["bench.ray_peer", "plain", *for_ray]),
        Command("ours under Ray Tune", ["bench.ray_peer", "ours", *for_ray]),
    ]


GOALS = {
    "Lightning": ("Hydra multirun of Lightning", "5x"),
    "Ray Tune": ("Ray Tune, the plain loop, a trial a core", "3x"),
    "ours under Ray Tune": ("our own runs under Ray Tune, one a core", "not slower"),
}


def rows(rounds: int, epochs: int, images: int, data_dir: str) -> list[Row]:
    """A row a peer, and one for memory; a peer that is not installed is not measured."""
    what = f"SR sweep, {len(RATIOS)} points, {epochs} epochs of {images or 55_000:,} images, launch to last accuracy"
    own, *peers = commands(epochs, images, data_dir)
    able = [peer for peer in peers if _works(peer)]
    seconds = interleaved({each.name: each.seconds for each in [own, *able]}, rounds)
    found = []
    for peer in peers:
        name, goal = GOALS[peer.name]
        if peer not in able:
            found.append(Row(what=what, peer=name, goal=goal, measured="not measured", detail="cannot be imported"))
            continue
        times = f"{median(seconds['ours'], 's')} against {median(seconds[peer.name], 's')}"
        detail = f"{times}; {accuracies(own, peer)}"
        found.append(
            Row(what=what, peer=name, goal=goal, measured=ratio(seconds[peer.name], seconds["ours"]), detail=detail)
        )
    return [*found, _memory(own, peers[0], peers[0] in able)]


def _memory(own: Command, peer: Command, able: bool) -> Row:
    sizes = [[size / 2**20 for size in each.peak_bytes] for each in (own, peer)]
    return Row(
        what="peak memory of that sweep, all processes (PSS)",
        peer=GOALS[peer.name][0],
        goal="0.8",
        measured=ratio(*sizes) if able else "not measured",
        detail=" against ".join(median(each, "MiB") for each in sizes) if able else "cannot be imported",
    )


def accuracies(own: Command, peer: Command) -> str:
    """The mean difference of the test accuracies of all rounds and points, in points, and its standard error."""
    rounds = zip(own.top1, peer.top1, strict=True)
    differences = [100 * (a - b) for us, them in rounds for a, b in zip(us, them, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"top-1 {statistics.mean(differences):+.2f} points (standard error {error:.2f}, n = {len(differences)})"


def _works(peer: Command) -> bool:
    """Whether the peer's module can be imported, by a process of its own."""
    return subprocess.run([sys.executable, "-c", f"import {peer.arguments[0]}"], capture_output=True).returncode == 0
