import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fire import blocks
from fire.arch import AlexNetSpec, ArchSpec, ResNet8Spec, SqueezeNetSpec
from fire.model import Fire, build, fold

SPECS = [
    SqueezeNetSpec(base_e=8, incr_e=8, conv1=12, classes=7),
    SqueezeNetSpec(base_e=8, incr_e=8, conv1=12, classes=7, version="1.1", bypass="simple"),
    SqueezeNetSpec(base_e=8, incr_e=8, conv1=12, classes=7, version="small", bypass="complex", final_relu=False),
    SqueezeNetSpec(base_e=8, incr_e=8, conv1=12, classes=7, pct_3x3=0, bypass="complex", conv10_pad=1),
    SqueezeNetSpec(base_e=8, incr_e=8, conv1=12, classes=7, pct_3x3=1, bypass="simple"),
    AlexNetSpec(version="small", fc=24, classes=7),
    ResNet8Spec(norm="none", classes=7),
]


def describe(spec: ArchSpec) -> str:
    if not isinstance(spec, SqueezeNetSpec):
        return f"{type(spec).__name__}-{spec.norm}"
    return f"{spec.version}-{spec.bypass}-{spec.pct_3x3}"


def randomise(network: nn.Sequential, generator: torch.Generator) -> nn.Sequential:
    """Biases, scales and running statistics that are neither 0 nor 1, as after training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.3, generator=generator)
    return network


def by_the_plan(plan: blocks.Plan, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The logits as the paper describes the network: layer by layer, every ReLU right after its convolution."""

    def convolve(name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    for block in plan:
        match block:
            case blocks.Conv():
                x = convolve(block.name, x, stride=block.stride, padding=block.pad, groups=block.groups)
                x = F.relu(x) if block.relu else x
            case blocks.Fire():
                squeezed = F.relu(convolve(f"{block.name}.squeeze", x))
                branches = []
                if block.e1x1:
                    branches.append(convolve(f"{block.name}.expand1x1", squeezed))
                if block.e3x3:
                    branches.append(convolve(f"{block.name}.expand3x3", squeezed, padding=1))
                y = F.relu(torch.cat(branches, 1))
                if block.bypass == "identity":
                    y = y + x
                if block.bypass == "conv":
                    y = y + F.relu(convolve(f"{block.name}.bypass", x))
                x = y
            case blocks.Residual():
                y = F.relu(convolve(f"{block.name}.conv1", x, stride=block.stride, padding=1))
                y = convolve(f"{block.name}.conv2", y, padding=1)
                if block.name != "stack1":
                    x = convolve(f"{block.name}.shortcut", x, stride=block.stride)
                x = F.relu(y + x)
            case blocks.MaxPool():
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            case blocks.LocalResponseNorm():
                x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75)
            case blocks.AveragePool():
                x = F.adaptive_avg_pool2d(x, block.size)
            case blocks.Linear():
                x = F.linear(x.flatten(1), weights[f"{block.name}.weight"], weights[f"{block.name}.bias"])
                x = F.relu(x) if block.relu else x
    return x.flatten(1)


@pytest.mark.parametrize("spec", SPECS, ids=describe)
def test_network_computes_what_the_plan_says(spec, generator):
    network = randomise(build(spec), generator).eval()
    images = torch.randn(3, 3, 50, 50, generator=generator)
    with torch.no_grad():
        logits = network(images)
        expected = by_the_plan(spec.plan(), network.state_dict(), images)
    assert logits.shape == (3, 7)
    assert logits.std() > 1e-3
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("bypass", ["none", "simple", "complex"])
@pytest.mark.parametrize("pct_3x3", [0, 0.3, 1])
def test_folding_keeps_the_function(bypass, pct_3x3, generator):
    spec = SqueezeNetSpec(
        base_e=8, incr_e=8, conv1=12, classes=7, norm="batch", bypass=bypass, pct_3x3=pct_3x3, version="small"
    )
    network = randomise(build(spec), generator).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold(network)
    images = torch.randn(3, 3, 20, 20, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("spec", [AlexNetSpec(version="small", fc=24, norm="batch", classes=7), ResNet8Spec()])
def test_folding_other_families_keeps_the_function(spec, generator):
    network = randomise(build(spec), generator).eval()
    images = torch.randn(2, 3, 28, 28, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(fold(network)(images), network(images), rtol=1e-4, atol=1e-4)


def test_folded_network_has_the_names_of_one_without_norm():
    spec = SqueezeNetSpec(base_e=8, incr_e=8, bypass="complex", norm="batch")
    plain = SqueezeNetSpec(base_e=8, incr_e=8, bypass="complex")
    assert fold(build(spec)).state_dict().keys() == build(plain).state_dict().keys()


def test_fire_module_puts_the_1x1_outputs_first(generator):
    module = Fire(blocks.Fire(name="fire2", inputs=4, s1x1=3, e1x1=5, e3x3=6))
    x = torch.randn(2, 4, 9, 9, generator=generator)
    with torch.no_grad():
        y = module(x)
        squeezed = F.relu(F.conv2d(x, module.squeeze.weight, module.squeeze.bias))
        assert y.shape == (2, 11, 9, 9)
        torch.testing.assert_close(y[:, :5], F.relu(module.expand1x1(squeezed)))


def test_no_relu_follows_the_bypass(generator):
    module = Fire(blocks.Fire(name="fire3", inputs=8, s1x1=2, e1x1=4, e3x3=4, bypass="identity"))
    x = -torch.rand(1, 8, 5, 5, generator=generator) - 100
    with torch.no_grad():
        assert (module(x) < 0).any()


def test_initial_weights_follow_the_seed():
    spec = SqueezeNetSpec(base_e=8, incr_e=8, classes=5)
    first, same, other = (build(spec, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


@pytest.mark.parametrize(("init", "gain"), [("xavier", 1), ("he", 2)])
@pytest.mark.parametrize("layer", ["conv1", "fire9.squeeze", "fire9.expand3x3"])
def test_variance_of_the_initial_weights(init, gain, layer):
    weight = build(SqueezeNetSpec(), init=init).state_dict()[f"{layer}.weight"]
    fan_in = weight.shape[1] * weight.shape[2] * weight.shape[3]
    # At least 14,000 draws: the sample variance is within a few percent.
    assert abs(weight.var().item() * fan_in / gain - 1) < 0.06
    assert abs(weight.mean().item()) * fan_in**0.5 < 0.06
    if init == "xavier":  # Caffe's filler is uniform
        limit = (3 / fan_in) ** 0.5
        assert 0.99 * limit < weight.abs().max() <= limit


@pytest.mark.parametrize("init", ["xavier", "he"])
def test_last_layer_starts_gaussian_with_std_0_01_and_biases_at_0(init):
    state = build(SqueezeNetSpec(), init=init).state_dict()
    assert abs(state["conv10.weight"].std().item() - 0.01) < 1e-4
    assert state["conv10.weight"].abs().max() > 0.03
    assert all((tensor == 0).all() for name, tensor in state.items() if name.endswith("bias"))
    alexnet = build(AlexNetSpec(version="small", fc=256), init=init).state_dict()
    assert abs(alexnet["fc8.weight"].std().item() - 0.01) < 1e-4


def test_batch_normalisation_starts_as_the_identity():
    state = build(SqueezeNetSpec(base_e=8, norm="batch")).state_dict()
    for kind, value in (("norm.weight", 1), ("norm.bias", 0), ("running_mean", 0), ("running_var", 1)):
        tensors = [tensor for name, tensor in state.items() if name.endswith(kind)]
        assert len(tensors) == 17  # conv1, and squeeze and expand of 8 modules
        assert all((tensor == value).all() for tensor in tensors)


def test_building_leaves_torchs_global_generator_alone():
    before = torch.get_rng_state()
    build(SqueezeNetSpec(base_e=8, norm="batch", bypass="complex"), init="xavier")
    assert torch.equal(torch.get_rng_state(), before)
