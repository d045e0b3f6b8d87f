"""compress.bias_bits: biases are integers of that many bits, with their sign, times a step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fire.compress.methods import compress
from fire.compress.parametrizations import freeze, put_biases_on_grids
from fire.compress.spec import CompressSpec
from fire.model import build, fold
from fire.train.spec import TrainSpec
from fire.weights.quantised import Quantised

TRAIN = TrainSpec(batch_size=64, precision="fp32", kernels="torch")


def test_the_largest_bias_is_the_largest_integer():
    layer = nn.Linear(1, 2)
    layer.bias.data = torch.tensor([0.7, -0.3])
    put_biases_on_grids({"layer": layer}, bits=4)
    assert layer.bias.tolist() == pytest.approx([0.7, -0.3])
    found = freeze(layer, "bias")
    assert found.integers.tolist() == [7, -3]  # 4 bits with their sign: -7 to 7
    assert float(found.values) == pytest.approx(0.1)


def test_a_bias_is_rounded_to_the_nearest_step():
    layer = nn.Linear(1, 4)
    layer.bias.data = torch.tensor([-1.4, 0.29, 0.31, 0.0])
    put_biases_on_grids({"layer": layer}, bits=3)  # of -3 to 3, a step of 1.4 / 3 = 0.467
    assert freeze(layer, "bias").integers.tolist() == [-3, 1, 1, 0]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("method", ["deep_compression", "entropy"])
def test_biases_have_their_bits_after_tuning_too(method, bits, narrow, digits, cpu):
    network = fold(build(replace(narrow, fires=2), channels=1))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1, generator=generator)
    spec = CompressSpec(method=method, bias_bits=bits, epochs=1, final_epochs=1, final_lr=0.05, distillation=0.0)
    tensors = compress(network, digits, spec, train=TRAIN, seed=0, device=cpu).tensors
    biases = {name: held for name, held in tensors.items() if name.endswith("bias") and isinstance(held, Quantised)}
    largest = {name: int(np.abs(held.integers).max()) for name, held in biases.items()}
    assert len(largest) == 8, "conv1, three of each of the two Fire modules, and the last convolution"
    assert max(largest.values()) <= 2 ** (bits - 1) - 1, largest
