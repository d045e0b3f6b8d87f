"""Both methods of compression as trainings: accuracy, resume, divergence."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fire.arch import AlexNetSpec, ResNet8Spec
from fire.compress.deep_compression import prune
from fire.compress.methods import QuantisedNetwork, compress
from fire.compress.parametrizations import Masked, weighted_layers
from fire.compress.pruning import published_densities
from fire.compress.spec import CompressSpec
from fire.compress.tuning import fine_tune
from fire.data.batches import Batches
from fire.data.dataset import ImageSet
from fire.errors import SpecError, TrainingError
from fire.model import build, fold
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
    def go(network, spec: CompressSpec, recipe: TrainSpec = TRAIN, data=digits, **options) -> QuantisedNetwork:
        return compress(network, data, spec, train=recipe, seed=0, device=cpu, **options)

    return go


@pytest.fixture(scope="module", params=[DEEP, ENTROPY], ids=lambda spec: spec.method)
def compressed(request, trained, shrink) -> QuantisedNetwork:
    return shrink(trained, request.param)


def entropy_bits(integers) -> float:
    """Of all symbols together, by Shannon's formula."""
    counts = np.unique(integers, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def network_of(result: QuantisedNetwork, narrow) -> nn.Sequential:
    """The network whose tensors the levels are, in evaluation mode."""
    network = build(replace(narrow, norm="none"), channels=1)
    network.load_state_dict({name: torch.from_numpy(level.to_float()) for name, level in result.tensors.items()})
    return network.eval()


def weight_bits(result: QuantisedNetwork) -> float:
    return sum(entropy_bits(level.integers) for name, level in result.tensors.items() if name.endswith("weight"))


def test_levels_are_those_of_the_network_in_its_order(compressed, trained, narrow, digits, cpu):
    assert list(compressed.tensors) == list(trained.state_dict())
    for name, level in compressed.tensors.items():
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
        level = result.tensors[f"{name}.weight"]
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


@pytest.mark.parametrize("spec", [DEEP, ENTROPY], ids=lambda spec: spec.method)
def test_parameters_outside_of_layers_are_kept_as_they_were_trained(spec, narrow, shrink):
    network = fold(build(narrow, channels=1))
    network.fire2.scale = nn.Parameter(torch.tensor([0.3]))
    tensors = shrink(network, replace(spec, epochs=1, final_epochs=1)).tensors
    assert list(tensors) == list(network.state_dict())
    assert tensors["fire2.scale"].tolist() == network.fire2.scale.tolist()


def test_a_layer_without_bias_is_refused(narrow, shrink):
    network = fold(build(narrow, channels=1))
    network.conv1.bias = None
    with pytest.raises(SpecError, match=r"network must be of layers with weight and bias, got \['conv1'\]"):
        shrink(network, DEEP)


@pytest.mark.parametrize("method", ["deep_compression", "entropy"])
def test_grouped_convolutions_and_linear_layers(method, shrink, data_set_of):
    images = np.random.default_rng(0).integers(256, size=(16, 1, 16, 16), dtype=np.uint8)
    network = build(AlexNetSpec(version="small", classes=10, fc=32), channels=1)
    assert any(isinstance(module, nn.Conv2d) and module.groups == 2 for module in network.modules())
    spec = CompressSpec(method=method, epochs=1, final_epochs=1, pruning="table")
    result = shrink(fold(network), spec, data=data_set_of(images, np.arange(16) % 10))
    if method == "deep_compression":
        assert len(result.tensors["fc7.weight"].values) <= 2**5
        assert np.count_nonzero(result.tensors["fc7.weight"].integers) == round(0.09 * 32 * 32)
        conv2 = result.tensors["conv2.weight"].integers
        assert np.count_nonzero(conv2) == round(0.38 * conv2.size)


@pytest.mark.parametrize("method", ["deep_compression", "entropy"])
def test_residual_modules(method, shrink, data_set_of):
    images = np.random.default_rng(0).integers(256, size=(16, 1, 8, 8), dtype=np.uint8)
    network = fold(build(ResNet8Spec(), channels=1))
    spec = CompressSpec(method=method, epochs=1, final_epochs=1)
    result = shrink(network, spec, data=data_set_of(images, np.arange(16) % 10))
    assert list(result.tensors) == list(network.state_dict())


def test_same_seed_same_levels_and_the_network_is_left_alone(compressed, trained, shrink, digits, cpu):
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    spec = DEEP if compressed.tensors["conv1.weight"].values.ndim else ENTROPY
    torch.manual_seed(5)
    again = shrink(trained, spec)
    for name, level in compressed.tensors.items():
        assert np.array_equal(level.integers, again.tensors[name].integers), name
        assert np.array_equal(level.values, again.tensors[name].values), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


@pytest.fixture(scope="module", params=[DEEP, ENTROPY], ids=lambda spec: spec.method)
def interrupted(request, trained, shrink, tmp_path_factory):
    """3 epochs of compression, then 2: its specification, its result, and a folder with its checkpoint after each."""
    spec = replace(request.param, final_epochs=2)
    folder = tmp_path_factory.mktemp("interrupted")

    def keep(progress: Progress) -> None:
        if progress.epochs_done == len(progress.curve):
            shutil.copy(folder / "checkpoint", folder / str(len(progress.curve)))

    return spec, shrink(trained, spec, checkpoint=folder / "checkpoint", report=keep), folder


@pytest.mark.parametrize(
    "epochs", [2, 3, 4, 5], ids=["in a stage", "between two stages", "in the last stage", "at the end"]
)
def test_killed_compression_goes_on_to_the_same_levels(epochs, interrupted, trained, shrink, tmp_path):
    spec, whole, folder = interrupted
    shutil.copy(folder / str(epochs), tmp_path / "checkpoint")
    seen: list[Progress] = []
    resumed = shrink(trained, spec, checkpoint=tmp_path / "checkpoint", report=seen.append)
    assert all(progress.epochs_done > epochs for progress in seen)  # what was done is not done again
    for name, level in whole.tensors.items():
        assert np.array_equal(level.integers, resumed.tensors[name].integers), name
        assert np.array_equal(level.values, resumed.tensors[name].values), name
    for field in ("epoch", "lr", "train_loss", "validation_loss", "validation_top1"):
        assert [getattr(row, field) for row in whole.curve] == [getattr(row, field) for row in resumed.curve]


def test_fine_tuning_blends_images_too_and_resumes_to_the_same_levels(trained, shrink, tmp_path):
    spec, blended = replace(DEEP, epochs=2, final_epochs=0), replace(TRAIN, mixup=0.4)

    def keep(progress: Progress) -> None:
        if progress.epochs_done == len(progress.curve) == 1:
            shutil.copy(tmp_path / "checkpoint", tmp_path / "first")

    whole = shrink(trained, spec, blended, checkpoint=tmp_path / "checkpoint", report=keep)
    resumed = shrink(trained, spec, blended, checkpoint=tmp_path / "first")
    for name, level in whole.tensors.items():
        assert np.array_equal(level.integers, resumed.tensors[name].integers), name
        assert np.array_equal(level.values, resumed.tensors[name].values), name
    plain = shrink(trained, spec)
    assert whole.curve[-1].train_loss == resumed.curve[-1].train_loss > plain.curve[-1].train_loss


def test_a_checkpoint_of_another_compression_is_refused(interrupted, trained, shrink, tmp_path):
    spec, _, folder = interrupted
    others = [replace(spec, final_epochs=0), *(other for other in (DEEP, ENTROPY) if other.method != spec.method)]
    if spec.method == "deep_compression":
        others.append(replace(spec, conv_bits=3))
    for other in others:
        shutil.copy(folder / "4", tmp_path / "checkpoint")  # in the second stage
        with pytest.raises(CheckpointError):
            shrink(trained, other, checkpoint=tmp_path / "checkpoint")


def test_distillation_has_the_float_network_as_teacher(trained, shrink, digits):
    wrong = replace(digits, train=ImageSet(digits.train.images, (digits.train.labels + 1) % 10, digits.train.rows))
    result = shrink(trained, replace(DEEP, distillation=1.0, density=0.5), data=wrong)
    assert result.curve[-1].validation_top1 > 0.9  # who learns from the teacher alone does not see the labels


def test_biases_stand_on_grids(compressed):
    for name, level in compressed.tensors.items():
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


def test_progress_counts_all_stages(trained, shrink):
    seen = []
    shrink(trained, replace(DEEP, epochs=1), report=seen.append)
    whole = [progress for progress in seen if progress.epochs_done == len(progress.curve)]
    assert [progress.epochs_done for progress in whole] == [1, 2]
    assert all(progress.epochs == 2 for progress in seen)
