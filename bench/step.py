"""Training images/s of one network: plain torch against ours; and ours against the floor of its convolutions."""

import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from bench import plain
from bench.measure import Row, interleaved, median, ratio
from fire import model
from fire.arch import SqueezeNetSpec
from fire.cost import count
from fire.data import dataset
from fire.data.dataset import ImageSet
from fire.data.spec import DataSpec
from fire.machine import hardware, native
from fire.machine.accelerate import accelerate
from fire.machine.hardware import cores
from fire.machine.process import prepare_process
from fire.train.evaluation import autocast
from fire.train.spec import TrainSpec
from fire.train.training import train

BATCH = 128
SMALL = SqueezeNetSpec(version="small", classes=10, norm="batch", final_relu=False, dropout=0.0)
NETWORKS = {"squeezenet_small": SMALL, "squeezenet_narrow": replace(SMALL, base_e=32, incr_e=32, conv1=16)}
RECIPE = TrainSpec(epochs=1, batch_size=BATCH, optimizer="muon", lr=0.2, clip=1.0)  # as conf/train/quick.yaml
# Set before measuring, with AMX and without: images/s over plain torch's, and the step over its convolutions.
GOALS = {
    "squeezenet_small": ("4x with AMX, 2.6x without", "at most 2.2 with AMX, 1.25 without"),
    "squeezenet_narrow": ("5x with AMX, 3.2x without", "at most 3.0 with AMX, 1.5 without"),
}


def plain_rate(name: str, data: DataSpec, steps: int, data_dir: str) -> float:
    """Images a second of the plain loop with torch's default threads."""
    images = dataset.load(data, Path(data_dir))
    network = plain.SqueezeNet(NETWORKS[name], channels=data.channels)
    ours = count(NETWORKS[name], data.image_size, data.channels).parameters
    norms = sum(m.bias.numel() for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert sum(p.numel() for p in network.parameters()) - norms == ours, "another network"  # folding leaves the biases
    loader = plain.loader(images.train, BATCH, train=True)
    assert len(loader) > 0, f"fewer than {BATCH} training images"
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    plain.train_steps(network, batches, 0.1, 2)
    started = time.perf_counter()
    plain.train_steps(network, batches, 0.1, steps)
    return steps * BATCH / (time.perf_counter() - started)


def our_rate(name: str, data: DataSpec, steps: int, data_dir: str, threads: int) -> float:
    """Images a second of our training; making batches is part of a step, as in the plain loop."""
    device = prepare_process("cpu", threads)
    images = dataset.load(replace(data, limit=steps * BATCH), Path(data_dir))
    stored, labels, rows = images.validation.images, images.validation.labels, images.validation.rows
    images = replace(images, validation=ImageSet(stored, labels, rows[:BATCH]))
    network = model.build(NETWORKS[name], channels=data.channels)
    return train(network, images, RECIPE, seed=0, device=device).images_per_second


def workers(number: int) -> list[ProcessPoolExecutor]:
    """Processes that stay, so that torch is imported and its kernels are prepared."""
    return [ProcessPoolExecutor(1, mp_context=get_context("spawn")) for _ in range(number)]


def rows(name: str, data: DataSpec, rounds: int, floor_rounds: int, seconds: float, data_dir: str) -> list[Row]:
    """The rows of the table on one network and data set; each measurement takes about `seconds`."""
    (peer,), (whole,), single = workers(1), workers(1), workers(cores())
    speed = peer.submit(plain_rate, name, data, 3, data_dir).result()
    steps = max(4, round(seconds * speed / BATCH))

    def plain_() -> float:
        return peer.submit(plain_rate, name, data, steps, data_dir).result()

    def whole_() -> float:
        return whole.submit(our_rate, name, data, 3 * steps, data_dir, cores()).result()

    def single_() -> float:
        jobs = [worker.submit(our_rate, name, data, 2 * steps, data_dir, 1) for worker in single]
        return sum(job.result() for job in jobs)

    whole_(), single_()  # compiles the kernels, the first time
    rates = interleaved({"plain": plain_, "all threads": whole_, "a run a core": single_}, rounds)
    floors = interleaved({"floor": lambda: time_over_floor(name, data)}, floor_rounds)["floor"]
    for worker in (peer, whole, *single):
        worker.shutdown()
    parameters = count(NETWORKS[name], data.image_size, data.channels).parameters
    shown = name if data.channels == 1 else f"{name} in colour, {data.image_size} pixels"
    network = f"{shown}, {parameters:,} parameters"
    images = {key: median(values, "images/s") for key, values in rates.items()}
    rate_goal, floor_goal = GOALS[name]
    return [
        Row(
            what=f"training images/s, the recipe quick, {network}, a run a core",
            peer="plain torch: fp32, NCHW, DataLoader, default threads, SGD",
            goal=rate_goal,
            measured=ratio(rates["a run a core"], rates["plain"]),
            detail=f"{images['a run a core']} against {images['plain']}",
        ),
        Row(
            what=f"the same, {shown}, one run on all cores",
            peer="the same",
            goal="3.5x with AMX" if name == "squeezenet_small" else "-",
            measured=ratio(rates["all threads"], rates["plain"]),
            detail=images["all threads"],
        ),
        Row(
            what=f"{cores()} workers of one thread, {shown}",
            peer=f"one worker of {cores()} threads",
            goal="1.2x",
            measured=ratio(rates["a run a core"], rates["all threads"]),
        ),
        Row(
            what=f"step time with SGD, {shown}, one thread",
            peer="the sum of its convolutions' best times, by oneDNN's timing",
            goal=floor_goal,
            measured=f"{statistics.median(floors):.2f} ({min(floors):.2f} to {max(floors):.2f}, n = {floor_rounds})",
        ),
    ]


STEPS = 24


def time_over_floor(name: str, data: DataSpec) -> float:
    """The best step's time over the sum of the best times of its convolutions: other work only adds to times.

    Of two processes: while oneDNN tells of each of its calls, steps take longer. That one has the network as it is
    built, since our faster form computes some 1x1 convolutions as products of matrices, which oneDNN does not list.
    """
    ours, output = _output_of_steps(name, data, verbose=False), _output_of_steps(name, data, verbose=True)
    best: dict[str, float] = {}
    times: Counter[str] = Counter()
    for line in output.splitlines():
        if line.startswith("onednn_verbose") and ",exec," in line and ",convolution," in line:
            descriptor, _, milliseconds = line.partition("primitive,exec,")[2].rpartition(",")
            best[descriptor] = min(best.get(descriptor, float("inf")), float(milliseconds))
            times[descriptor] += 1
    (step,) = re.findall(r"^step ([\d.]+) ms", ours, re.MULTILINE)
    floor = sum(milliseconds * times[descriptor] / STEPS for descriptor, milliseconds in best.items())
    return float(step) / floor


def _output_of_steps(name: str, data: DataSpec, *, verbose: bool) -> str:
    """What steps of the network as it is, with oneDNN's lines, or of our faster form of it print."""
    form = "as built" if verbose else "faster"
    done = subprocess.run(
        [sys.executable, "-m", "bench.step", name, str(data.channels), str(data.image_size), form],
        env=os.environ | {"ONEDNN_VERBOSE": "profile_exec" if verbose else "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _steps_for_the_floor(name: str, channels: int, side: int, form: str) -> None:
    prepare_process("cpu", 1)
    network = model.build(NETWORKS[name], channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    faster = accelerate(network, native.fastest("cpu")) if form == "faster" else network
    device, precision = torch.device("cpu"), hardware.fastest_precision("cpu")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    images, labels = torch.randn(BATCH, channels, side, side), torch.arange(BATCH) % 10
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        with autocast(device, precision):
            logits = faster(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - started)
    print(f"\nstep {1000 * min(times):.3f} ms")


if __name__ == "__main__":
    _steps_for_the_floor(sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4])
