import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import nn

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.compress.clustering import kmeans, nearest
from fire.compress.deep_compression import prune
from fire.compress.methods import Fitted, compress
from fire.compress.parametrizations import Grid, Masked, Scaled, Shared, parameter, parametrise, weighted_layers
from fire.compress.pruning import published_densities, scheduled_density, sensitive_densities, survivors
from fire.compress.rate import CodeLengths
from fire.compress.sensitivity import sensitivities
from fire.compress.spec import CompressSpec
from fire.compress.tuning import fine_tune
from fire.data.batches import Batches
from fire.data.dataset import ImageSet
from fire.errors import SpecError, TrainingError
from fire.model import assemble, build, fold
from fire.train.checkpoints import CheckpointError
from fire.train.evaluation import evaluate
from fire.train.loop import Loop
from fire.train.progress import Progress
from fire.train.spec import TrainSpec
from fire.train.training import train

TRAIN = TrainSpec(epochs=3, batch_size=64, lr=0.1, precision="fp32")
DEEP = CompressSpec(method="deep_compression", epochs=3, final_epochs=1, lr=0.02)
ENTROPY = CompressSpec(method="entropy", epochs=3, final_epochs=1, lr=0.02)


@pytest.fixture(scope="module")
def trained(narrow, digits, cpu) -> nn.Sequential:
    return fold(train(build(narrow, channels=1), digits, TRAIN, seed=0, device=cpu).network)


@pytest.fixture(scope="module")
def shrink(digits, cpu):
    def go(network: nn.Sequential, spec: CompressSpec, recipe: TrainSpec = TRAIN, data=digits, **options) -> Fitted:
        return compress(network, data, spec, train=recipe, seed=0, device=cpu, **options)

    return go


@pytest.fixture(scope="module", params=[DEEP, ENTROPY], ids=lambda spec: spec.method)
def compressed(request, trained, shrink) -> Fitted:
    return shrink(trained, request.param)


def entropy_bits(integers) -> float:
    """Of all symbols together, by Shannon's formula."""
    counts = np.unique(integers, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def network_of(result: Fitted, narrow) -> nn.Sequential:
    """The network whose tensors the levels are, in evaluation mode."""
    network = build(replace(narrow, norm="none"), channels=1)
    network.load_state_dict({name: torch.from_numpy(level.tensor()) for name, level in result.levels.items()})
    return network.eval()


def weight_bits(result: Fitted) -> float:
    return sum(entropy_bits(level.integers) for name, level in result.levels.items() if name.endswith("weight"))


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
    assert squeezenet["fire2.expand3x3"] == squeezenet["fire9.expand3x3"] == 0.33
    assert squeezenet["conv10"] == 0.2
    assert list(densities(AlexNetSpec()).values()) == [
        *(0.84, 0.38, 0.35, 0.37, 0.37),
        *(0.09, 0.09, 0.25),
    ]


def test_levels_are_those_of_the_network_in_its_order(compressed, trained, narrow, digits, cpu):
    assert list(compressed.levels) == list(trained.state_dict())
    for name, level in compressed.levels.items():
        assert level.integers.dtype == np.int32
        assert level.values.dtype == np.float32
        assert level.integers.shape == tuple(trained.state_dict()[name].shape)
    scores = evaluate(network_of(compressed, narrow), Batches(digits.validation, digits, TRAIN, cpu), cpu)
    assert scores.top1 == compressed.curve[-1].validation_top1
    assert scores.loss == pytest.approx(compressed.curve[-1].validation_loss, rel=1e-4)


def test_compressed_network_is_as_accurate(compressed, trained, narrow, digits, cpu):
    test = Batches(digits.test, digits, TRAIN, cpu)
    assert evaluate(network_of(compressed, narrow), test, cpu).top1 > evaluate(trained, test, cpu).top1 - 0.02
    assert [row.epoch for row in compressed.curve] == [1, 2, 3, 4]


def test_deep_compression_keeps_exactly_the_density_in_few_values(trained, shrink):
    spec = replace(DEEP, pruning="table", conv_bits=3, epochs=1, distillation=0.0)
    result = shrink(trained, spec)
    densities = published_densities(weighted_layers(trained))
    for name, density in densities.items():
        level = result.levels[f"{name}.weight"]
        assert np.count_nonzero(level.integers) == round(density * level.integers.size), name
        assert level.values[0] == 0
        assert len(level.values) <= 8
        assert level.integers.max() == len(level.values) - 1


def test_pruned_weights_stay_pruned_while_the_others_learn(trained, digits, cpu):
    network = fold(trained)
    loop = Loop(network, digits, TRAIN, epochs=DEEP.epochs, seed=0, device=cpu)
    fine_tune(loop, prune(loop, DEEP), loop.cross_entropy, epochs=DEEP.epochs, lr=DEEP.lr, hint="")
    layers = weighted_layers(network)
    kept = sum(int(layer.weight.count_nonzero()) for layer in layers.values())
    assert kept == pytest.approx(0.3 * sum(layer.weight.numel() for layer in layers.values()), abs=len(layers))
    for name, layer in layers.items():
        masked = layer.get_submodule("parametrizations.weight.0")
        assert isinstance(masked, Masked)
        assert not layer.weight[~masked.mask].any()
        before = trained.get_parameter(f"{name}.weight")
        assert not torch.equal(layer.weight[masked.mask], before[masked.mask])


def test_a_higher_price_leaves_fewer_bits(trained, shrink):
    spec = replace(ENTROPY, epochs=2, final_epochs=0, distillation=0.0)
    cheap, dear = (weight_bits(shrink(trained, replace(spec, rate=rate))) for rate in (0.01, 3.0))
    assert dear < 0.8 * cheap


def test_tensors_that_no_method_would_compress_are_refused(narrow, shrink):
    network = fold(build(narrow, channels=1))
    network.fire2.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(SpecError, match=r"network must be of convolutions and linear .* only, got \['fire2.scale'\]"):
        shrink(network, ENTROPY)
    network = fold(build(narrow, channels=1))
    network.conv1.bias = None
    with pytest.raises(SpecError, match=r"layers with weight and bias only, got \['conv1.bias'\]"):
        shrink(network, DEEP)


@pytest.mark.parametrize("method", ["deep_compression", "entropy"])
def test_grouped_convolutions_and_linear_layers(method, shrink, data_set_of):
    images = np.random.default_rng(0).integers(256, size=(16, 1, 16, 16), dtype=np.uint8)
    network = build(AlexNetSpec(version="small", classes=10, fc=32), channels=1)
    assert any(isinstance(module, nn.Conv2d) and module.groups == 2 for module in network.modules())
    spec = CompressSpec(method=method, epochs=1, final_epochs=1, pruning="table")
    result = shrink(fold(network), spec, data=data_set_of(images, np.arange(16) % 10))
    if method == "deep_compression":
        assert len(result.levels["fc7.weight"].values) <= 2**5
        assert np.count_nonzero(result.levels["fc7.weight"].integers) == round(0.09 * 32 * 32)
        conv2 = result.levels["conv2.weight"].integers
        assert np.count_nonzero(conv2) == round(0.38 * conv2.size)


def test_same_seed_same_levels_and_the_network_is_left_alone(compressed, trained, shrink, digits, cpu):
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    spec = DEEP if compressed.levels["conv1.weight"].values.ndim else ENTROPY
    torch.manual_seed(5)
    again = shrink(trained, spec)
    for name, level in compressed.levels.items():
        assert np.array_equal(level.integers, again.levels[name].integers), name
        assert np.array_equal(level.values, again.levels[name].values), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


@pytest.mark.parametrize("epochs", [2, 3, 4])
@pytest.mark.parametrize("spec", [DEEP, ENTROPY], ids=lambda spec: spec.method)
def test_killed_compression_goes_on_to_the_same_levels(spec, epochs, trained, shrink, tmp_path):
    spec = replace(spec, final_epochs=2)  # 3 epochs, then 2: in a stage, between two, in the last one
    whole = shrink(trained, spec)

    def kill(progress: Progress) -> None:
        if progress.epochs_done == len(progress.curve) == epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink(trained, spec, checkpoint=tmp_path / "checkpoint", report=kill)
    seen: list[Progress] = []
    resumed = shrink(trained, spec, checkpoint=tmp_path / "checkpoint", report=seen.append)
    assert min(progress.epochs_done for progress in seen) > epochs  # what was done is not done again
    for name, level in whole.levels.items():
        assert np.array_equal(level.integers, resumed.levels[name].integers), name
        assert np.array_equal(level.values, resumed.levels[name].values), name
    for field in ("epoch", "lr", "train_loss", "validation_loss", "validation_top1"):
        assert [getattr(row, field) for row in whole.curve] == [getattr(row, field) for row in resumed.curve]


def test_fine_tuning_blends_images_too_and_resumes_to_the_same_levels(trained, shrink, tmp_path):
    spec, blended = replace(DEEP, epochs=2, final_epochs=0), replace(TRAIN, mixup=0.4)

    def kill(progress: Progress) -> None:
        if progress.epochs_done == len(progress.curve) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink(trained, spec, blended, checkpoint=tmp_path / "checkpoint", report=kill)
    resumed = shrink(trained, spec, blended, checkpoint=tmp_path / "checkpoint")
    whole, plain = shrink(trained, spec, blended), shrink(trained, spec)
    for name, level in whole.levels.items():
        assert np.array_equal(level.integers, resumed.levels[name].integers), name
        assert np.array_equal(level.values, resumed.levels[name].values), name
    assert whole.curve[-1].train_loss == resumed.curve[-1].train_loss > plain.curve[-1].train_loss


def test_a_checkpoint_of_another_compression_is_refused(trained, shrink, tmp_path):
    path = tmp_path / "checkpoint"

    def kill(progress: Progress) -> None:
        if len(progress.curve) == 4:  # in the second stage
            raise KeyboardInterrupt

    spec = replace(DEEP, final_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        shrink(trained, spec, checkpoint=path, report=kill)
    for other in (ENTROPY, replace(spec, conv_bits=3), replace(spec, final_epochs=0)):
        with pytest.raises(CheckpointError):
            shrink(trained, other, checkpoint=path)


def test_distillation_has_the_float_network_as_teacher(trained, shrink, digits):
    wrong = replace(digits, train=ImageSet(digits.train.images, (digits.train.labels + 1) % 10, digits.train.rows))
    result = shrink(trained, replace(DEEP, distillation=1.0, density=0.5), data=wrong)
    assert result.curve[-1].validation_top1 > 0.9  # who learns from the teacher alone does not see the labels


def test_biases_stand_on_grids(compressed):
    for name, level in compressed.levels.items():
        if name.endswith("bias"):
            assert level.values.shape == ()
            assert level.values > 0


def test_method_none_is_refused(trained, shrink):
    with pytest.raises(SpecError, match=r"^compress.method must be deep_compression or entropy, got 'none'$"):
        shrink(trained, CompressSpec())


def test_network_with_normalisation_is_refused(narrow, shrink):
    with pytest.raises(SpecError, match=r"^network must be folded, got 'batch normalisation'$"):
        shrink(build(narrow, channels=1), DEEP)


def test_divergence_is_reported(trained, shrink):
    with pytest.raises(TrainingError, match=r"^diverged: the loss is nan in epoch 1 of compression; lower compress"):
        shrink(trained, replace(DEEP, lr=1e30))


def test_divergence_of_the_last_stage_names_its_own_rate(trained, shrink):
    with pytest.raises(TrainingError, match=r"^diverged: .* in epoch 2 of .*; lower compress\.final_lr=1e[+]30"):
        shrink(trained, replace(DEEP, epochs=1, final_lr=1e30))


def test_divergence_on_a_grid_is_reported(trained, shrink):
    with pytest.raises(TrainingError, match=r"^diverged: .*; lower compress\.lr"):
        shrink(trained, replace(ENTROPY, lr=1e30))


def test_a_density_of_less_than_one_weight_keeps_one():
    weights = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([4.0])}
    assert sensitive_densities(weights, {"a": 1.0, "b": 1.0}, 0.01) == {"a": 0.0, "b": 1.0}


def test_progress_counts_all_stages(trained, shrink):
    seen = []
    shrink(trained, replace(DEEP, epochs=1), report=seen.append)
    whole = [progress for progress in seen if progress.epochs_done == len(progress.curve)]
    assert [progress.epochs_done for progress in whole] == [1, 2]
    assert all(progress.epochs == 2 for progress in seen)
