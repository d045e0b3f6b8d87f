"""From a trained network to quantised tensors."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fire.compress import deep_compression, rate
from fire.compress.finetune import FineTuning
from fire.compress.parametrizations import finished, weighted_layers
from fire.compress.spec import CompressSpec
from fire.data.dataset import DataSet
from fire.errors import require
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec
from fire.weights.quantised import Levels

CODER_OF = {"deep_compression": "huffman", "entropy": "range"}  # of each method's files


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What compression leads to: the levels of every tensor, in the order of the network's state dict.

    curve: the epochs of fine-tuning. precision and kernels: what they computed in and with.
    """

    levels: dict[str, Levels]
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
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    require(not normalised, "network", "folded", "batch normalisation")
    network = copy.deepcopy(network)
    names = list(network.state_dict())
    known = [f"{name}.{part}" for name in weighted_layers(network) for part in ("weight", "bias")]
    unknown = sorted(set(names) ^ set(known))
    require(not unknown, "network", "of convolutions and linear layers with weight and bias only", unknown[:1])
    tuning = FineTuning(network, data, spec, train, seed=seed, device=device, checkpoint=checkpoint, report=report)
    if spec.method == "deep_compression":
        deep_compression.prune(tuning, spec)
        deep_compression.share(tuning, spec)
    else:
        rate.train_on_grid(tuning, spec)
        rate.fix_integers(tuning, spec)
    levels = {}
    for name, layer in weighted_layers(network).items():
        for part in ("weight", "bias"):
            levels[f"{name}.{part}"] = finished(layer, part)
    return Fitted(
        levels={name: levels[name] for name in names},
        curve=tuple(tuning.curve),
        precision=tuning.precision,
        kernels=tuning.kernels,
    )
