"""The supernet of bench/: networks are parts of it, and learn together."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from bench import draw, supernet, tabular
from bench.search import space_of
from fire.arch import ResNet8Spec, SqueezeNetSpec
from fire.cost import count
from fire.errors import SpecError
from fire.model import build
from fire.train.spec import TrainSpec


@pytest.fixture(scope="module")
def drawn_space():
    return space_of(tabular.DRAWN)


@pytest.fixture(scope="module")
def whole(drawn_space):
    return supernet.Supernet(supernet.covering_of(drawn_space))


def test_each_network_of_the_space_is_a_part(drawn_space, whole):
    draws = supernet.drawn_from(drawn_space, np.random.default_rng(0))
    listed = [drawn_space.point(point).config.arch for point in draw.draw(drawn_space)]
    for spec in [*listed, *itertools.islice(draws, 50), *supernet.ends(drawn_space)]:
        network, places = build(spec), whole.parts(spec)
        assert dict(network.named_parameters()).keys() == places.keys()
        for name, parameter in network.named_parameters():
            assert places[name].of(whole.parameters[places[name].whole]).shape == parameter.shape


def test_the_ends_are_the_largest_and_the_smallest(drawn_space):
    most, least = (count(spec, 32, 3).macs for spec in supernet.ends(drawn_space))
    draws = supernet.drawn_from(drawn_space, np.random.default_rng(1))
    others = [count(spec, 32, 3).macs for spec in itertools.islice(draws, 200)]
    assert 0 < least < min(others) < max(others) < most <= drawn_space.at_most.macs


@pytest.fixture
def spec(narrow) -> SqueezeNetSpec:
    """Fire modules of 32, 32, 64 and 64 outputs."""
    return replace(narrow, bypass="complex", snap=8)


def test_the_first_filters_are_shared(spec):
    shared = supernet.Supernet([replace(spec, conv1=64), spec], channels=1)
    wide, thin = shared.network(spec), shared.network(replace(spec, sr=0.25, pct_3x3=0.25))
    # fire2 has 16 1x1 and 16 3x3 filters in one of them, 24 and 8 in the other; both squeeze 32 channels, to 16 and 8.
    assert torch.equal(thin.fire2.squeeze.weight, wide.fire2.squeeze.weight[:8])
    assert torch.equal(thin.fire2.expand1x1.weight[:16], wide.fire2.expand1x1.weight[:, :8])
    assert torch.equal(thin.fire2.expand3x3.weight, wide.fire2.expand3x3.weight[:8, :8])
    # So fire3 shares weights of the first 16 inputs, and those of thin's inputs 24 to 31, which are wide's 16 to 23.
    assert torch.equal(thin.fire3.squeeze.weight[:, :16], wide.fire3.squeeze.weight[:8, :16])
    assert torch.equal(thin.fire3.squeeze.weight[:, 24:], wide.fire3.squeeze.weight[:8, 16:24])
    assert not torch.equal(thin.fire3.squeeze.weight[:, 16:24], wide.fire3.squeeze.weight[:8, 16:24])


def test_gradients_are_those_of_the_whole(spec):
    """The other route: autograd through the parts themselves."""
    shared = supernet.Supernet([spec, replace(spec, stem_kernel=5)], channels=1)
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    specs = [spec, replace(spec, sr=0.25, pct_3x3=0.25), replace(spec, stem_kernel=5)]
    for each in specs:
        network = shared.network(each).train()
        F.cross_entropy(network(images), labels).backward()
        shared.add_gradients(network, each)
    found = {name: whole.grad for name, whole in shared.parameters.items()}
    for whole in shared.parameters.values():
        whole.grad = None
    loss = 0.0
    for each in specs:
        taken = {name: part.of(shared.parameters[part.whole]) for name, part in shared.parts(each).items()}
        loss = loss + F.cross_entropy(functional_call(build(each, 1).train(), taken, images), labels)
    loss.backward()
    for name, whole in shared.parameters.items():
        torch.testing.assert_close(found[name], whole.grad, msg=name)


def test_networks_learn_together(spec, digits):
    recipe = TrainSpec(epochs=4, lr=0.2, clip=1.0)
    shared = supernet.Supernet([spec], channels=1)
    training = supernet.Training(shared, digits, recipe)
    between = replace(spec, sr=0.375)
    losses = training.run(spec, replace(spec, sr=0.25), itertools.repeat(replace(spec, pct_3x3=0.25)))
    assert losses[-1] < 0.5 * losses[0]
    assert training.top1(between) > 0.5, "never drawn, ten classes"


def test_networks_without_fire_modules_are_refused():
    with pytest.raises(SpecError, match="a supernet must be of Fire modules"):
        supernet.Supernet([ResNet8Spec(classes=10)])
