import pytest
import torch
from torch import nn

from fire import model
from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.train.optimizers import ConvMuon, build_optimizers, orthogonal
from fire.train.spec import TrainSpec

MUON = TrainSpec(optimizer="muon", muon_lr=0.5, muon_weight_decay=0.1)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_muon_moves_a_convolution_as_torch_moves_its_matrix(layout):
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(6, 4, 3).to(memory_format=layout)
    steps = [torch.randn(4, 6, 3, 3, generator=generator) for _ in range(3)]
    # Orthogonalisation does not depend on the order of columns, so the plain order is an independent route.
    matrix = nn.Parameter(conv.weight.detach().clone().reshape(4, -1))
    options = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1}
    ours, theirs = ConvMuon([conv.weight], **options), torch.optim.Muon([matrix], **options)
    for grad in steps:
        conv.weight.grad, matrix.grad = grad.clone(memory_format=layout), grad.reshape(4, -1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(conv.weight.reshape(4, -1), matrix, atol=2e-2, rtol=0)  # it computes in bf16


def test_a_step_of_muon_is_nearly_orthogonal():
    conv = nn.Conv2d(16, 8, 3).to(memory_format=torch.channels_last)
    before = conv.weight.detach().clone()
    conv.weight.grad = torch.randn(8, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    ConvMuon([conv.weight], lr=1.0, weight_decay=0.0).step()
    values = torch.linalg.svdvals((before - conv.weight.detach()).reshape(8, -1))
    assert values.min() > 0.5  # Jordan et al. 2024: the iteration ends between 0.7 and 1.2
    assert values.max() < 1.5


def test_orthogonal_applies_muons_polynomial_to_the_singular_values():
    generator = torch.Generator().manual_seed(0)
    sides = [(4, 16), (16, 4), (3, 9), (12, 64), (48, 108), (64, 144), (1, 7), (5, 5)]  # of several batches
    matrices = [torch.randn(*side, generator=generator, dtype=torch.float64) for side in sides]
    for matrix, found in zip(matrices, orthogonal(matrices), strict=True):
        left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
        for _ in range(5):  # Jordan et al. 2024
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        torch.testing.assert_close(found, left * values @ right)


@pytest.mark.parametrize("spec", [SqueezeNetSpec(version="small", norm="batch"), AlexNetSpec(version="small", fc=32)])
def test_every_parameter_is_moved_by_one_optimizer(spec):
    network = model.build(spec, channels=1).to(memory_format=torch.channels_last)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) + 1
    sgd, muon = build_optimizers(network, MUON)
    sgd.step()
    moved_by_sgd = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    muon.step()
    assert all(not torch.equal(p, before[name]) for name, p in network.named_parameters())
    convolutions = {name for name, p in network.named_parameters() if p.ndim == 4}
    last = {"conv10.weight"} if "conv10.weight" in before else set()
    assert moved_by_sgd == set(before) - convolutions | last


def test_sgd_alone():
    (sgd,) = build_optimizers(nn.Conv2d(1, 2, 3), TrainSpec(weight_decay=0.25))
    assert [group["weight_decay"] for group in sgd.param_groups] == [0.25, 0.0]
