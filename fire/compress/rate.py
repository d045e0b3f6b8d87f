"""Quantisation trained for few bits: a uniform grid a layer, and a price on the bits that an entropy coder needs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fire.compress.parametrizations import (
    Grid,
    Scaled,
    parameter,
    parameters,
    parametrise,
    put_biases_on_grids,
    weighted_layers,
)
from fire.compress.sensitivity import sensitivities
from fire.compress.spec import CompressSpec
from fire.compress.tuning import Tuning, groups
from fire.errors import TrainingError
from fire.train.loop import Loop

START_BITS = 2.0  # a weight, at first
STEP_LR = 0.02  # of the steps' logarithms, at the peak
COUNT_EVERY = 16  # steps of training between two counts of the integers
MOST_LEVELS = 2**20  # between the least and the greatest integer of a tensor
PRIOR = 0.5  # count of each integer before any is seen (Krichevsky and Trofimov 1981)


class CodeLengths:
    """Bits that an adaptive coder needs for each integer of a tensor, as a table over least - 1 .. greatest + 1."""

    def __init__(self, integers: Tensor) -> None:
        """Raises TrainingError if the integers are no longer those of a network that learns."""
        if not bool(integers.isfinite().all()) or int(integers.max() - integers.min()) > MOST_LEVELS:
            raise TrainingError("diverged: the weights have left their grid; lower compress.lr")
        self._least = int(integers.min()) - 1
        counts = torch.bincount((integers - self._least).flatten().long()).float()
        counts = torch.cat([counts, counts.new_zeros(1)]) + PRIOR
        self._bits = -(counts / counts.sum()).log2()

    def bits(self, positions: Tensor) -> Tensor:
        """Bits of each position on the grid: between two integers interpolated, so the gradient leads to the cheaper.

        Outside of the table the bits are those at its end.
        """
        below = (positions.detach().floor() - self._least).clamp(0, len(self._bits) - 2).nan_to_num()
        index = below.long()
        lower, upper = self._bits[index], self._bits[index + 1]
        return torch.lerp(lower, upper, (positions - self._least - below).clamp(0, 1))


def first_steps(weights: Mapping[str, Tensor], sensitivities: Mapping[str, float], bits: float) -> dict[str, Tensor]:
    """The step of each layer, with which all layers together need about `bits` bits a weight.

    Rounding to a step d costs d * d / 12 a weight times the sensitivity: with steps in proportion to the root of its
    inverse, a bit gains as much in every layer. Raises TrainingError for a layer that does not change the loss.
    """
    for name in weights:
        if sensitivities[name] == 0:
            raise TrainingError(f"{name} must have weights that change the loss, to be rounded by what that costs")
    relative = {name: sensitivities[name] ** -0.5 for name in weights}
    sizes = {name: float(weight.square().mean().sqrt()) / relative[name] for name, weight in weights.items()}
    factor = max(min(sizes.values()), max(sizes.values()) / 1000) / 8
    wanted = bits * sum(weight.numel() for weight in weights.values())
    while True:
        positions = {name: (weight / (factor * relative[name])).round() for name, weight in weights.items()}
        if sum(float(CodeLengths(integers).bits(integers).sum()) for integers in positions.values()) <= wanted:
            return {name: weight.new_tensor(factor * relative[name]) for name, weight in weights.items()}
        factor *= 1.1


def train_on_grid(loop: Loop, spec: CompressSpec) -> Tuning:
    """Train weights and steps for the loss plus the price of the bits."""
    layers = weighted_layers(loop.network)
    costs = sensitivities(loop.faster, layers, loop.batches)
    steps = first_steps({name: layer.weight.detach() for name, layer in layers.items()}, costs, START_BITS)
    grids = {name: Grid(step, learned=True) for name, step in steps.items()}
    for name, layer in layers.items():
        parametrise(layer, "weight", grids[name])
    lengths: dict[str, CodeLengths] = {}
    weights = sum(layer.weight.numel() for layer in layers.values())

    def positions(name: str) -> Tensor:
        return parameter(layers[name], "weight") / grids[name].log_step.exp()

    @torch.no_grad()
    def count(step: int, steps: int) -> None:
        if step % loop.steps % COUNT_EVERY == 0:  # also at the start of an epoch, which may follow a checkpoint
            for name in layers:
                lengths[name] = CodeLengths(positions(name).round())

    def price() -> Tensor:
        bits = torch.stack([lengths[name].bits(positions(name)).sum() for name in layers])
        return spec.rate * bits.sum() / weights

    log_steps = [grid.log_step for grid in grids.values()]
    return Tuning(
        groups=groups(parameters(layers), spec.lr) + groups(log_steps, STEP_LR, relative=False),
        before_step=count,
        penalty=price,
    )


def fix_integers(loop: Loop, spec: CompressSpec) -> Tuning:
    """Round the weights for good, then tune the steps and the biases."""
    layers = weighted_layers(loop.network)
    for layer in layers.values():
        step = layer.get_parameter("parametrizations.weight.0.log_step").detach().exp()
        integers = (parameter(layer, "weight").detach() / step).round()
        parametrise(layer, "weight", Scaled(integers, step))
    put_biases_on_grids(layers, spec.bias_bits)
    weights = [parameter(layer, "weight") for layer in layers.values()]
    biases = [parameter(layer, "bias") for layer in layers.values()]
    return Tuning(groups=groups(biases, spec.final_lr) + groups(weights, spec.final_lr, relative=False))
