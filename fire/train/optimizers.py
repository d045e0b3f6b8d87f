"""What moves the weights: SGD with momentum, Muon for convolutions, and their schedule."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fire.errors import unknown
from fire.train.eager import SGD, Eager
from fire.train.spec import TrainSpec


class ConvMuon(Eager, torch.optim.Muon):
    """Muon (Jordan et al. 2024) for convolutions, each a matrix of (outputs, kernel * kernel * inputs) to it.

    torch's optimizer takes the matrices one by one, in bf16; here those of like size are orthogonalised together.
    """

    def __init__(self, weights: Sequence[Tensor], **options: Any) -> None:
        self._weights = weights
        self._matrices = [nn.Parameter(_matrix(weight.data)) for weight in weights]  # in the weights' own memory
        super().__init__(self._matrices, **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights along the gradients that are on them."""
        (group,) = self.param_groups
        updates = []
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            assert weight.grad is not None
            gradient, state = _matrix(weight.grad), self.state[matrix]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            updates.append(gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum)
        for matrix, update in zip(self._matrices, orthogonal(updates), strict=True):
            outputs, inputs = matrix.shape
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(update, alpha=-group["lr"] * max(1, outputs / inputs) ** 0.5)


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """What Muon makes of each matrix, in its own shape: the same singular vectors, the singular values all near 1.

    Muon's five steps x <- (a + b xx' + c (xx')^2) x, from norm 1, multiply x from the left by polynomials in xx'. So
    the product of the five is computed, of squares as large as the shorter side, and x is multiplied by it once.
    Squares whose sides round up to the same power of two are one batch, padded with zeros.
    """
    wide = [matrix if len(matrix) <= matrix.shape[1] else matrix.T for matrix in matrices]
    found = list(matrices)
    batches: dict[int, list[int]] = defaultdict(list)
    for place, matrix in enumerate(wide):
        batches[(len(matrix) - 1).bit_length()].append(place)
    for places in batches.values():
        side = max(len(wide[place]) for place in places)
        squares = wide[0].new_zeros(len(places), side, side)
        for square, place in zip(squares, places, strict=True):
            rows = len(wide[place])
            square[:rows, :rows] = wide[place] @ wide[place].T
        norms = squares.diagonal(dim1=1, dim2=2).sum(1).sqrt().clamp(min=1e-7)[:, None, None]
        factors = _five_steps(squares / norms**2) / norms
        for factor, place in zip(factors, places, strict=True):
            rows = len(wide[place])
            moved = factor[:rows, :rows] @ wide[place]
            found[place] = moved if wide[place] is matrices[place] else moved.T
    return found


def _five_steps(squares: Tensor) -> Tensor:
    """The product of Muon's five factors a + b xx' + c (xx')^2, from xx' of x before the first. (N, side, side)"""
    product = factor = _factor(squares)
    for _ in range(4):
        squares = factor @ squares @ factor
        factor = _factor(squares)
        product = factor @ product
    return product


def _factor(squares: Tensor) -> Tensor:
    """One factor of each square: a, b and c are Muon's (Jordan et al. 2024). (N, side, side)"""
    factor = torch.baddbmm(squares, squares, squares, beta=-4.7750, alpha=2.0315)
    factor.diagonal(dim1=1, dim2=2).add_(3.4445)
    return factor


def _matrix(weight: Tensor) -> Tensor:
    if weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(len(weight), -1)


def build_optimizers(network: nn.Module, spec: TrainSpec) -> list[Optimizer]:
    """The optimizers of a recipe, which together move all parameters, with their learning rates at the peak.

    Muon takes the convolutions, but not the last layer, nor linear ones: their matrices are too large for it.
    """
    with_muon: list[Tensor] = []
    match spec.optimizer:
        case "sgd":
            pass
        case "muon":
            layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
            with_muon = [layer.weight for layer in layers[:-1] if isinstance(layer, nn.Conv2d)]
        case other:
            raise unknown("train.optimizer", other)
    chosen = {id(weight) for weight in with_muon}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    # Biases and normalisation have one dimension; decaying them only holds back the fit.
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizers: list[Optimizer] = [SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)]
    if with_muon:
        optimizers.append(
            ConvMuon(
                with_muon,
                lr=spec.muon_lr,
                weight_decay=spec.muon_weight_decay,
                momentum=spec.momentum,
                nesterov=spec.nesterov,
            )
        )
    return optimizers


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """The learning rate of one of `steps` steps, counted from 0; Muon's is at all times in proportion to it."""
    match spec.schedule:
        case "linear":
            return spec.lr * (1 - step / steps)
        case "onecycle":
            peak = spec.warmup * steps
            return spec.lr * ((step + 1) / (peak + 1) if step < peak else (steps - step) / (steps - peak))
        case other:
            raise unknown("train.schedule", other)
