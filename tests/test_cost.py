"""Facts: Iandola et al. 2016 (tables 1 and 3, figure 3); torch's own counters; torchvision's models."""

import dataclasses
import random

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.cost import COSTS, conv_side, count, pool_side
from fire.cost_grid import count_grid
from fire.errors import SpecError
from fire.model import assemble, build, fold


def draw_spec(draw: random.Random) -> SqueezeNetSpec:
    """A random valid point with narrow layers."""
    while True:
        try:
            spec = SqueezeNetSpec(
                base_e=draw.randint(1, 40),
                incr_e=draw.randint(0, 24),
                freq=draw.randint(1, 4),
                pct_3x3=draw.choice([0, 1, 0.5, draw.random()]),
                sr=draw.choice([1, 0.125, 1 - draw.random()]),
                bypass=draw.choice(["none", "simple", "complex"]),
                version=draw.choice(["1.0", "1.1", "small"]),
                fires=draw.randint(1, 11),
                conv1=draw.choice([0, draw.randint(1, 40)]),
                snap=draw.choice([1, 1, 4, 16]),
                conv10_pad=draw.randint(0, 1),
                classes=draw.randint(2, 30),
                norm=draw.choice(["none", "batch"]),
                dropout=draw.choice([0, 0.5]),
            )
            return dataclasses.replace(spec, **draw_macro(draw, spec.fires))
        except SpecError:  # a simple bypass that would change nothing
            continue


def draw_macro(draw: random.Random, fires: int) -> dict:
    """A random stem, and up to three pools."""
    layers = range(1, fires + 2)
    pools = "+".join(map(str, sorted(draw.sample(layers, min(3, draw.randint(0, len(layers)))))))
    return {
        "stem_kernel": draw.choice([0, draw.randint(1, 7)]),
        "stem_stride": draw.choice([0, 1, 2]),
        "pools": draw.choice(["version", pools or "none"]),
    }


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def torch_macs(network: nn.Module, image_size: int, channels: int) -> int:
    images = torch.empty(1, channels, image_size, image_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(images)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


RANDOM_SPECS = [draw_spec(random.Random(seed)) for seed in range(36)]


def test_random_specs_span_the_space():
    assert {spec.bypass for spec in RANDOM_SPECS} == {"none", "simple", "complex"}
    assert {spec.version for spec in RANDOM_SPECS} == {"1.0", "1.1", "small"}
    assert {0, 1} <= {spec.pct_3x3 for spec in RANDOM_SPECS}


@pytest.mark.parametrize("spec", RANDOM_SPECS, ids=lambda spec: f"{spec.version}-{spec.bypass}-{spec.norm}")
def test_arithmetic_agrees_with_the_built_network(spec):
    network = fold(build(spec, channels=1))
    cost = count(spec, image_size=48, channels=1)
    assert cost.parameters == parameters_of(network)
    assert cost.macs == torch_macs(network, 48, channels=1)


@pytest.mark.parametrize("spec", RANDOM_SPECS[:8], ids=lambda spec: f"{spec.version}-{spec.bypass}-{spec.norm}")
def test_activations_are_the_outputs_of_the_layers_with_weights(spec):
    network = fold(build(spec))
    outputs = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: outputs.append(output.numel()))
    network.to("meta")(torch.empty(1, 3, 50, 50, device="meta"))
    assert count(spec, image_size=50).activations == sum(outputs)


@pytest.mark.parametrize("norm", ["response", "batch", "none"])
def test_alexnet_arithmetic_agrees_with_the_built_network(norm):
    spec = AlexNetSpec(version="small", fc=32, classes=10, norm=norm)
    network = fold(build(spec, channels=1))
    cost = count(spec, image_size=28, channels=1)
    assert cost.parameters == parameters_of(network)
    assert cost.macs == torch_macs(network, 28, channels=1)


def test_published_alexnet():
    # Parameters: the Caffe model. MACs: its five convolutions and three linear layers, as usually tabulated.
    convolutions = 105_415_200 + 223_948_800 + 149_520_384 + 112_140_288 + 74_760_192
    linear = 37_748_736 + 16_777_216 + 4_096_000
    cost = count(AlexNetSpec(), image_size=227)
    assert cost.parameters == 60_965_224
    assert cost.macs == convolutions + linear
    with torch.device("meta"):
        network = assemble(AlexNetSpec().plan())
    assert parameters_of(network) == 60_965_224
    assert torch_macs(network, 227, channels=3) == cost.macs


@pytest.mark.parametrize(
    ("version", "classes", "parameters"),
    [
        ("1.0", 1000, 1_248_424),
        ("1.0", 10, 740_554),
        ("1.0", 100, 786_724),
        ("1.0", 200, 838_024),
        ("1.1", 1000, 1_235_496),
        ("1.1", 10, 727_626),
        ("1.1", 100, 773_796),
        ("1.1", 200, 825_096),
    ],
)
def test_published_parameters(version, classes, parameters):
    assert count(SqueezeNetSpec(version=version, classes=classes)).parameters == parameters


@pytest.mark.parametrize(("version", "gmac", "digits"), [("1.0", 0.818925, 6), ("1.1", 0.3492, 4)])
def test_published_macs_and_torchvision(version, gmac, digits):
    cost = count(SqueezeNetSpec(version=version), image_size=224)
    assert round(cost.macs / 1e9, digits) == gmac
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"squeezenet{version.replace('.', '_')}", weights=None)
    assert cost.parameters == parameters_of(theirs)
    assert cost.macs == torch_macs(theirs, 224, channels=3)


@pytest.mark.parametrize(
    ("sr", "pct_3x3", "parameters", "mib"),
    [
        (0.125, 0.5, 1_248_424, 4.762),
        (0.25, 0.5, 1_967_080, 7.504),
        (0.5, 0.5, 3_404_392, 12.987),
        (0.75, 0.5, 4_841_704, 18.470),
        (1.0, 0.5, 6_279_016, 23.953),
        (0.5, 0.01, 1_478_248, 5.639),
        (0.5, 0.125, 1_929_832, 7.362),
        (0.5, 0.25, 2_421_352, 9.237),
        (0.5, 0.375, 2_912_872, 11.112),
        (0.5, 0.625, 3_895_912, 14.862),
        (0.5, 0.75, 4_387_432, 16.737),
        (0.5, 0.875, 4_878_952, 18.612),
        (0.5, 0.99, 5_330_536, 20.334),
    ],
)
def test_points_of_figure_3(sr, pct_3x3, parameters, mib):
    cost = count(SqueezeNetSpec(sr=sr, pct_3x3=pct_3x3))
    assert cost.parameters == parameters
    assert cost.size_bytes == 4 * parameters
    assert round(cost.size_mib, 3) == mib


def test_bypass_costs_of_table_3():
    assert count(SqueezeNetSpec(bypass="simple")).parameters == count(SqueezeNetSpec()).parameters
    complex_bypass = count(SqueezeNetSpec(bypass="complex"))
    assert complex_bypass.parameters == 1_589_672
    assert round(complex_bypass.size_mib, 2) == 6.06


def test_batch_normalisation_costs_nothing_once_folded():
    assert count(SqueezeNetSpec(norm="batch")) == count(SqueezeNetSpec())


@pytest.mark.parametrize("size", range(2, 24))
def test_map_sides_are_torchs(size):
    images = torch.empty(1, 1, size, size, device="meta")
    assert pool_side(size) == nn.MaxPool2d(3, 2, ceil_mode=True)(images).shape[-1]
    if size >= 7:
        assert conv_side(size, 7, 2, 0) == nn.Conv2d(1, 1, 7, 2, device="meta")(images).shape[-1]
    assert conv_side(size, 5, 1, 2) == nn.Conv2d(1, 1, 5, padding=2, device="meta")(images).shape[-1]


@pytest.mark.parametrize(
    ("spec", "smallest", "layer"),
    [
        # 21 -> conv1 8 -> pool1 4 -> pool4 2 -> pool8 1; 20 -> 7 -> 3 -> 1 -> nothing
        (SqueezeNetSpec(base_e=4, conv1=4), 21, "pool8"),
        # 17 -> conv1 8 -> pool1 4 -> pool3 2 -> pool5 1; 16 -> 7 -> 3 -> 1 -> nothing
        (SqueezeNetSpec(base_e=4, conv1=4, version="1.1"), 17, "pool5"),
        (AlexNetSpec(version="small", fc=4), 8, "pool5"),
    ],
)
def test_images_too_small_are_refused_and_the_smallest_works(spec, smallest, layer):
    assert build(spec).eval()(torch.zeros(1, 3, smallest, smallest)).shape == (1, 1000)
    assert count(spec, image_size=smallest).macs > 0
    with pytest.raises(SpecError) as caught:
        count(spec, image_size=smallest - 1)
    assert str(caught.value) == (f"image_size must be large enough to leave a map after {layer}, got {smallest - 1}")


GRID_FIELDS = ("base_e", "incr_e", "freq", "pct_3x3", "sr", "bypass", "fires", "conv1")


@pytest.mark.parametrize("version", ["1.0", "1.1", "small"])
@pytest.mark.parametrize("fires", [None, 1, 8])
@pytest.mark.parametrize("snap", [1, 16])
def test_grid_agrees_with_the_plan_point_by_point(version, fires, snap):
    draw = random.Random(f"{version}{fires}")
    fixed = {"version": version, "conv10_pad": 1, "classes": 17, "snap": snap}
    if fires is not None:
        fixed |= draw_macro(draw, fires)
    points = []
    while len(points) < 100:
        spec = draw_spec(draw)
        fields = {name: getattr(spec, name) for name in GRID_FIELDS}
        if fires is not None:
            fields |= {"fires": fires, "bypass": "complex" if spec.bypass == "simple" else spec.bypass}
        points.append(fields)
    points = [fields | {"bypass": usable_bypass(fields, fixed)} for fields in points]
    costs = count_grid(
        **{name: [fields[name] for fields in points] for name in GRID_FIELDS}, **fixed, image_size=61, channels=1
    )
    for i, fields in enumerate(points):
        cost = count(SqueezeNetSpec(**fields, **fixed), image_size=61, channels=1)
        assert [getattr(costs, name)[i] for name in COSTS] == [getattr(cost, name) for name in COSTS], fields


def usable_bypass(fields: dict, fixed: dict) -> str:
    """Its bypass, or "none" where this version's conv1 leaves a simple one nothing to do."""
    try:
        SqueezeNetSpec(**fields, **fixed)
    except SpecError:
        return "none"
    return fields["bypass"]


def test_grid_rounds_halves_as_the_plan_does():
    base_e = np.arange(1, 200)
    costs = count_grid(base_e=base_e, pct_3x3=0.5, sr=0.125)
    assert costs.parameters.tolist() == [count(SqueezeNetSpec(base_e=e)).parameters for e in base_e.tolist()]


def test_grid_broadcasts():
    sr = np.array([0.125, 0.25, 0.5, 0.75, 1.0])
    bypass = np.array(["none", "simple", "complex"])[:, None]
    costs = count_grid(sr=sr, bypass=bypass)
    assert costs.parameters.shape == costs.macs.shape == costs.activations.shape == (3, 5)
    assert costs.parameters[0].tolist() == [1_248_424, 1_967_080, 3_404_392, 4_841_704, 6_279_016]  # figure 3a
    assert (costs.parameters[0] == costs.parameters[1]).all()
    assert costs.parameters[2, 0] == 1_589_672
    assert count_grid().parameters.shape == ()
    assert count_grid(sr=np.array([])).parameters.shape == (0,)


def test_grid_takes_a_million_points():
    sr = np.linspace(0.001, 1, 1000)[:, None]
    costs = count_grid(sr=sr, pct_3x3=np.linspace(0, 1, 1000))
    assert costs.macs.shape == (1000, 1000)
    for i, k in [(0, 0), (8, 191), (8, 192), (500, 1), (999, 999)]:  # among them the borders of a chunk
        spec = SqueezeNetSpec(sr=float(sr[i, 0]), pct_3x3=float(np.linspace(0, 1, 1000)[k]))
        assert tuple(row[i, k] for row in costs) == tuple(count(spec))
