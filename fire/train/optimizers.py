"""What moves the weights: SGD with momentum, Muon for convolutions, and their schedule."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fire.errors import unknown
from fire.train.eager import SGD, Eager
from fire.train.spec import TrainSpec


class ConvMuon(Eager, torch.optim.Muon):
    """Muon (Jordan et al. 2024) for convolutions, each a matrix of (outputs, kernel * kernel * inputs) to it."""

    def __init__(self, weights: Sequence[Tensor], **options: Any) -> None:
        self._weights = weights
        self._matrices = [nn.Parameter(_matrix(weight.data)) for weight in weights]  # in the weights' own memory
        super().__init__(self._matrices, **options)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights along the gradients that are on them."""
        for weight, matrix in zip(self._weights, self._matrices, strict=True):
            assert weight.grad is not None
            matrix.grad = _matrix(weight.grad)
        super().step(closure)  # type: ignore[no-untyped-call]
        super().zero_grad()


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
