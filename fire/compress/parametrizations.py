"""Parametrisations that replace a weight while a network is compressed, so that the network's code stays as it is."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fire.weights.quantised import Quantised

Layer = nn.Conv2d | nn.Linear


def weighted_layers(network: nn.Module) -> dict[str, Layer]:
    """The convolutions and linear layers by name, in the network's order."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Layer)}


class Masked(nn.Module):
    """A pruned weight: what the mask (bool, of the weight's shape) leaves of it."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class Shared(nn.Module):
    """A weight of shared values: codebook (K,), looked up by codes (int64, of the weight's shape).

    The gradient of a value is the sum over the weights that share it. Code 0 is a pruned weight.
    """

    codes: Tensor
    learned: Tensor

    def __init__(self, codes: Tensor, codebook: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        learned = torch.ones_like(codebook)
        learned[0] = 0
        self.register_buffer("learned", learned)
        self._codebook = codebook

    def forward(self, codebook: Tensor) -> Tensor:
        return torch.take(codebook * self.learned, self.codes)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The codebook found for the weight becomes the parameter."""
        return self._codebook.clone()

    def quantised(self, codebook: Tensor) -> Quantised:
        """What the weight is made of."""
        return Quantised(integers=_int32(self.codes), values=(codebook * self.learned).cpu().numpy())


class Grid(nn.Module):
    """A weight on a uniform grid: the nearest multiple of the step, exp(log_step), of at most `most` steps.

    Rounding passes gradients straight through, also to the step (Esser et al. 2020: the rounding error is the
    derivative of a rounded weight with respect to its step).
    """

    def __init__(self, step: Tensor, learned: bool, most: float = math.inf) -> None:
        super().__init__()
        self.log_step = nn.Parameter(step.log(), requires_grad=learned)
        self.most = most

    def forward(self, weight: Tensor) -> Tensor:
        step = self.log_step.exp()
        positions = weight / step
        return (positions + (self._rounded(positions) - positions).detach()) * step

    def quantised(self, weight: Tensor) -> Quantised:
        """What the rounded weight is made of."""
        step = self.log_step.exp()
        return Quantised(integers=_int32(self._rounded(weight / step)), values=step.cpu().numpy())

    def _rounded(self, positions: Tensor) -> Tensor:
        return positions.round().clamp(-self.most, self.most)


class Scaled(nn.Module):
    """A weight whose integers (of its shape) are fixed; the parameter is the logarithm of their step."""

    integers: Tensor

    def __init__(self, integers: Tensor, step: Tensor) -> None:
        super().__init__()
        self.register_buffer("integers", integers)
        self._log_step = step.log()

    def forward(self, log_step: Tensor) -> Tensor:
        return self.integers * log_step.exp()

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The step's logarithm becomes the parameter."""
        return self._log_step.clone()

    def quantised(self, log_step: Tensor) -> Quantised:
        """What the weight is made of."""
        return Quantised(integers=_int32(self.integers), values=log_step.exp().cpu().numpy())


def parametrise(layer: Layer, name: str, by: nn.Module) -> None:
    """Have a tensor of the layer ("weight" or "bias") made by the module, in place of whatever made it before."""
    if parametrize.is_parametrized(layer, name):
        parametrize.remove_parametrizations(layer, name)
    parametrize.register_parametrization(layer, name, by)


def parameter(layer: Layer, name: str) -> nn.Parameter:
    """The parameter that the layer's "weight" or "bias" is made of."""
    if not parametrize.is_parametrized(layer, name):
        return layer.get_parameter(name)
    return layer.get_parameter(f"parametrizations.{name}.original")


def parameters(layers: dict[str, Layer]) -> list[nn.Parameter]:
    """The parameters of all weights and biases, in the order of the layers."""
    return [parameter(layer, name) for layer in layers.values() for name in ("weight", "bias")]


def put_biases_on_grids(layers: dict[str, Layer], bits: int) -> None:
    """Round the biases of each layer to a uniform grid from -largest to largest; they can still learn."""
    for layer in layers.values():
        largest = parameter(layer, "bias").detach().abs().max()
        most = 2 ** (bits - 1) - 1
        step = torch.where(largest > 0, largest, 1.0) / most
        parametrise(layer, "bias", Grid(step, learned=False, most=most))


@torch.no_grad()
def freeze(layer: Layer, name: str) -> Quantised:
    """The quantised "weight" or "bias" of the layer, in which it becomes a plain parameter again."""
    made_by = layer.get_submodule(f"parametrizations.{name}.0")
    assert isinstance(made_by, Shared | Grid | Scaled)
    quantised = made_by.quantised(parameter(layer, name))
    parametrize.remove_parametrizations(layer, name)
    return quantised


def _int32(integers: Tensor) -> NDArray[np.int32]:
    return integers.cpu().numpy().astype(np.int32)
