"""What moves the weights: SGD with momentum, and Muon for convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fire.train.spec import TrainSpec


class ConvMuon(torch.optim.Muon):
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
    """The optimizers of a recipe, which together move all parameters; "initial_lr" of a group is that of the peak.

    Muon takes the convolutions, but not the last layer, nor linear ones: their matrices are too large for it.
    """
    parameters = list(network.parameters())
    with_muon: list[Tensor] = []
    if spec.optimizer == "muon":
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        with_muon = [layer.weight for layer in layers[:-1] if isinstance(layer, nn.Conv2d)]
    chosen = {id(weight) for weight in with_muon}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    # Biases and normalisation have one dimension; decaying them only holds back the fit.
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)
    optimizers: list[Optimizer] = [sgd]
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
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["initial_lr"] = group["lr"]
    return optimizers
