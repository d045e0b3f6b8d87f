"""Checks of single steps on a GPU, for bench.gpu_check: their arithmetic, their waits, and steps as graphs."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench import gpu, gpu_together
from bench.gpu import Check, Site
from fire import model
from fire.data import dataset
from fire.data.dataset import DataSet
from fire.machine.process import prepare_process
from fire.train.spec import TrainSpec
from fire.train.training import train
from sweep.config import RunConfig


class Convolutions(TorchDispatchMode):
    """The types and layouts that convolutions in training compute with, images first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and torch.is_grad_enabled():
            for tensor in args[:2]:
                is_last = tensor.is_contiguous(memory_format=torch.channels_last)
                self.found.add(f"{str(tensor.dtype).removeprefix('torch.')} {'channels_last' if is_last else 'NCHW'}")
        return func(*args, **(kwargs or {}))


def arithmetic(site: Site) -> Iterator[Check]:
    """What convolutions compute with, and how often a step waits for the GPU."""
    small = _small(site)
    with Convolutions() as convolutions:
        _train(small, batch_size=64)
    expected = {f"{'bfloat16' if small.precision == 'bf16' else 'float32'} channels_last"}
    found = ", ".join(sorted(convolutions.found))
    yield Check(
        what="convolutions in training", expected=", ".join(expected), found=found, holds=convolutions.found == expected
    )
    if site.rehearses:
        yield Check(what="waits of the host for a step", expected="0", found="counted on a GPU only")
        return
    steps = {size: len(small.data.train) // size for size in (64, 16)}
    counts = {size: waits(functools.partial(_train, small, batch_size=size)) for size in steps}
    each = (counts[16] - counts[64]) / (steps[16] - steps[64])
    # The loss is read once a second, too.
    yield Check(what="waits of the host for a step", expected="0", found=f"{each:.2f}", holds=each < 0.05)
    peak = f"{torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB"
    yield Check(what="peak GPU memory of tensors, narrow network, digits", expected="-", found=peak)


@dataclass(frozen=True, kw_only=True)
class Small:
    """A network and data that train within seconds, in this process."""

    config: RunConfig
    data: DataSet
    device: torch.device
    precision: str


def _small(site: Site) -> Small:
    config = site.compose([*gpu.REHEARSED, *gpu.NARROW, "train.epochs=1"])
    data = dataset.load(config.data, Path(site.data_dir))
    device = prepare_process(site.device, 1)
    return Small(config=config, data=data, device=device, precision="bf16" if site.rehearses else site.precision)


def _train(small: Small, batch_size: int) -> None:
    spec = replace(small.config.train, batch_size=batch_size, precision=small.precision)
    train(model.build(small.config.arch, 1), small.data, spec, seed=0, device=small.device)


def waits(work: Callable[[], None]) -> int:
    """How often the host waits for the GPU during the work."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def captured(site: Site) -> Iterator[Check]:
    """Steps as graphs beside plain ones, and networks trained together beside one by itself: bench/gpu_together.py."""
    small = _small(site)
    spec = replace(small.config.train, batch_size=32)
    resident = gpu_together.Resident.of(small.data, spec, small.device)

    def weights(ratios: Sequence[float], capture: bool) -> list[Tensor]:
        """Of the first of the networks with these squeeze ratios, when all are trained."""
        trainers = [_trainer(small, resident, spec, sr, capture) for sr in ratios]
        gpu_together.train(trainers, spec.epochs)
        gpu_together.losses(trainers)
        return [parameter.detach() for parameter in trainers[0].network.parameters()]

    alone = weights([0.5], capture=True)
    for what, others in (
        ("a captured step and a plain one, after an epoch", weights([0.5], capture=False)),
        ("a network trained beside four others and by itself", weights([0.5, 0.125, 0.25, 0.75, 1.0], capture=True)),
    ):
        largest = max(float((a - b).abs().max()) for a, b in zip(alone, others, strict=True))
        found = "the same bits" if largest == 0 else f"largest difference of a weight {largest:.2g}"
        yield Check(what=what, expected="the same bits, or less than 0.001", found=found, holds=largest < 1e-3)


def _trainer(
    small: Small, data: gpu_together.Resident, spec: TrainSpec, sr: float, capture: bool
) -> gpu_together.Trainer:
    network = model.build(replace(small.config.arch, sr=sr), 1)
    return gpu_together.Trainer(network, data, spec, seed=0, precision="fp32", capture=capture)
