"""Costs on a small device, against published networks and a brute-force analysis of the built ones' graphs.

Facts: the Keras summary of MLPerf Tiny's reference for CIFAR-10 (mlcommons/tiny, image_classification, resnet_v1_eembc)
and ST's model zoo (STM32H747, X-CUBE-AI), whose KiB are 1024 bytes.
"""

import random

import pytest
import torch
import torchvision
from torch import nn

from fire.arch import AlexNetSpec, ArchSpec, ResNet8Spec, SqueezeNetSpec
from fire.cost import Cost, count
from fire.model import NormedConv2d, build, fold
from tests import liveness
from tests.test_cost import draw_spec, parameters_of, torch_macs

RESNET8 = count(ResNet8Spec(), image_size=32)


def squeezenet(image_size: int) -> Cost:
    """SqueezeNet v1.1 for Flowers, as in ST's zoo."""
    return count(SqueezeNetSpec(version="1.1", classes=5), image_size)


def test_resnet8_has_the_parameters_of_keras_summary():
    network = build(ResNet8Spec())
    normed = [module for module in network.modules() if isinstance(module, NormedConv2d)]
    statistics = sum(2 * module.out_channels for module in normed)
    biases_before_norm = sum(module.out_channels for module in normed)  # ours have none
    assert (statistics, biases_before_norm) == (480, 240)
    assert parameters_of(network) + statistics + biases_before_norm == 78_666
    convolutions = [module for module in fold(network).modules() if isinstance(module, nn.Conv2d)]
    assert sum(module.bias.numel() for module in convolutions) == 336


def test_resnet8_as_deployed():
    # Folding puts scale, shift and statistics, 4 numbers a channel, into the biases.
    assert RESNET8.parameters == 78_666 - 4 * 240 == parameters_of(fold(build(ResNet8Spec())))
    assert RESNET8.macs == 12_501_632
    assert RESNET8.weight_bytes == 78_744
    assert round(RESNET8.weight_bytes / 1024, 1) == 76.9  # ST's table
    assert RESNET8.flash_bytes == 80_128
    assert RESNET8.peak_ram_bytes == 48 * 1024  # conv2 of the first stack: three maps of 32 x 32 x 16


@pytest.mark.parametrize(("image_size", "weights_kib"), [(128, 716.7), (224, 716.7)])
def test_squeezenet_of_the_zoo(image_size, weights_kib):
    cost = squeezenet(image_size)
    assert cost.parameters == 725_061
    assert round(cost.weight_bytes / 1024, 1) == weights_kib
    with torch.device("meta"):
        theirs = torchvision.models.squeezenet1_1(num_classes=5)
    assert cost.macs == torch_macs(theirs, image_size, channels=3)


@pytest.mark.parametrize(
    ("cost", "theirs_kib", "ours_kib", "ratio"),
    [
        # The zoo's tool needs more for ResNet8 than the tensors alive, and lets buffers of SqueezeNet overlap.
        (RESNET8, 62.5, 48.0, 0.77),
        (squeezenet(128), 271.8, 308.1, 1.13),
        (squeezenet(224), 829.1, 959.1, 1.16),
    ],
    ids=["resnet8", "squeezenet-128", "squeezenet-224"],
)
def test_peak_ram_beside_the_activations_of_the_zoo(cost, theirs_kib, ours_kib, ratio):
    assert round(cost.peak_ram_bytes / 1024, 1) == ours_kib
    assert round(cost.peak_ram_bytes / 1024 / theirs_kib, 2) == ratio


def draw_alexnet(draw: random.Random) -> AlexNetSpec:
    return AlexNetSpec(
        version=draw.choice(["caffe", "small"]),
        fc=draw.randint(1, 300),
        classes=draw.randint(2, 30),
        norm=draw.choice(["response", "batch", "none"]),
        dropout=draw.choice([0, 0.5]),
    )


def draw_resnet8(draw: random.Random) -> ResNet8Spec:
    return ResNet8Spec(
        classes=draw.randint(2, 3000), norm=draw.choice(["batch", "none"]), dropout=draw.choice([0.0, 0.5])
    )


FAMILIES = {"squeezenet": (draw_spec, 40), "alexnet": (draw_alexnet, 70), "resnet8": (draw_resnet8, 1)}


def draw_network(family: str, seed: int) -> tuple[ArchSpec, int, int]:
    """A random specification of the family, image size and number of channels."""
    draw = random.Random(f"{family}{seed}")
    spec_of, least = FAMILIES[family]
    return spec_of(draw), draw.randint(least, least + 40), draw.choice([1, 3, 4])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("family", FAMILIES)
def test_peak_ram_is_that_of_the_tensors_alive(family, seed):
    spec, image_size, channels = draw_network(family, seed)
    network = fold(build(spec, channels))
    assert count(spec, image_size, channels).peak_ram_bytes == liveness.of_modules(network, image_size, channels)


@pytest.mark.parametrize(
    ("spec", "image_size"),
    [
        (SqueezeNetSpec(version="small", fires=4, base_e=8, incr_e=8, conv1=12, sr=1.0, bypass="complex"), 20),
        (AlexNetSpec(version="small", fc=16, norm="batch"), 28),
        (ResNet8Spec(), 32),
    ],
    ids=["squeezenet", "alexnet", "resnet8"],
)
def test_peak_ram_is_that_of_the_exported_graph(spec, image_size):
    pytest.importorskip("onnxscript")
    network = fold(build(spec))
    assert count(spec, image_size).peak_ram_bytes == liveness.of_onnx(network, image_size, channels=3)
