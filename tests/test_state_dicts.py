"""Tensors in torchvision's names, in the files in which people have them."""

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.weights import pretrained
from fire.weights.formats import describe, remarks
from fire.weights.torchvision import FEATURES, our_names

V1_1 = SqueezeNetSpec(version="1.1", classes=3)


def torchvisions(version: str = "1.1", classes: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    name = f"squeezenet{version.replace('.', '_')}"
    network = torchvision.models.get_model(name, weights=None, num_classes=classes).eval()
    torch.nn.init.normal_(network.classifier[1].bias, 1)  # so that few logits die in the last ReLU
    return network


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return dict(torchvisions().state_dict())


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_torchvisions_networks_are_told_by_their_tensors(version, tmp_path, generator):
    theirs = torchvisions(version)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    about = describe(tmp_path / "theirs.pth")
    assert about.spec == SqueezeNetSpec(version=version, classes=3)
    assert (about.says_arch, about.names_classes, about.class_names) == (False, False, ("0", "1", "2"))
    deployed = pretrained.read(tmp_path / "theirs.pth")
    image = torch.rand(1, 3, 224, 224, generator=generator)
    mean, scale = (
        torch.tensor(value).view(1, 3, 1, 1)
        for value in (deployed.header.preprocessing.mean, deployed.header.preprocessing.scale)
    )
    usual = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = theirs(usual(image))
        torch.testing.assert_close(deployed.network((255 * image - mean) * scale), expected)
    assert expected.std() > 0.1


@pytest.mark.parametrize("version", FEATURES)
def test_the_numbers_of_layers_are_torchvisions(version):
    numbers = {int(name.split(".")[1]) for name in torchvisions(version).state_dict() if name.startswith("features")}
    assert tuple(sorted(numbers)) == FEATURES[version]


@pytest.mark.parametrize("spec", [V1_1, SqueezeNetSpec(version="small", final_relu=False, norm="batch", classes=10)])
def test_an_architecture_that_is_given_is_used_if_the_tensors_fit(spec, state, tmp_path):
    torch.save(state, tmp_path / "a.pth")
    read = pretrained.read(tmp_path / "a.pth", spec)
    assert read.header.spec.version == spec.version
    assert read.header.spec.final_relu == spec.final_relu
    assert read.header.spec.classes == 3  # the file says how many
    for ours, theirs in describe(tmp_path / "a.pth").names.items():
        assert torch.equal(read.network.state_dict()[ours], state[theirs])


def test_layers_follow_their_numbers_not_the_order_of_the_file(state):
    names = our_names(state)
    assert list(names.items())[:4] == [
        ("conv1.weight", "features.0.weight"),
        ("conv1.bias", "features.0.bias"),
        ("fire2.squeeze.weight", "features.3.squeeze.weight"),
        ("fire2.squeeze.bias", "features.3.squeeze.bias"),
    ]
    assert names["fire9.expand3x3.bias"] == "features.12.expand3x3.bias"
    assert list(names.items())[-1] == ("conv10.bias", "classifier.1.bias")
    assert list(our_names(sorted(state)).items()) == list(names.items())


def under(key):
    return lambda state: {"epoch": 7, key: state, "optimizer": {"state": {0: torch.zeros(2)}, "lr": 0.1}}


def prefixed(prefix):
    return lambda state: OrderedDict((prefix + name, tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    "wrapped",
    [
        dict,
        lambda state: dict(sorted(state.items(), reverse=True)),
        under("state_dict"),
        under("model"),
        under("model_state_dict"),
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        lambda state: under("state_dict")(prefixed("model.")(state)),
    ],
    ids=["plain", "order", "state_dict", "model", "model_state_dict", "module", "_orig_mod", "both", "lightning"],
)
def test_state_dicts_are_read_whatever_is_around_them(wrapped, state, tmp_path):
    torch.save(wrapped(state), tmp_path / "a.pth")
    read = pretrained.read(tmp_path / "a.pth")
    assert read.header.spec == V1_1
    assert torch.equal(read.network.fire2.expand3x3.weight, state["features.3.expand3x3.weight"])


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt", "a.pth.tar", "A.PTH", "a.Pt", "a.safetensors"])
def test_files_are_known_by_many_suffixes(name, state, tmp_path):
    save = safetensors.torch.save_file if name.endswith("safetensors") else torch.save
    save(state, tmp_path / name)
    assert pretrained.read(tmp_path / name).header.spec == V1_1


def test_the_older_format_of_torch_is_read(state, tmp_path):
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert pretrained.read(tmp_path / "a.pth").header.spec == V1_1


@pytest.mark.parametrize("name", ["a.onnx", "a.tar", "pth", "a"])
def test_other_suffixes_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"weights must be a file \.safetensors, \.fcn, \.net, \.pth, .*, got"):
        describe(tmp_path / name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_computed_in_float32_and_named(dtype, state, tmp_path):
    torch.save({name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "a.pth")
    read = pretrained.read(tmp_path / "a.pth")
    assert {tensor.dtype for tensor in read.network.state_dict().values()} == {torch.float32}
    assert torch.equal(read.network.conv1.weight, state["features.0.weight"].to(dtype).float())
    (remark,) = remarks(describe(tmp_path / "a.pth"), read.header.spec)
    said = str(dtype).removeprefix("torch.")
    assert remark == f"{tmp_path / 'a.pth'} is stored as {said}; all is computed in float32"


BIAS = "classifier.1.bias"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: {**state, BIAS: torch.zeros(1).expand(10**11)}, f"{BIAS} must be stored whole, got 4 bytes"),
        (lambda state: {**state, BIAS: state[BIAS].to(torch.complex64)}, f"{BIAS} must be of type float32, float16,"),
        (lambda state: {**state, BIAS: state[BIAS].to(torch.int32)}, f"{BIAS} must be of type float32, float16,"),
        (lambda state: {**state, BIAS: torch.full((3,), float("inf"))}, "bias must be finite in float32, got inf"),
        (lambda state: {**state, BIAS: torch.full((3,), 1e300, dtype=torch.float64)}, "in float32, got 1e+300"),
        (lambda state: {**state, BIAS: torch.tensor(1.0)}, "last layer of 2 classes or more, got the shape ()"),
        (lambda state: {**state, BIAS: state[BIAS].to_sparse()}, f"{BIAS} must be a dense tensor, got one that is s"),
        (lambda state: {**state, BIAS: torch.empty(3, device="meta")}, f"{BIAS} must be a dense tensor, got one"),
        (lambda state: {**state, 3: torch.zeros(1)}, "nothing but tensors by name, got 3: Tensor"),
        (lambda state: {**state, "epoch": 3}, "nothing but tensors by name, got 'epoch': int"),
        (lambda state: {**state, "bn1.weight": torch.zeros(1)}, "torchvision's names, got 'bn1.weight'"),
        (lambda state: {**state, "module.features.0.bias": torch.zeros(1)}, "got the prefixes '', 'module.'"),
        (lambda state: {**state, "features.03.squeeze.bias": torch.zeros(1)}, "tensors of a SqueezeNet once, got 53"),
        (lambda state: {**state, "features.4.weight": torch.zeros(1)}, "names, got 'features.4.weight'"),
        (lambda state: {}, "it must hold a dict of tensors, got dict"),
        (lambda state: [state], "it must hold a dict of tensors, got list"),
        (lambda state: torch.zeros(3), "it must hold a dict of tensors, got Tensor"),
        (lambda state: torch.nn.Conv2d(1, 1, 1), "it holds a pickled torch.nn.modules.conv.Conv2d, which is not read"),
        (lambda state: {"model": state, "best": np.float64(3)}, "it holds a pickled numpy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_state_dicts_that_are_no_weights_are_refused(change, reason, state, tmp_path, monkeypatch):
    monkeypatch.setattr("fire.weights.pretrained.build", None)  # before anything is built
    path = tmp_path / "bad.pth"
    torch.save(change(state), path)
    with pytest.raises(InputError) as caught:
        pretrained.read(path)
    assert str(caught.value).startswith("weights must be ")
    assert f", got {str(path)!r}: " in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "spec", "message"),
    [
        ("squeezenet1_1", SqueezeNetSpec(), "conv1.weight must be of shape (96, 3, 7, 7), got (64, 3, 3, 3)"),
        ("squeezenet1_0", SqueezeNetSpec(sr=0.25), "fire2.squeeze.weight must be of shape (32, 96, 1, 1), got (16"),
        ("squeezenet1_0", SqueezeNetSpec(bypass="complex"), "fire2.bypass.weight must be of shape (128, 96, 1"),
        ("squeezenet1_0", SqueezeNetSpec(fires=7), "conv9.weight must be of shape (1000, 512, 1, 1), got none"),
    ],
)  # fmt: skip
def test_another_architecture_is_refused(model, spec, message, tmp_path):
    torch.save(torchvision.models.get_model(model, weights=None).state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError) as caught:
        pretrained.read(tmp_path / "a.pth", spec)
    assert str(caught.value).startswith(f"arch must be the network of {tmp_path / 'a.pth'}: {message}")


@pytest.mark.parametrize("change", ["shape", "number"])
def test_where_nothing_says_what_network_it_is_that_must_be_given(change, state, tmp_path):
    renamed = {name.replace("features.12.", "features.13."): tensor for name, tensor in state.items()}
    narrow = {**state, "features.3.squeeze.bias": torch.zeros(5)}
    path = tmp_path / "a.pth"
    torch.save(narrow if change == "shape" else renamed, path)
    assert describe(path).spec is None
    with pytest.raises(InputError, match=rf"arch must be given for {path}: it holds tensors alone"):
        pretrained.read(path)
    if change == "number":  # a pool lies elsewhere, as in no network of torchvision's, but the tensors fit
        assert pretrained.read(path, V1_1).header.spec == V1_1
        (remark,) = remarks(describe(path), V1_1)
        assert remark.startswith(f"{path} does not say of which network its tensors are")


def test_another_models_weights_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18(num_classes=3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"tensors of a SqueezeNet in torchvision's names, got 'conv1\.weight'"):
        describe(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("write", "rule", "reason"),
    [
        (lambda path, whole: path.write_bytes(b""), "a whole file of", "it is empty"),
        (lambda path, whole: path.write_bytes(b"no weights"), "a whole file of", "cut off, damaged, or no such file"),
        (lambda path, whole: path.write_bytes(b"PK\x03\x04 half a zip"), "a whole file of", "cut off, damaged, or no"),
        (lambda path, whole: path.write_bytes(whole[:-1000]), "a whole file of", "cut off, damaged, or no such file"),
        (lambda path, whole: path.write_bytes(whole[:5000]), "a whole file of", "cut off, damaged, or no such file"),
        (lambda path, whole: path.write_bytes(pickle.dumps({"a": 3})), "a whole file of", "cut off, damaged, or no"),
        (lambda path, whole: path.mkdir(), "a whole file of", "it is a directory"),
        (lambda path, whole: None, "a readable file", "No such file or directory"),
    ],
    ids=["empty", "text", "half a zip", "truncated", "a little", "pickle", "directory", "absent"],
)
def test_what_torch_cannot_read_is_refused_with_its_path(write, rule, reason, state, tmp_path):
    torch.save(state, tmp_path / "whole.pth")
    path = tmp_path / "bad.pth"
    write(path, (tmp_path / "whole.pth").read_bytes())
    with pytest.raises(InputError) as caught:
        describe(path)
    assert str(caught.value).startswith(f"weights must be {rule}")
    assert reason in str(caught.value).partition(f", got {str(path)!r}: ")[2]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [torch.save, safetensors.torch.save_file])
def test_a_damaged_file_is_refused_whatever_its_readers_raise(write, state, tmp_path):
    write({name: tensor for name, tensor in state.items() if "features" not in name}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / ("bad.pth" if write is torch.save else "bad.safetensors")
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole) - 2000, len(whole), 200) if write is torch.save else rng.integers(0, 400, 200):
        broken = bytearray(whole)
        broken[place] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        with pytest.raises(InputError, match=str(path)):  # undamaged, too: nothing says which network it is of
            pretrained.read(path)


def test_a_small_file_of_packed_zeros_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    torch.save({"features.0.weight": torch.zeros(10**6)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    monkeypatch.setattr(torch, "load", None)  # which would unpack
    with pytest.raises(InputError, match=r"it must be stored without compression, got 4,\d{3},\d{3} bytes packed"):
        describe(tmp_path / "packed.pth")
