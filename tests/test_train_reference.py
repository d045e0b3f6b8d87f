"""Three steps of training against plain torch: its optimizers, its clipping, and a schedule written by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from fire.arch import SqueezeNetSpec
from fire.model import build
from fire.train.loop import Loop
from fire.train.spec import TrainSpec
from fire.train.training import train

ARCH = SqueezeNetSpec(
    version="small",
    base_e=16,
    incr_e=8,
    conv1=8,
    sr=0.5,
    fires=2,
    norm="batch",
    classes=10,
    final_relu=False,
    dropout=0,
)
# No two settings are alike, and all are large enough for three steps to show them.
SPEC = TrainSpec(
    epochs=1,
    batch_size=8,
    lr=0.3,
    warmup=1 / 3,
    momentum=0.8,
    weight_decay=0.05,
    clip=0.25,
    label_smoothing=0.1,
    precision="fp32",
    kernels="torch",
)
MUON = replace(SPEC, optimizer="muon", muon_lr=0.04, muon_weight_decay=0.2)
# One cycle of three steps, of which a third go up (TrainSpec.schedule): 0 is a step before the first, and a step after
# the last.
PARTS_OF_PEAK = (0.5, 1.0, 0.5)

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def trained(monkeypatch, data_set_of, cpu) -> Callable[[TrainSpec], tuple[nn.Module, list[Batch]]]:
    """The network that a recipe trains, and the batches of its steps."""
    images = np.random.default_rng(0).integers(256, size=(24, 3, 16, 16), dtype=np.uint8)
    data = data_set_of(images, np.arange(24) % 10, mean=128.0, std=70.0)
    product = Loop.cross_entropy

    def go(spec: TrainSpec) -> tuple[nn.Module, list[Batch]]:
        batches: list[Batch] = []

        def recorded(self: Loop, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
            batches.append((images.clone(), labels.clone()))
            return product(self, logits, images, labels)

        monkeypatch.setattr(Loop, "cross_entropy", recorded)
        return train(build(ARCH), data, spec, seed=0, device=cpu).network, batches

    return go


def decay_groups(parameters: Sequence[nn.Parameter]) -> list[dict[str, object]]:
    """Weights decay; biases and what normalises do not."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


def repeat(network: nn.Module, batches: Sequence[Batch], optimizers: Sequence[tuple[Optimizer, float]]) -> None:
    """Train on the batches. optimizers: each with its learning rate at the peak."""
    network.train()
    for (images, labels), part in zip(batches, PARTS_OF_PEAK, strict=True):
        loss = F.cross_entropy(network(images), labels, label_smoothing=0.1)
        network.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 0.25)
        assert norm > 0.3, "the gradients are scaled down"
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = part * peak
            optimizer.step()


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    """The same weights and statistics within rounding, which is little beside what training did to each tensor."""
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=1e-4, atol=1e-5)
    initial = build(ARCH).state_dict()
    for name, found in ours.state_dict().items():
        moved, apart = (found - initial[name]).abs().max(), (found - theirs.state_dict()[name]).abs().max()
        assert apart < 0.01 * moved, name


def test_sgd_is_torchs(trained):
    ours, batches = trained(SPEC)
    theirs = build(ARCH)
    sgd = torch.optim.SGD(decay_groups(list(theirs.parameters())), lr=0.3, momentum=0.8, nesterov=True)
    repeat(theirs, batches, [(sgd, 0.3)])
    assert_same(ours, theirs)


def test_muon_is_torchs_for_the_convolutions_but_the_last(trained, monkeypatch):
    ours, batches = trained(MUON)
    theirs = build(ARCH)
    convolutions = [module for module in theirs.modules() if isinstance(module, nn.Conv2d)][:-1]
    assert len(convolutions) == 7, "conv1 and three of each of the two Fire modules"
    matrices = [nn.Parameter(layer.weight.detach().flatten(1)) for layer in convolutions]  # in the weights' memory
    with_muon = {id(layer.weight) for layer in convolutions}
    rest = [parameter for parameter in theirs.parameters() if id(parameter) not in with_muon]
    sgd = torch.optim.SGD(decay_groups(rest), lr=0.3, momentum=0.8, nesterov=True)
    muon = torch.optim.Muon(matrices, lr=0.04, momentum=0.8, nesterov=True, weight_decay=0.2)

    def take_gradients(*arguments: object) -> None:
        for layer, matrix in zip(convolutions, matrices, strict=True):
            assert layer.weight.grad is not None
            matrix.grad = layer.weight.grad.flatten(1)

    muon.register_step_pre_hook(take_gradients)
    # torch's Muon orthogonalises in bf16, which keeps two digits: here in double precision instead.
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.double)
    repeat(theirs, batches, [(sgd, 0.3), (muon, 0.04)])
    assert_same(ours, theirs)
