"""Accuracy and loss of a network over a set of images."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fire.data.batches import Batches
from fire.errors import unknown
from fire.machine.accelerate import accelerate

BATCH = 250
PIXELS_AT_ONCE = 2**21  # of images that pass through the network together: 250 of 227 pixels would take 1.7 GB


class Scores(NamedTuple):
    """Accuracies as fractions of 1, and the mean cross-entropy in nats, over a set of images.

    constant_logits: the logits if they are the same for every image, as in a dead network; else None.
    """

    top1: float
    top5: float
    loss: float
    constant_logits: tuple[float, ...] | None = None


@torch.inference_mode()
def evaluate(network: nn.Module, batches: Batches, device: torch.device, precision: str = "fp32") -> Scores:
    """Scores of a network, which is left in evaluation mode, over all images of the batches."""
    network.eval()
    faster = accelerate(network, "torch")
    totals = torch.zeros(3, dtype=torch.float64, device=device)
    count = 0
    first: Tensor | None = None
    constant = True
    for images, labels in batches.in_order(BATCH):
        with autocast(device, precision):
            parts = images.split(max(1, PIXELS_AT_ONCE // images[0, 0].numel()))
            logits = torch.cat([faster(part) for part in parts]).float()
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        totals += torch.stack([best[:, 0].sum(), best.sum(), loss]).double()
        count += len(labels)
        first = logits[:1].clone() if first is None else first
        constant = constant and not bool((logits != first).any())
    top1, top5, mean_loss = (totals / count).tolist()
    if not constant or count == 1 or first is None:
        return Scores(top1, top5, mean_loss)
    return Scores(top1, top5, mean_loss, constant_logits=tuple(first[0].tolist()))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context of a forward pass: convolutions and linear layers compute in "bf16" or "fp32"."""
    match precision:
        case "fp32":
            return nullcontext()
        case "bf16":
            return torch.autocast(device.type, torch.bfloat16)
        case _:
            raise unknown("train.precision", precision)
