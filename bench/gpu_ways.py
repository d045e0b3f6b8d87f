"""The ways of training several networks on one GPU that bench.gpu_bench compares, each timed by itself."""

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bench import gpu, gpu_together, plain
from bench.gpu import NARROW, Site, Swept, sweep
from fire import model
from fire.data import dataset
from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.machine.process import prepare_process
from fire.train import evaluation
from fire.train.evaluation import autocast
from sweep.config import RunConfig

RATIOS, PARTS_3X3 = (0.125, 0.25, 0.5, 0.75, 1.0), (0.25, 0.75)  # ten networks
LIMIT, EPOCHS = 6400, 3  # of runs whose time is extrapolated


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every way of training does: these networks with this recipe on these images.

    overrides: of the sweep of all of them. images: of training, for one network, over all epochs.
    """

    name: str
    overrides: Sequence[str]
    configs: Sequence[RunConfig]
    data: DataSet
    device: torch.device
    precision: str

    @property
    def batch(self) -> int:
        return self.configs[0].train.batch_size

    @property
    def steps(self) -> int:
        """Of a network, over all epochs."""
        return len(self.data.train) // self.batch * self.configs[0].train.epochs

    @property
    def images(self) -> int:
        return self.steps * self.batch

    @property
    def channels(self) -> int:
        return self.data.spec.channels


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast networks are trained in one way.

    seconds: of a network from its beginning to its end, others beside it taken into account. images_per_second: of all
    training steps together. top1: test accuracies, fractions of 1, by the network's number. basis: what was measured.
    """

    seconds: float
    images_per_second: float
    top1: Mapping[int, float] = field(default_factory=dict)
    basis: str


def make_task(site: Site, name: str, overrides: Sequence[str]) -> Task:
    """The networks and images of a data set; for the rehearsal two networks."""
    ratios, parts = ((0.25, 0.5), (0.25,)) if site.rehearses else (RATIOS, PARTS_3X3)
    grid = [f"arch.sr={','.join(map(str, ratios))}", f"arch.pct_3x3={','.join(map(str, parts))}"]
    first = site.compose([*overrides, *NARROW])
    archs = [replace(first.arch, sr=sr, pct_3x3=part) for sr, part in itertools.product(ratios, parts)]
    return Task(
        name=name,
        overrides=[*overrides, *NARROW, *grid],
        configs=[replace(first, arch=arch) for arch in archs],
        data=dataset.load(first.data, Path(site.data_dir)),
        device=prepare_process(site.device, 1),
        precision=site.precision,
    )


@contextlib.contextmanager
def as_torch_comes() -> Iterator[None]:
    """cuDNN's settings as torch has them by default: our runs need others."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    cudnn.deterministic, cudnn.conv.fp32_precision = False, "tf32"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.conv.fp32_precision = before  # type: ignore[attr-defined]


@as_torch_comes()
def tutorial(site: Site, task: Task) -> Pace:
    """One network after the other in plain torch as tutorials write it: fp32, NCHW, a DataLoader."""
    steps = 2 if site.rehearses else 40
    seconds = 0.0
    for config in task.configs:
        site.seconds_left()
        network = plain.SqueezeNet(config.arch, task.channels).to(task.device)
        pairs = itertools.chain.from_iterable(itertools.repeat(plain.loader(task.data.train, task.batch, train=True)))
        batches = ((images.to(task.device), labels.to(task.device)) for images, labels in pairs)
        plain.train_steps(network, batches, 0.1, 2)
        seconds += _timed(
            task, lambda network=network, batches=batches: plain.train_steps(network, batches, 0.1, steps)
        )
    return _extrapolated(task, seconds / len(task.configs) / steps, f"{steps} steps a network")


@as_torch_comes()
def eager(site: Site, task: Task) -> Pace:
    """One network after the other in plain torch: a loop of torch's own calls, with its defaults, on resident images.

    A part of the steps is timed; the first and the last network are then trained to the end, for their accuracies.
    """
    few = 4 if site.rehearses else 100
    seconds = 0.0
    for config in task.configs:
        site.seconds_left()
        steps = eager_steps(task, config, few + 10)
        for _ in range(10):
            next(steps)
        seconds += _timed(task, lambda steps=steps: list(itertools.islice(steps, few)))
    top1 = {}
    for number in sorted({0, len(task.configs) - 1}):
        site.seconds_left()
        *_, network = eager_steps(task, task.configs[number], task.steps)
        top1[number] = _top1(task, network)
    return replace(_extrapolated(task, seconds / len(task.configs) / few, f"{few} steps a network"), top1=top1)


def eager_steps(task: Task, config: RunConfig, steps: int) -> Iterator[nn.Module]:
    """Train a network of plain torch on images that lie on the device; gives it after each step."""
    spec, device = config.train, task.device
    resident = gpu_together.Resident.of(task.data, spec, device)
    torch.manual_seed(config.seed)
    network = plain.SqueezeNet(config.arch, task.channels)
    network = network.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer, schedule = plain.optimizer_and_schedule(network, spec.lr, steps)
    order = torch.randperm(len(resident.images), device=device)
    for step in range(steps):
        place = step % (len(order) // spec.batch_size) * spec.batch_size
        if place == 0:
            order = torch.randperm(len(order), device=device)
        rows = order[place : place + spec.batch_size]
        images = resident.images[rows]
        if resident.mirror:
            images = torch.where(torch.rand(len(rows), 1, 1, 1, device=device) < 0.5, images.flip(-1), images)
        optimizer.zero_grad()
        with autocast(device, task.precision):
            logits = network(resident.normalised(images))
        F.cross_entropy(logits.float(), resident.labels[rows]).backward()
        optimizer.step()
        schedule.step()
        yield network


def one_at_a_time(site: Site, task: Task) -> Pace:
    """Our sweep with one run at a time, of a part of the images."""
    chosen = [*task.overrides, f"train.epochs={EPOCHS}", f"data.limit={LIMIT}"]
    swept = sweep(site, f"{task.name}-one", chosen, 1)
    rate = statistics.harmonic_mean(swept.rates().values())
    networks = len(swept.records)
    beside = swept.seconds / networks - sum(map(swept.images, swept.records)) / networks / rate
    return Pace(
        seconds=beside + task.images / rate,
        images_per_second=rate,
        basis=f"extrapolated from {EPOCHS} epochs of at most {LIMIT:,} images, {beside:.1f} s beside the steps",
    )


def at_once(site: Site, task: Task) -> Pace:
    """Our sweep with a process for each network, all at once."""
    return _whole(task, sweep(site, f"{task.name}-all", task.overrides, len(task.configs)))


def at_once_by_mps(site: Site, task: Task) -> Pace:
    """The same, with NVIDIA's service that lets processes share the GPU at the same moment."""
    if site.rehearses:
        raise OSError("MPS is of GPUs only")
    with gpu.mps(site.work) as variables:
        name = f"{task.name}-mps"
        return _whole(task, sweep(site, name, task.overrides, len(task.configs), environment=variables))


def _whole(task: Task, swept: Swept) -> Pace:
    """Of a sweep of all images, whose runs were all under way together."""
    numbers = {config.arch: number for number, config in enumerate(task.configs)}
    top1 = {numbers[record.config.arch]: record.top1 for record in swept.records.values() if record.config}
    return Pace(
        seconds=swept.seconds / len(swept.records),
        images_per_second=sum(swept.rates().values()),
        top1={number: value for number, value in top1.items() if value is not None},
        basis="from launch to exit",
    )


def together(site: Site, task: Task) -> Pace:
    """One process that trains all networks at once: bench/gpu_together.py."""
    spec = task.configs[0].train
    started = time.perf_counter()
    resident = gpu_together.Resident.of(task.data, spec, task.device)
    trainers = []
    for config in task.configs:
        site.seconds_left()
        network = model.build(config.arch, task.channels, spec.init, config.seed)
        trainers.append(gpu_together.Trainer(network, resident, spec, seed=config.seed, precision=task.precision))
    training = _timed(task, lambda: gpu_together.train(trainers, spec.epochs, lambda losses: _stop_late(site)))
    top1 = {number: _top1(task, model.fold(trainer.network)) for number, trainer in enumerate(trainers)}
    seconds = time.perf_counter() - started
    beside = (seconds - training) / len(trainers)
    return Pace(
        seconds=seconds / len(trainers),
        images_per_second=len(trainers) * task.images / training,
        top1=top1,
        basis=f"in full, {beside:.1f} s a network beside the steps",
    )


def _stop_late(site: Site) -> None:
    site.seconds_left()


def _timed(task: Task, work: Callable[[], object]) -> float:
    """Seconds until all of it is done, on the device too."""
    wait = torch.cuda.synchronize if task.device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def _extrapolated(task: Task, seconds: float, basis: str) -> Pace:
    """From the seconds of a step, one network after the other."""
    whole = task.steps * seconds
    basis = f"extrapolated from {basis}, without evaluation"
    return Pace(seconds=whole, images_per_second=task.images / whole, basis=basis)


def _top1(task: Task, network: nn.Module) -> float:
    test = Batches(task.data.test, task.data, task.configs[0].train, task.device)
    return evaluation.evaluate(network, test, task.device).top1
