import dataclasses
import json
import os

import pytest
import safetensors.torch
import torch

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.errors import InputError
from fire.model import build, fold
from fire.weights import pretrained
from fire.weights.formats import describe, remarks
from fire.weights.header import Header, Preprocessing
from fire.weights.safetensors import Deployed, save

WHOLE = "a whole .safetensors file of weights"
SPEC = SqueezeNetSpec(version="small", base_e=8, incr_e=8, conv1=8, classes=3, bypass="complex", norm="batch")


def deployed(spec=SPEC) -> Deployed:
    preprocessing = Preprocessing(image_size=28, mean=[72.94], scale=[1 / 90.02])
    header = Header(spec=spec, preprocessing=preprocessing, class_names=("shirt", "été", "bag"))
    return Deployed(network=fold(build(spec, channels=1, seed=5)), header=header)


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "weights.safetensors", deployed())
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("spec", [SPEC, AlexNetSpec(version="small", fc=16, classes=3)], ids=["squeezenet", "alexnet"])
def test_round_trip(spec, tmp_path, generator):
    original = deployed(spec)
    save(tmp_path / "a.safetensors", original)
    read = pretrained.read(tmp_path / "a.safetensors")
    state, expected = read.network.state_dict(), original.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    folded_norm = "none" if spec.norm == "batch" else spec.norm
    assert read.header == dataclasses.replace(original.header, spec=dataclasses.replace(spec, norm=folded_norm))
    images = torch.randn(2, 1, 28, 28, generator=generator)
    with torch.no_grad():
        assert torch.equal(read.network(images), original.network(images))  # dropout is off: both in evaluation mode


def test_file_is_plain_safetensors_with_the_papers_names(path):
    tensors = safetensors.torch.load_file(path)
    assert tensors["fire2.squeeze.weight"].shape == (1, 8, 1, 1)
    assert tensors["fire9.expand3x3.bias"].dtype == torch.float32


def corrupt_truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def corrupt_header(path):
    content = bytearray(path.read_bytes())
    content[20:60] = b"?" * 40
    path.write_bytes(content)


def corrupt_empty(path):
    path.write_bytes(b"")


def corrupt_text(path):
    path.write_text("these are no weights\n" * 50)


def corrupt_pickle(path):
    torch.save({"weight": torch.zeros(3)}, path)


def corrupt_foreign(path):
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)


def corrupt_absent(path):
    path.unlink()


def corrupt_metadata(path, **changes):
    with safetensors.safe_open(path, framework="pt") as file:
        content = json.loads(file.metadata()["deployed"]) | changes
    metadata = {"deployed": json.dumps({name: value for name, value in content.items() if value is not None})}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata)


def corrupt_directory(path):
    path.unlink()
    path.mkdir()


def corrupt_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("corrupt", "rule", "reason"),
    [
        (corrupt_truncated, WHOLE, "metadata"),
        (corrupt_header, WHOLE, "header"),
        (corrupt_empty, WHOLE, "it is empty"),
        (corrupt_text, WHOLE, "header"),
        (corrupt_pickle, WHOLE, "header"),
        (corrupt_foreign, WHOLE, "torchvision's names, got 'weight' (nor is there 'deployed' in its metadata, as in"),
        (corrupt_directory, WHOLE, "it is a directory"),
        (corrupt_pipe, WHOLE, "it is a device or a pipe"),
        (corrupt_absent, "a readable file", "No such file or directory"),
    ],
)
def test_what_is_no_whole_file_of_ours_is_refused_with_its_path_and_the_reason(corrupt, rule, reason, path):
    corrupt(path)
    for read in (describe, pretrained.read):
        with pytest.raises(InputError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"weights must be {rule}, got {str(path)!r}: ")
        assert reason in message.partition(str(path))[2]
        assert "\n" not in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 99}, "the header must be of format 1, got {'format': 99"),
        ({"class_names": ["a", "b"]}, "class_names must be 3, got 2"),
        (
            {"arch": {"family": "squeezenet", "classes": 3}},
            "conv1.weight must be of shape (96, 1, 7, 7), got (8, 1, 3, 3)",
        ),
        ({"arch": {"family": "squeezenet", "base_e": 10**6, "classes": 3}}, "parameters must be at most"),
    ],
    ids=str,
)
def test_metadata_that_does_not_fit_is_refused(changes, reason, path):
    corrupt_metadata(path, **changes)
    with pytest.raises(InputError) as caught:
        pretrained.read(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda tensor: tensor.index_fill(0, torch.tensor([0]), float("nan")),
            "conv1.weight must be finite in float32",
        ),
        (lambda tensor: tensor.double().fill_(-1e39), "conv1.weight must be finite in float32, got -1e+39"),
        (lambda tensor: tensor.to(torch.int8), "conv1.weight must be of type float32, float16, bfloat16, float64, got"),
        (lambda tensor: tensor[:1], "conv1.weight must be of shape (8, 1, 3, 3), got (1, 1, 3, 3)"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(change, reason, path):
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = safetensors.torch.load_file(path)
    state["conv1.weight"] = change(state["conv1.weight"])
    safetensors.torch.save_file(state, path, metadata)
    with pytest.raises(InputError) as caught:
        pretrained.read(path)
    assert reason in str(caught.value)


def test_the_same_network_gives_the_same_bytes(path, tmp_path):
    again = tmp_path / "again.safetensors"
    save(again, pretrained.read(path))
    assert again.read_bytes() == path.read_bytes()


def test_metadata_that_is_no_json_is_refused(path):
    tensors = safetensors.torch.load_file(path)
    for text in ("abc", "[" * 10**5, "[]"):
        safetensors.torch.save_file(tensors, path, {"deployed": text})
        with pytest.raises(InputError, match="the header must be"):
            pretrained.read(path)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (torch.float16, "float16 and float32"),
        (torch.bfloat16, "bfloat16 and float32"),
        (torch.float64, "float32 and float64"),
    ],
)
def test_other_floats_are_computed_in_float32_and_named(dtype, said, path, tmp_path):
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = safetensors.torch.load_file(path)
    state["conv1.weight"] = state["conv1.weight"].to(dtype)
    safetensors.torch.save_file(state, path, metadata)
    read = pretrained.read(path)
    assert {tensor.dtype for tensor in read.network.state_dict().values()} == {torch.float32}
    assert torch.equal(read.network.conv1.weight, state["conv1.weight"].float())
    assert remarks(describe(path), read.header.spec) == [f"{path} is stored as {said}; all is computed in float32"]


def test_float32_is_not_remarked_on(path):
    assert remarks(describe(path), SPEC) == []


def test_a_file_is_described_without_its_numbers(path):
    about = describe(path)
    assert (about.spec, about.class_names) == (dataclasses.replace(SPEC, norm="none"), ("shirt", "été", "bag"))
    state = safetensors.torch.load_file(path)
    assert about.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert (about.says_arch, about.names_classes, about.types) == (True, True, ("float32",))


def test_the_architecture_of_a_file_that_says_its_own_is_not_asked_for(path):
    with pytest.raises(InputError) as caught:
        pretrained.read(path, SPEC)
    assert str(caught.value) == f"arch must be left out for {path}, which says its own"
