"""What fire.model builds is a plain torch module: torch's own tools work on it, layer by layer."""

import copy
import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.ao.quantization
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from fire.arch import AlexNetSpec, ArchSpec, ResNet8Spec, SqueezeNetSpec
from fire.cost import count
from fire.machine.accelerate import accelerate
from fire.model import NormedConv2d, build, fold

NORMED = SqueezeNetSpec(
    version="small", base_e=8, incr_e=8, conv1=8, fires=3, norm="batch", bypass="complex", classes=5, dropout=0.0
)
SPECS = {
    "complex": NORMED,
    "simple": replace(NORMED, bypass="simple"),
    "without 3x3": replace(NORMED, bypass="none", pct_3x3=0.0),
    "without 1x1": replace(NORMED, bypass="none", pct_3x3=1.0),
    "without norm": replace(NORMED, norm="none", pct_3x3=1.0),
    "alexnet": AlexNetSpec(version="small", fc=16, classes=5, dropout=0.0),
    "alexnet, batch": AlexNetSpec(version="small", fc=16, classes=5, norm="batch", dropout=0.0),
    "resnet8": ResNet8Spec(classes=5),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def network_of(spec: ArchSpec, seed: int = 0) -> nn.Sequential:
    return build(spec, channels=1, seed=seed)


def images(count: int = 4) -> Tensor:
    x = torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


def two_steps(network: nn.Module, computed: nn.Module) -> None:
    """Two training steps of the network, whose logits `computed` gives."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(computed(images()), torch.arange(4)).backward()
        optimizer.step()


def faster(network: nn.Sequential, using: str) -> nn.Module:
    """As training has it: weights and maps are channels_last."""
    network.to(memory_format=torch.channels_last)
    return network if using == "plain" else accelerate(network, using)


def layers(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}


@each_spec
@pytest.mark.parametrize("training", [True, False])
def test_forward_hooks_on_every_module_run_once(spec, training):
    network = network_of(spec).train(training)
    runs: Counter[str] = Counter()
    for name, module in network.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: runs.update([name]))
    network(images())
    assert runs == Counter(name for name, _ in network.named_modules())


@each_spec
def test_backward_hooks_on_every_module_run(spec):
    network = network_of(spec)
    seen = set()
    for name, module in network.named_modules():
        module.register_full_backward_hook(lambda module, inputs, outputs, name=name: seen.add(name))
    F.cross_entropy(network(images().requires_grad_()), torch.arange(4)).backward()
    assert seen == {name for name, _ in network.named_modules()}


def test_a_hook_on_a_layer_sees_its_output_before_the_relu():
    network = network_of(SPECS["without norm"])
    outputs = []
    network.conv1.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
    network(images())
    assert torch.equal(outputs[0], F.conv2d(images(), network.conv1.weight, network.conv1.bias, padding=1))
    assert (outputs[0] < 0).any()


def test_layers_are_torchs_own_classes():
    deployed = fold(network_of(NORMED))
    assert {type(layer) for layer in layers(deployed).values()} == {nn.Conv2d}
    assert {type(layer) for layer in layers(network_of(SPECS["alexnet"])).values()} == {nn.Conv2d, nn.Linear}


def test_names_of_modules_and_tensors():
    # Files and checkpoints have these names.
    network = network_of(replace(NORMED, fires=1))
    assert [name for name, _ in network.named_children()] == [
        *("conv1", "relu_conv1", "pool1", "fire2", "conv3", "relu_conv3", "pool3", "flatten_pool3")
    ]
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert list(network.state_dict()) == [
        "conv1.weight",
        *(f"conv1.norm.{part}" for part in norm),
        "fire2.squeeze.weight",
        *(f"fire2.squeeze.norm.{part}" for part in norm),
        "fire2.expand1x1.weight",
        "fire2.expand3x3.weight",
        *(f"fire2.norm.{part}" for part in norm),
        "conv3.weight",
        "conv3.bias",
    ]
    wider = network_of(replace(NORMED, fires=1, base_e=16)).state_dict()
    assert [name for name in wider if "bypass" in name] == [
        "fire2.bypass.weight",
        *(f"fire2.bypass.norm.{part}" for part in norm),
    ]


@each_spec
def test_slices_are_networks(spec):
    network = network_of(spec).eval()
    first = network[:3]
    assert [name for name, _ in first.named_children()] == [name for name, _ in network.named_children()][:3]
    assert first[0] is network.conv1
    with torch.no_grad():
        assert torch.equal(network[3:](first(images())), network(images()))


def test_a_copy_computes_the_same_with_parameters_of_its_own():
    network = network_of(NORMED)
    copied = copy.deepcopy(network)
    assert torch.equal(copied(images()), network(images()))
    assert not {id(parameter) for parameter in copied.parameters()} & {id(p) for p in network.parameters()}


@each_spec
def test_torch_compile(spec):
    network = network_of(spec)
    expected = copy.deepcopy(network)(images())
    torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(images()), expected)
    torch.compiler.reset()


@each_spec
def test_torch_export(spec):
    network = network_of(spec).eval()
    exported = torch.export.export(network, (images(),)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images()), network(images()))


def test_onnx_export(tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = network_of(NORMED).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within the exporter
        torch.onnx.export(network, (images(),), tmp_path / "network.onnx", input_names=["images"], verbose=False)
    (logits,) = onnxruntime.InferenceSession(tmp_path / "network.onnx").run(None, {"images": images().numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), network(images()).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@each_spec
def test_fx_tracing(spec, training):
    network = network_of(spec).train(training)
    traced = torch.fx.symbolic_trace(copy.deepcopy(network))
    assert torch.equal(traced(images()), network(images()))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_by_tracing():  # torch.jit.script knows neither super().forward() nor conditions in comprehensions
    network = network_of(NORMED).eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.trace(network, images())(images()), network(images()))


def test_flops_by_module_are_the_costs_multiply_accumulates():
    spec = SqueezeNetSpec(norm="batch")
    with FlopCounterMode(display=False) as counter:
        build(spec).to("meta")(torch.empty(1, 3, 224, 224, device="meta"))
    flops = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    assert flops["Sequential.conv1"] == 2 * 96 * 3 * 7 * 7 * 109 * 109
    assert flops["Sequential.conv10"] == 2 * 512 * 1000 * 13 * 13
    by_layer = sum(flops[name] for name in flops if name.count(".") == 1)
    assert by_layer == flops["Global"] == 2 * count(spec).macs


@pytest.mark.parametrize("using", ["plain", "torch", "compiled"])
@each_spec
def test_pruning_every_layer_and_training(spec, using):
    network = network_of(spec)
    for layer in layers(network).values():
        prune.l1_unstructured(layer, "weight", amount=0.5)
    masks = {name: layer.weight_mask for name, layer in layers(network).items()}
    two_steps(network, faster(network, using))
    for name, layer in layers(network).items():
        prune.remove(layer, "weight")
        assert 0.4 < (layer.weight == 0).float().mean() < 0.6
        assert torch.equal(layer.weight == 0, masks[name] == 0), name


@pytest.mark.parametrize("using", ["plain", "torch", "compiled"])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.spectral_norm`:FutureWarning")
def test_spectral_norm_on_every_layer_gets_gradients(old, using):
    network = network_of(NORMED)
    for layer in layers(network).values():
        (nn.utils.spectral_norm if old else parametrizations.spectral_norm)(layer)
    F.cross_entropy(faster(network, using)(images()), torch.arange(4)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert "conv" not in name or parameter.grad.any(), name


@each_spec
def test_vmap_over_an_ensemble_in_evaluation(spec):
    networks = [network_of(spec, seed).eval() for seed in range(3)]
    parameters, buffers = torch.func.stack_module_state(networks)
    base = copy.deepcopy(networks[0]).to("meta")
    x = images()

    def logits(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(base, (parameters, buffers), (x,))

    expected = torch.stack([network(x) for network in networks])
    torch.testing.assert_close(torch.vmap(logits)(parameters, buffers), expected, rtol=1e-4, atol=1e-5)


def test_synchronised_batch_normalisation():
    network = network_of(NORMED)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    norms = [module for module in converted.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 0
    torch.testing.assert_close(converted(images()), network(images()))
    with torch.no_grad():
        torch.testing.assert_close(fold(converted)(images()), network.eval()(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # torch calls it deprecated, in several words
def test_dynamic_quantisation_finds_the_linear_layers():
    network = network_of(AlexNetSpec(version="small", fc=64, classes=10)).eval()
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    found = {name for name, module in quantised.named_modules() if isinstance(module, torch.ao.nn.quantized.Linear)}
    assert found == {"fc6", "fc7", "fc8"}
    assert quantised(images()).shape == (4, 10)


def test_folding_takes_weights_as_they_are_computed():
    network = network_of(NORMED)
    for layer in layers(network).values():
        parametrizations.spectral_norm(layer)
    network(images())  # moves the running statistics
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(fold(network)(images()), network(images()), rtol=1e-4, atol=1e-5)


def test_normalisation_that_cannot_be_folded():
    network = network_of(NORMED)
    assert isinstance(network.conv1, NormedConv2d)
    network.conv1.norm = nn.GroupNorm(2, 8)
    with pytest.raises(
        ValueError, match="normalisation must be batch normalisation with running statistics, got Group"
    ):
        fold(network)
