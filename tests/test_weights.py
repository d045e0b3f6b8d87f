import dataclasses
import json

import pytest
import safetensors.torch
import torch
import torchvision

from fire import pretrained
from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.errors import InputError
from fire.header import Preprocessing, tensor_shapes
from fire.model import build, fold
from fire.weights import Deployed, from_torchvision, load, read_torchvision, save

PREPROCESSING = {"image_size": 28, "mean": [72.94], "scale": [0.01]}
SPEC = SqueezeNetSpec(version="small", base_e=8, incr_e=8, conv1=8, classes=3, bypass="complex", norm="batch")


def deployed(spec=SPEC) -> Deployed:
    return Deployed(
        network=fold(build(spec, channels=1, seed=5)),
        spec=spec,
        preprocessing=Preprocessing(image_size=28, mean=[72.94], scale=[1 / 90.02]),
        class_names=("shirt", "été", "bag"),
    )


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "weights.safetensors", deployed())
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("spec", [SPEC, AlexNetSpec(version="small", fc=16, classes=3)], ids=["squeezenet", "alexnet"])
def test_round_trip(spec, tmp_path, generator):
    original = deployed(spec)
    save(tmp_path / "a.safetensors", original)
    read = load(tmp_path / "a.safetensors")
    state, expected = read.network.state_dict(), original.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    folded_norm = "none" if spec.norm == "batch" else spec.norm
    assert read.spec == dataclasses.replace(spec, norm=folded_norm)
    assert (read.preprocessing, read.class_names) == (original.preprocessing, original.class_names)
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


@pytest.mark.parametrize(
    "corrupt",
    [
        corrupt_truncated,
        corrupt_header,
        corrupt_empty,
        corrupt_text,
        corrupt_pickle,
        corrupt_foreign,
        corrupt_absent,
    ],
)
def test_what_is_no_whole_file_of_ours_is_refused_with_its_path(corrupt, path):
    corrupt(path)
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} must be a whole weights file of this program: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 99}, "format 99 is not 1"),
        ({"class_names": None}, "class_names"),
        ({"preprocessing": None}, "preprocessing"),
        ({"preprocessing": PREPROCESSING | {"scale": [0.0]}}, "scale must be of numbers above 0, got 0.0"),
        ({"preprocessing": PREPROCESSING | {"scale": [1e-320]}}, "scale must be of numbers above 0"),  # 0 in fp32
        ({"preprocessing": PREPROCESSING | {"mean": [1e308]}}, "mean must be of finite floats"),  # infinite in fp32
        ({"preprocessing": PREPROCESSING | {"scale": [0.5, 0.5]}}, "scale must be of 1 channels, got 2"),
        ({"preprocessing": PREPROCESSING | {"scale": ["a"]}}, "scale must be of finite floats"),
        ({"preprocessing": PREPROCESSING | {"image_size": 28.5}}, "image_size must be an integer"),
        ({"preprocessing": PREPROCESSING | {"stored_size": 20}}, "stored_size must be at least 28, got 20"),
        ({"preprocessing": PREPROCESSING | {"side": 20}}, "the header must be an object of"),
        ({"class_names": ["a", "b"]}, "class_names must be 3, got 2"),
        ({"class_names": "abc"}, "class_names must be a list of texts"),
        ({"arch": "abc"}, "dictionary update sequence"),
        ({"arch": {"family": "resnet"}}, "resnet"),
        ({"arch": {"family": "squeezenet", "sr": 7.0}}, "sr must be in (0, 1], got 7.0"),
        ({"arch": {"family": "squeezenet", "final_relu": "no"}}, "'final_relu' must be a field of squeezenet with a"),
        ({"arch": {"family": "squeezenet", "classes": 3}}, "conv1.bias must be of shape (96,), got (8,)"),
        ({"arch": {"family": "squeezenet", "base_e": 10**6, "classes": 3}}, "parameters must be at most"),
        ({"arch": {"family": "squeezenet", "conv10_pad": 200_000, "classes": 3}}, "activations must be at most"),
    ],
    ids=str,
)
def test_metadata_that_does_not_fit_is_refused(changes, reason, path):
    corrupt_metadata(path, **changes)
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensor: tensor.index_fill(0, torch.tensor([0]), float("nan")), "conv1.weight must be finite"),
        (lambda tensor: tensor.to(torch.int8), "conv1.weight must be of type float32, got int8"),
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
        load(path)
    assert reason in str(caught.value)


def torchvisions(**changes):
    state = {f"features.{i}.weight": torch.zeros(4, 3, 1, 1) for i in range(2)} | {"classifier.1.bias": torch.zeros(5)}
    return state | changes


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({3: torch.zeros(1)}, "TypeError"),
        (torchvisions(**{"classifier.1.bias": torch.zeros(1).expand(10**11)}), "must be stored whole, got 4 bytes"),
        (torchvisions(**{"classifier.1.bias": torch.zeros(5, dtype=torch.complex64)}), "must be of type float32"),
        (torchvisions(**{"classifier.1.bias": torch.full((5,), float("inf"))}), "classifier.1.bias must be finite"),
        (torchvisions(**{"classifier.1.bias": torch.tensor(1.0)}), "classes must be at least 2, got 1"),
        (torchvisions(), "the weights must be of 52 tensors for this network, got 3"),
    ],
    ids=["keys", "views", "complex", "infinite", "scalar", "another network"],
)
def test_state_dicts_that_are_no_weights_are_refused_before_anything_is_built(state, reason, tmp_path, monkeypatch):
    monkeypatch.setattr("fire.pretrained.build", None)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(InputError) as caught:
        pretrained.read(tmp_path / "bad.pth", SqueezeNetSpec())
    assert reason in str(caught.value)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_torchvisions_weights_give_torchvisions_logits(version, tmp_path, generator):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(f"squeezenet{version.replace('.', '_')}", weights=None).eval()
    torch.nn.init.normal_(theirs.classifier[1].bias, 1)  # so that few logits die in the last ReLU
    ours = build(SqueezeNetSpec(version=version)).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    shapes = tensor_shapes(SqueezeNetSpec(version=version), 3)
    ours.load_state_dict(from_torchvision(read_torchvision(tmp_path / "theirs.pth"), shapes))
    images = torch.randn(1, 3, 224, 224, generator=generator)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected)
    assert expected.std() > 0.1


@pytest.mark.parametrize(
    ("model", "spec", "message"),
    [
        ("squeezenet1_1", SqueezeNetSpec(), "conv1.weight must be a tensor of shape (96, 3, 7, 7), got features.0"),
        ("squeezenet1_0", SqueezeNetSpec(sr=0.25), "fire2.squeeze.weight must be a tensor of shape (32, 96, 1, 1)"),
        ("squeezenet1_0", SqueezeNetSpec(bypass="complex"), "the weights must be of 60 tensors for this network"),
        ("resnet18", SqueezeNetSpec(), "the weights must be of 52 tensors for this network, got 122"),
    ],
)
def test_another_models_weights_are_refused(model, spec, message):
    with torch.device("meta"):
        state = torchvision.models.get_model(model, weights=None).state_dict()
    with pytest.raises(InputError) as caught:
        from_torchvision(state, tensor_shapes(spec, 3))
    assert str(caught.value).startswith(message)


def test_weights_of_the_right_shapes_under_other_names_are_refused():
    state = build(SqueezeNetSpec(base_e=8, incr_e=8)).state_dict()
    with pytest.raises(InputError, match=r"conv1\.weight must be a tensor of shape .*, got conv1\.weight of shape"):
        from_torchvision(state, {name: tuple(tensor.shape) for name, tensor in state.items()})


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a zip"])
def test_what_torch_cannot_read_is_refused_with_its_path(content, tmp_path):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_torchvision(tmp_path / "bad.pth")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.pth'} must be a file of torch weights: ")


def test_the_same_network_gives_the_same_bytes(path, tmp_path):
    again = tmp_path / "again.safetensors"
    save(again, load(path))
    assert again.read_bytes() == path.read_bytes()
