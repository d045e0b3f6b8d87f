"""From a trained network to quantised tensors."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fire.compress import deep_compression, rate
from fire.compress.parametrizations import freeze, weighted_layers
from fire.compress.spec import CompressSpec
from fire.compress.tuning import Tuning, distilled, fine_tune
from fire.data.dataset import DataSet
from fire.errors import require, unknown
from fire.train.loop import Loop
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec
from fire.weights.quantised import Floats, Quantised

CODER_OF = {"deep_compression": "huffman", "entropy": "adaptive"}  # by method, where compress.coder is "auto"


@dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedNetwork:
    """A compressed network's tensors, in the order of its state dict, and how they came about.

    tensors: quantised those of layers, others as trained. curve: the epochs of fine-tuning. precision and kernels:
    what they were computed in and with.
    """

    tensors: dict[str, Quantised | Floats]
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
) -> QuantisedNetwork:
    """Compress a trained and folded network, which is left as it is, fine-tuning on data.train.

    train gives the batches, their augmentation, the loss and the precision; its optimizer is not used. The test set is
    not touched.

    On one kind of processor, the same seed, threads, precision and kernels give the same tensors, also if fine-tuning
    was killed and resumed from its checkpoint, a file that is written after each epoch. Raises SpecError if the method
    is "none", or if the network is not folded or has a layer without bias; TrainingError if fine-tuning diverges;
    CheckpointError if it cannot resume from its checkpoint.
    """
    require(spec.method != "none", "compress.method", "deep_compression or entropy", spec.method)
    _check(network)
    network = copy.deepcopy(network)
    names = list(network.state_dict())
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # what is left of a pruned layer needs no dropout
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
    layers = weighted_layers(network)
    quantised = {f"{name}.{part}": freeze(layer, part) for name, layer in layers.items() for part in ("weight", "bias")}
    values = {name: held.cpu().numpy() for name, held in network.state_dict().items()}
    return QuantisedNetwork(
        tensors={name: quantised.get(name, values[name]) for name in names},
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
    """Raise SpecError if the network is not folded, or has a layer without bias."""
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    require(not normalised, "network", "folded", "batch normalisation")
    bare = [name for name, layer in weighted_layers(network).items() if layer.bias is None]
    require(not bare, "network", "of layers with weight and bias", bare[:1])


def coder_of(spec: CompressSpec) -> str:
    """The coder of the compressed network's file, one of fire.weights.integers.CODERS."""
    return CODER_OF[spec.method] if spec.coder == "auto" else spec.coder
