"""ONNX files of networks: the same function in fp32, nearly the same in int8, and readable by other programs."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from fire.arch import AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from fire.cost import count
from fire.export import graph, int8, runtime
from fire.export.tuning import Int8Output, Int8Weight
from fire.model import build, fold
from fire.weights import header
from fire.weights.formats import KEY
from fire.weights.header import Header, Preprocessing
from fire.weights.safetensors import Deployed

SIDE, CHANNELS = 33, 3
SMALL = {"version": "small", "base_e": 12, "incr_e": 4, "conv1": 8, "fires": 3, "classes": 7, "freq": 2}


def deployed(spec) -> Deployed:
    """A network with random weights, and norms that are not the identity."""
    network = build(spec, CHANNELS, seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    *_, weight, bias = network.parameters()
    for parameter in (weight, bias):  # else all logits are near 0
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    preprocessing = Preprocessing(image_size=SIDE, mean=[100.0] * CHANNELS, scale=[0.02] * CHANNELS)
    names = tuple(f"class {number}" for number in range(spec.classes))
    return Deployed(network=fold(network), header=Header(spec=spec, preprocessing=preprocessing, class_names=names))


def images(number: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(size=(number, 1, CHANNELS, SIDE, SIDE)).astype(np.float32))


def run(path, image: np.ndarray) -> np.ndarray:
    return runtime.session(path, exact=True).run(None, {graph.IMAGE: image})[0]


@pytest.mark.parametrize(
    "spec",
    [
        SqueezeNetSpec(**SMALL, bypass="complex", norm="batch", pools="1+3"),
        SqueezeNetSpec(**SMALL, bypass="simple", pct_3x3=0.0, stem_kernel=5, stem_stride=2),
        AlexNetSpec(version="small", fc=8, classes=3),
        ResNet8Spec(classes=3),
    ],
    ids=["complex", "simple", "alexnet", "resnet8"],
)
def test_the_fp32_file_computes_what_the_network_computes(tmp_path, spec):
    made = deployed(spec)
    path = tmp_path / "network.onnx"
    path.write_bytes(graph.fp32(made).SerializeToString())
    for image in images(3):
        with torch.inference_mode():
            expected = made.network(torch.from_numpy(image)).numpy()
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(run(path, image), expected, atol=1e-4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A network with everything that a Fire module can have, in fp32 and int8."""
    made = deployed(SqueezeNetSpec(**SMALL, bypass="complex", norm="batch"))
    fp32 = graph.fp32(made)
    rounded = int8.int8(fp32, images(20))
    folder = tmp_path_factory.mktemp("onnx")
    for name, model in (("fp32", fp32), ("int8", rounded)):
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    return made, folder


def nodes(path) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto], dict[str, np.ndarray]]:
    """The graph, its nodes by what they make, and its constants."""
    model = onnx.load(path)
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return model, {node.output[0]: node for node in model.graph.node}, constants


def test_the_inputs_and_the_output_of_a_concatenation_have_one_scale(files):
    _, folder = files
    model, maker, constants = nodes(folder / "int8.onnx")
    reader = {name: node for node in model.graph.node for name in node.input}
    concatenations = [node for node in model.graph.node if node.op_type == "Concat"]
    assert len(concatenations) == 3
    for node in concatenations:
        after = reader[node.output[0]]
        assert after.op_type == "QuantizeLinear"
        for name in node.input:
            assert maker[name].op_type == "DequantizeLinear"
            assert maker[maker[name].input[0]].op_type == "QuantizeLinear"
            for each in (maker[name], maker[maker[name].input[0]]):
                assert [constants[one] for one in each.input[1:]] == [constants[one] for one in after.input[1:]]
        assert constants[after.input[2]] == -128, "the range of a ReLU begins at 0"


def test_weights_have_a_scale_for_each_channel_and_activations_one(files):
    made, folder = files
    model, maker, constants = nodes(folder / "int8.onnx")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    layers = [layer for layer in made.network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(convolutions) == len(layers)
    for node in convolutions:
        image, weight, bias = (maker[name] for name in node.input)
        stored = constants[weight.input[0]]
        assert (stored.dtype, constants[bias.input[0]].dtype) == (np.int8, np.int32)
        assert constants[weight.input[1]].shape == (len(stored),)
        assert not constants[weight.input[2]].any(), "weights are symmetric"
        assert constants[image.input[1]].shape == ()


def test_the_int8_file_stays_near_the_network_and_other_programs_agree(files):
    made, folder = files
    reference = ReferenceEvaluator(onnx.load(folder / "int8.onnx"))  # ONNX's own, in NumPy
    for image in images(8, seed=1):
        with torch.inference_mode():
            expected = made.network(torch.from_numpy(image)).numpy()
        found = run(folder / "int8.onnx", image)
        assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max()
        step = np.abs(expected).max() / 100
        np.testing.assert_allclose(reference.run(None, {graph.IMAGE: image})[0], found, atol=2 * step)


def test_the_int8_file_is_little_larger_than_its_weights(files):
    made, folder = files
    cost = count(made.header.spec, SIDE, CHANNELS)
    overhead = (folder / "int8.onnx").stat().st_size - cost.flash_bytes
    model, _, _ = nodes(folder / "int8.onnx")
    assert overhead / len(model.graph.node) < 130, "bytes a node: names and shapes that nobody reads are left out"


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_a_file_says_what_goes_with_it(files, name):
    made, folder = files
    model = onnx.load(folder / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    (entry,) = [each for each in model.metadata_props if each.key == KEY]
    about = header.parse(entry.value)
    assert (about.preprocessing, about.class_names) == (made.header.preprocessing, made.header.class_names)
    assert about.spec == header.folded(made.header.spec)


def test_fine_tuning_rounds_as_the_file_does():
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    rounded = Int8Weight()(weight)
    levels = rounded / (weight.abs().amax((1, 2, 3), keepdim=True) / 127)
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert levels.abs().amax((1, 2, 3)).round().tolist() == [127] * 5

    hook = Int8Output()
    seen = torch.linspace(0, 5.1, 100)
    assert hook(torch.nn.ReLU(), (seen,), seen) is seen
    hook.is_learning = False
    found = hook(torch.nn.ReLU(), (seen,), torch.tensor([-1.0, 0.0, 0.031, 5.1, 9.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.04, 5.1, 5.1]))
