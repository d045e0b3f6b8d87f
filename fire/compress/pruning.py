"""Which weights are pruned, and when."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fire.compress.parametrizations import Layer
from fire.errors import SpecError

# Han et al. 2015, table 4 (AlexNet), and Iandola et al. 2016, table 1 (SqueezeNet; the last layer is conv10 there).
# Of fire8.expand3x3 that table prints 33 %, but its count of parameters needs 30 %.
ALEXNET_DENSITIES = {
    "conv1": 0.84,
    "conv2": 0.38,
    "conv3": 0.35,
    "conv4": 0.37,
    "conv5": 0.37,
    "fc6": 0.09,
    "fc7": 0.09,
    "fc8": 0.25,
}
EXPAND3X3_DENSITY = 0.33
LAST_DENSITY = 0.20
OTHER_SQUEEZENET_DENSITIES = {
    "fire6.expand1x1": 0.5,
    "fire7.squeeze": 0.5,
    "fire8.expand1x1": 0.5,
    "fire8.expand3x3": 0.3,
    "fire9.squeeze": 0.5,
    "fire9.expand3x3": 0.3,
}


def published_densities(layers: Mapping[str, Layer]) -> dict[str, float]:
    """The part of each layer's weights that is kept, as published for AlexNet and SqueezeNet.

    A SqueezeNet with other Fire modules has the densities of the modules of these names.

    Raises SpecError for a network with linear layers that is not AlexNet.
    """
    if layers.keys() == ALEXNET_DENSITIES.keys():
        return dict(ALEXNET_DENSITIES)
    if any(isinstance(layer, nn.Linear) for layer in layers.values()):
        raise SpecError("compress.pruning must be sensitivity where no densities are published, got 'table'")
    densities = {name: EXPAND3X3_DENSITY if name.endswith("expand3x3") else 1.0 for name in layers}
    others = {name: part for name, part in OTHER_SQUEEZENET_DENSITIES.items() if name in layers}
    return densities | others | {list(layers)[-1]: LAST_DENSITY}


def sensitive_densities(
    weights: Mapping[str, Tensor], sensitivities: Mapping[str, float], density: float
) -> dict[str, float]:
    """The part of each layer's weights to keep, so that of all weights `density` is kept where pruning costs most.

    What pruning a weight costs is taken to be its square times the sensitivity of its layer: within a layer the
    smallest weights go first.
    """
    costs = {name: (weight.square() * sensitivities[name]).flatten() for name, weight in weights.items()}
    together = torch.cat(list(costs.values()))
    keep = max(1, round(density * len(together)))
    threshold = together.kthvalue(len(together) - keep + 1).values
    return {name: float((cost >= threshold).double().mean()) for name, cost in costs.items()}


def scheduled_density(final: float, progress: float) -> float:
    """The density at a point of the schedule, progress in [0, 1]: a cubic fall from 1 (Zhu and Gupta 2017)."""
    return final + (1 - final) * (1 - progress) ** 3


def survivors(weight: Tensor, mask: Tensor, density: float) -> Tensor:
    """The mask of the largest weights among those not pruned yet: exactly round(density * size), at least one."""
    keep = max(1, round(density * weight.numel()))
    magnitudes = torch.where(mask, weight.abs(), -1.0).flatten()
    kept = torch.zeros_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(keep).indices] = True
    return (kept.view(weight.shape) & mask).contiguous()
