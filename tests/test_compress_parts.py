"""The parts of compression by themselves: clusters, grids, pruning, sensitivity."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import nn

from fire.arch import AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from fire.compress.clustering import kmeans, nearest
from fire.compress.parametrizations import Grid, Scaled, Shared, parameter, parametrise, weighted_layers
from fire.compress.pruning import published_densities, scheduled_density, sensitive_densities, survivors
from fire.compress.rate import CodeLengths
from fire.compress.sensitivity import sensitivities
from fire.data.batches import Batches
from fire.errors import SpecError
from fire.model import assemble
from fire.train.spec import TrainSpec


def test_kmeans_by_hand():
    numbers = np.array([12, 1, 10, 0, 2, 11], np.float32)
    assert kmeans(numbers, 2).tolist() == [1, 11]
    assert kmeans(numbers, 3).tolist() == [1, 11]  # from 0, 6, 12: nothing is nearest to 6
    assert kmeans(numbers, 1).tolist() == [6]
    assert kmeans(np.full(5, 7, np.float32), 4).tolist() == [7]


def test_kmeans_agrees_with_scikit_learn():
    numbers = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    start = np.linspace(numbers.min(), numbers.max(), 12).reshape(-1, 1)
    theirs = KMeans(12, init=start, n_init=1, tol=0, max_iter=1000, algorithm="lloyd").fit(numbers.reshape(-1, 1))
    np.testing.assert_allclose(kmeans(numbers, 12), theirs.cluster_centers_.ravel(), atol=1e-4)


def test_nearest_by_hand():
    assert nearest(np.array([-9, 1.4, 1.6, 3.9], np.float32), np.array([1, 2, 4], np.float32)).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("groups", [1, 2])
def test_gradient_of_a_centroid_is_the_sum_over_its_weights(groups, generator):
    convolution = nn.Conv2d(4, 6, 3, groups=groups)
    images, target = torch.randn(2, 4, 5, 5, generator=generator), torch.randn(2, 6, 3, 3, generator=generator)
    codes = torch.randint(4, convolution.weight.shape, generator=generator)
    codebook = torch.tensor([0.0, -1.0, 0.5, 2.0])
    weight = codebook[codes].requires_grad_()
    F.mse_loss(F.conv2d(images, weight, convolution.bias, groups=groups), target).backward()
    sums = [float(weight.grad[codes == code].sum()) for code in range(4)]

    parametrise(convolution, "weight", Shared(codes, codebook))
    F.mse_loss(convolution(images), target).backward()
    gradient = parameter(convolution, "weight").grad.tolist()
    assert gradient[0] == 0  # a pruned weight stays 0
    assert gradient[1:] == pytest.approx(sums[1:], rel=1e-4)


def test_rounding_to_a_grid_passes_gradients_straight_through():
    grid = Grid(torch.tensor(0.25), learned=True)
    weight = torch.tensor([0.3, -0.7], requires_grad=True)  # 1.2 and -2.8 steps
    rounded = grid(weight)
    assert rounded.tolist() == pytest.approx([0.25, -0.75])
    (rounded * torch.tensor([10.0, 1.0])).sum().backward()
    assert weight.grad.tolist() == [10, 1]
    # The derivative with respect to the step is rounded - exact, -0.2 and -0.2 steps (Esser et al. 2020, equation 3).
    assert float(grid.log_step.grad) == pytest.approx((10 * -0.2 + 1 * -0.2) * 0.25, rel=1e-5)


def test_step_of_fixed_integers_gets_the_gradient_of_all():
    layer = nn.Linear(3, 1, bias=False)
    parametrise(layer, "weight", Scaled(torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor(0.5)))
    layer(torch.tensor([[1.0, 5.0, 4.0]])).sum().backward()
    assert layer.weight.tolist() == [[1, 0, -0.5]]
    assert float(parameter(layer, "weight").grad) == pytest.approx((2 * 1 - 1 * 4) * 0.5)


def test_code_lengths_by_hand():
    lengths = CodeLengths(torch.tensor([0.0] * 6 + [1.0]))  # counts and a half, of -1, 0, 1, 2: 0.5, 6.5, 1.5, 0.5
    at = [-math.log2(count / 9) for count in (0.5, 6.5, 1.5, 0.5)]
    positions = torch.tensor([-5.0, -1.0, 0.0, 0.5, 1.0, 2.0, 9.0], requires_grad=True)
    bits = lengths.bits(positions)
    assert bits.tolist() == pytest.approx([at[0], at[0], at[1], (at[1] + at[2]) / 2, at[2], at[3], at[3]])
    bits.sum().backward()
    assert float(positions.grad[3]) == pytest.approx(at[2] - at[1])  # towards 0 it gets cheaper
    assert float(positions.grad[0]) == 0


def test_cubic_schedule_by_hand():
    assert [scheduled_density(0.2, progress) for progress in (0, 0.5, 1)] == pytest.approx([1, 0.3, 0.2])


def test_survivors_are_the_largest_and_none_comes_back():
    weight = torch.tensor([[5.0, -4.0], [3.0, -9.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert survivors(weight, mask, 0.5).tolist() == [[True, True], [False, False]]
    assert survivors(weight, mask, 0.01).tolist() == [[True, False], [False, False]]
    assert survivors(weight, mask, 1.0).tolist() == mask.tolist()
    assert int(survivors(torch.ones(10, 10), torch.ones(10, 10, dtype=torch.bool), 0.37).sum()) == 37


def test_layers_that_cost_more_keep_more(generator):
    first, second = torch.randn(40, 50, generator=generator), torch.rand(30, 20, generator=generator) * 1e-3
    densities = sensitive_densities({"a": first, "b": second}, {"a": 1.0, "b": 4e6}, 0.25)
    assert densities["a"] * 2000 + densities["b"] * 600 == pytest.approx(650)
    # A weight of b costs as much as one of a that is 2,000 times larger.
    pruned = first.abs().flatten().sort(descending=True).values[round(densities["a"] * 2000)]
    assert float((second > pruned / 2000).float().mean()) == pytest.approx(densities["b"], abs=2 / 600)


def test_sensitivity_is_the_mean_squared_gradient(data_set_of, cpu):
    # Two classes, logits (0, w x): the loss has the gradient (p - y) x, p the sigmoid of w x.
    images = np.full((8, 1, 1, 1), 3, np.uint8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    network[1].weight.data = torch.tensor([[0.0], [0.5]])
    network[1].bias.data.zero_()
    batches = Batches(data_set_of(images, [1] * 8).train, data_set_of(images), TrainSpec(), cpu)
    gradient = 3 * (1 / (1 + math.exp(-1.5)) - 1)
    measured = sensitivities(network, weighted_layers(network), batches)
    assert measured == {"1": pytest.approx(gradient**2, rel=1e-5)}  # the other weight's gradient is the negative


def test_published_densities_are_those_of_the_papers():
    def densities(spec: SqueezeNetSpec | AlexNetSpec) -> dict[str, float]:
        with torch.device("meta"):
            return published_densities(weighted_layers(assemble(spec.plan())))

    squeezenet = densities(SqueezeNetSpec())
    assert squeezenet["conv1"] == squeezenet["fire2.squeeze"] == squeezenet["fire9.expand1x1"] == 1
    assert (squeezenet["fire2.expand3x3"], squeezenet["fire9.expand3x3"]) == (0.33, 0.3)
    assert squeezenet["fire7.squeeze"] == squeezenet["fire8.expand1x1"] == 0.5
    assert squeezenet["conv10"] == 0.2
    assert list(densities(AlexNetSpec()).values()) == [
        *(0.84, 0.38, 0.35, 0.37, 0.37),
        *(0.09, 0.09, 0.25),
    ]


def test_published_densities_leave_the_parameters_of_the_paper_s_table_1():
    with torch.device("meta"):
        layers = weighted_layers(assemble(SqueezeNetSpec().plan()))
    kept = {
        name: layers[name].weight.numel() * density + layers[name].bias.numel()
        for name, density in published_densities(layers).items()
    }
    of_modules = {
        1: 14_208,
        2: 5_746,
        3: 6_258,
        4: 20_646,
        5: 24_742,
        6: 44_700,
        7: 46_236,
        8: 77_581,
        9: 77_581,
        10: 103_400,
    }
    for number, parameters in of_modules.items():
        found = sum(count for name, count in kept.items() if name.split(".")[0] in (f"fire{number}", f"conv{number}"))
        assert found == pytest.approx(parameters, abs=3)
    assert sum(kept.values()) == pytest.approx(421_098, abs=10)


def test_no_densities_are_published_for_other_networks():
    layers = weighted_layers(assemble(ResNet8Spec().plan()))
    with pytest.raises(SpecError, match=r"^compress\.pruning must be sensitivity where no densities are published"):
        published_densities(layers)


def test_a_density_of_less_than_one_weight_keeps_one():
    weights = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([4.0])}
    assert sensitive_densities(weights, {"a": 1.0, "b": 1.0}, 0.01) == {"a": 0.0, "b": 1.0}
