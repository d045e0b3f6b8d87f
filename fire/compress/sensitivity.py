"""How much the loss depends on each layer's weights."""

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from fire.compress.parametrizations import Layer
from fire.data.batches import Batches

IMAGES = 1024
LEAST = 1e-6  # of the greatest sensitivity: that of a layer whose weights get no gradient at all
BATCH = 8  # the larger a batch, the less the square of its mean gradient is that of single images


def sensitivities(network: nn.Module, layers: Mapping[str, Layer], batches: Batches) -> dict[str, float]:
    """The mean squared gradient of each layer's weights, over the first images of the batches.

    It is the mean of the empirical Fisher information's diagonal, up to a factor that all layers share: a change d of
    a weight costs about d * d times it (LeCun et al. 1990, with the Fisher information for the Hessian).
    """
    network.eval()
    totals = dict.fromkeys(layers, 0.0)
    for images, labels in itertools.islice(batches.in_order(BATCH), IMAGES // BATCH):
        network.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, [layer.weight for layer in layers.values()])
        for name, gradient in zip(layers, gradients, strict=True):
            totals[name] += float(gradient.square().mean())
    floor = LEAST * max(totals.values())
    return {name: max(total, floor) for name, total in totals.items()}
