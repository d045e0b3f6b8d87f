"""Faster modules in place of a network's own: the same function, parameters, mode and hooks."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fire.arch import ArchSpec, SqueezeNetSpec
from fire.errors import SpecError
from fire.machine import native
from fire.machine.accelerate import accelerate
from fire.model import Fire, assemble, build
from tests.test_plain_module import NORMED, each_spec, images

USING = ["torch", *(["compiled"] if native.available() else [])]


def network_of(spec: ArchSpec) -> nn.Sequential:
    return build(spec, channels=1).to(memory_format=torch.channels_last)


each_way = pytest.mark.parametrize("using", USING)


@each_way
@each_spec
def test_same_logits_gradients_and_statistics(spec, using):
    network = network_of(spec)
    exact = copy.deepcopy(network).double()
    for computed, inputs in ((accelerate(network, using), images()), (exact, images().double())):
        F.cross_entropy(computed(inputs), torch.arange(4)).backward()
    ours, theirs = (torch.cat([p.grad.flatten() for p in each.parameters()]) for each in (network, exact))
    assert (ours - theirs).norm() < 0.03 * theirs.norm()  # where rounding moves a maximum to another pixel, 0.01
    for ours, theirs in zip(network.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-6)
    network.eval(), exact.eval()
    logits = accelerate(network, using)(images())
    torch.testing.assert_close(logits, exact(images().double()).float(), rtol=1e-3, atol=1e-5)


@each_way
def test_the_network_itself_stays_as_it_is(using):
    network = network_of(NORMED)
    modules, state = dict(network.named_modules()), network.state_dict()
    faster = accelerate(network, using)
    assert faster is not network
    assert dict(network.named_modules()) == modules
    assert list(network.state_dict()) == list(state)
    assert list(map(id, faster.parameters())) == list(map(id, network.parameters()))
    assert {id(module) for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {
        id(module) for module in faster.modules() if isinstance(module, nn.BatchNorm2d)
    }


@each_way
def test_hooks_run(using):
    network = network_of(NORMED)
    seen = []
    names = ["", "conv1", "pool1", "fire2", "fire3.squeeze", "fire3.norm", "fire4.bypass.norm", "conv5"]
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda *arguments, name=name: seen.append(name))
    accelerate(network, using)(images())
    assert sorted(seen) == sorted(names)


def other_pool(network: nn.Sequential) -> None:
    network.pool1 = nn.MaxPool2d(2)


def cumulative_average(network: nn.Sequential) -> None:
    network.conv1.norm.momentum = None
    network.fire2.norm.track_running_stats = False


def group_norm(network: nn.Sequential) -> None:
    network.fire2.norm = nn.GroupNorm(2, 8)


def without_scale(network: nn.Sequential) -> None:
    network.conv1.norm = nn.BatchNorm2d(8, affine=False)


def dilated(network: nn.Sequential) -> None:
    network.fire2.expand3x3.dilation = network.fire2.expand3x3.padding = (2, 2)


def activation(network: nn.Sequential) -> None:
    network.relu_conv1 = nn.SiLU()
    network.fire2.relu_expand = nn.SiLU()


def without_relu(network: nn.Sequential) -> None:
    network.fire2.relu_expand = network.fire3.relu_squeeze = network.fire4.relu_bypass = nn.Identity()
    network.relu_conv5 = nn.Identity()


def without_norm(network: nn.Sequential) -> None:
    network.conv1.norm = network.fire2.norm = network.fire3.squeeze.norm = nn.Identity()


def other_bypass(network: nn.Sequential) -> None:
    network.fire4.bypass = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    network.fire4.relu_bypass = nn.Conv2d(8, 16, 1)


CHANGES = [
    *(other_pool, cumulative_average, group_norm, without_scale, dilated, activation, without_relu, without_norm),
    other_bypass,
]


@each_way
@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_was_changed_computes_what_it_computes(change, using):
    network = network_of(NORMED)
    change(network)
    expected = copy.deepcopy(network)(images())
    torch.testing.assert_close(accelerate(network, using)(images()), expected, rtol=1e-4, atol=1e-5)


def test_names_without_a_meaning_are_refused():
    network = network_of(NORMED)
    with pytest.raises(ValueError, match=r"train.kernels must be .*, got 'cuda'"):
        accelerate(network, "cuda")
    with pytest.raises(SpecError, match=r"train.init must be .*, got 'zero'"):
        build(SqueezeNetSpec(), init="zero")
    plan = NORMED.plan(1)
    with pytest.raises(SpecError, match="bypass must be none, identity or conv in a Fire module, got 'scaled'"):
        Fire(replace(plan[2], bypass="scaled"))
    with pytest.raises(SpecError, match=r"the plan must be of the blocks in fire.blocks, got 'conv1'"):
        assemble(("conv1",))
