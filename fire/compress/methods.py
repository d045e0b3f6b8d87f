"""From a trained network to quantised tensors."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fire.compress import deep_compression, rate
from fire.compress.parametrizations import finished, weighted_layers
from fire.compress.spec import CompressSpec
from fire.compress.tuning import Tuning, distilled, fine_tune
from fire.data.dataset import DataSet
from fire.errors import require, unknown
from fire.train.loop import Loop
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec
from fire.weights.quantised import Quantised

CODER_OF = {"deep_compression": "huffman", "entropy": "adaptive"}  # of each method's files


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What compression leads to: the levels of every tensor, in the order of the network's state dict.

    curve: the epochs of fine-loop. precision and kernels: what they computed in and with.
    """

    levels: dict[str, Quantised]
    curve: tuple[Epoch, ...]
    precision: str
    kernels: str


def compress(
    network: nn.Sequential,
    data: DataSet,
    spec: CompressSpec,
    *,
    train: TrainSpec,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Fitted:
    """Compress a trained and folded network, which is left as it is, fine-tuning on data.train.

    train says the batches, their augmentation and the precision; its optimizer is not used. The test set is not
    touched. On the CPU the same seed, threads and precision give the same levels, also if fine-tuning was killed and
    went on from its checkpoint, a file that is written after each epoch. Raises SpecError if the method is "none" or
    the network holds anything but convolutions and linear layers with biases; TrainingError if fine-tuning diverges,
    CheckpointError if it cannot go on from its checkpoint.
    """
    require(spec.method != "none", "compress.method", "deep_compression or entropy", spec.method)
    _check(network)
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what is left of a pruned layer needs no dropout
    names = list(network.state_dict())
    epochs = {"lr": spec.epochs, "final_lr": spec.final_epochs}
    loop = Loop(
        network,
        data,
        train,
        epochs=sum(epochs.values()),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        report=report,
    )
    loss = distilled(loop, spec.distillation)
    for prepare, setting in zip(_stages(spec), epochs, strict=True):
        tuning = prepare(loop, spec)
        lr = getattr(spec, setting)
        hint = f" of compression; lower compress.{setting}={lr:g}"
        fine_tune(loop, tuning, loss, epochs=epochs[setting], lr=lr, hint=hint)
    levels = {}
    for name, layer in weighted_layers(network).items():
        for part in ("weight", "bias"):
            levels[f"{name}.{part}"] = finished(layer, part)
    return Fitted(
        levels={name: levels[name] for name in names},
        curve=tuple(loop.curve),
        precision=loop.precision,
        kernels=loop.kernels,
    )


def _stages(spec: CompressSpec) -> tuple[Callable[[Loop, CompressSpec], Tuning], ...]:
    """What prepares the network for each of the two stages of a method."""
    match spec.method:
        case "deep_compression":
            return deep_compression.prune, deep_compression.share
        case "entropy":
            return rate.train_on_grid, rate.fix_integers
        case other:
            raise unknown("compress.method", other)


def _check(network: nn.Module) -> None:
    """Raise SpecError unless the network holds convolutions and linear layers with biases, and nothing else."""
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    require(not normalised, "network", "folded", "batch normalisation")
    known = [f"{name}.{part}" for name in weighted_layers(network) for part in ("weight", "bias")]
    others = sorted(set(network.state_dict()) ^ set(known))
    require(not others, "network", "of convolutions and linear layers with weight and bias only", others[:1])
