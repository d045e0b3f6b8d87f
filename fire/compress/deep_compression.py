"""Deep Compression (Han et al. 2015): prune, share weights, tune the shared values."""

import numpy as np
import torch

from fire.compress.clustering import kmeans, nearest
from fire.compress.parametrizations import (
    Layer,
    Masked,
    Shared,
    parameter,
    parameters,
    parametrise,
    put_biases_on_grids,
    weighted_layers,
)
from fire.compress.pruning import published_densities, scheduled_density, sensitive_densities, survivors
from fire.compress.sensitivity import sensitivities
from fire.compress.spec import CompressSpec
from fire.compress.tuning import Tuning, groups
from fire.errors import unknown
from fire.train.loop import Loop

PRUNED_BY = 0.7  # of the stage: the rest of it retrains what is left
PRUNE_EVERY = 16  # steps


def prune(loop: Loop, spec: CompressSpec) -> Tuning:
    """Prune the weights, little by little, while the survivors are retrained; biases are kept."""
    layers = weighted_layers(loop.network)
    densities = _densities(loop, layers, spec)
    masked = {name: Masked(layer.weight) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrise(layer, "weight", masked[name])

    @torch.no_grad()
    def cut(step: int, steps: int) -> None:
        last = int(PRUNED_BY * (steps - 1))
        if step > last or (step % PRUNE_EVERY and step != last):
            return
        for name, layer in layers.items():
            density = scheduled_density(densities[name], step / last if last else 1.0)
            masked[name].mask = survivors(parameter(layer, "weight"), masked[name].mask, density)

    return Tuning(groups=groups(parameters(layers), spec.lr), before_step=cut)


def share(loop: Loop, spec: CompressSpec) -> Tuning:
    """Cluster each layer's surviving weights, then tune the centroids and the biases."""
    layers = weighted_layers(loop.network)
    for layer in layers.values():
        parametrise(layer, "weight", _shared(layer, spec))
    put_biases_on_grids(layers, spec.bias_bits)
    return Tuning(groups=groups(parameters(layers), spec.final_lr))


def _densities(loop: Loop, layers: dict[str, Layer], spec: CompressSpec) -> dict[str, float]:
    """The part of each layer's weights to keep."""
    match spec.pruning:
        case "table":
            return published_densities(layers)
        case "sensitivity":
            weights = {name: layer.weight.detach() for name, layer in layers.items()}
            costs = sensitivities(loop.faster, layers, loop.batches)
            return sensitive_densities(weights, costs, spec.density)
        case other:
            raise unknown("compress.pruning", other)


def _shared(layer: Layer, spec: CompressSpec) -> Shared:
    weight = layer.weight.detach()
    numbers = weight.cpu().numpy()
    alive = numbers != 0
    bits = spec.fc_bits if isinstance(layer, torch.nn.Linear) else spec.conv_bits
    centroids = kmeans(numbers[alive], 2**bits - 1)
    codes = np.where(alive, nearest(numbers, centroids) + 1, 0)
    codebook = np.concatenate([np.zeros(1, np.float32), centroids])
    return Shared(torch.from_numpy(codes).to(weight.device), torch.from_numpy(codebook).to(weight.device))
