"""python -m sweep.evaluate: which network and which images it takes, and what it says of them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.model import build
from fire.weights import safetensors
from fire.weights.header import Header, Preprocessing
from sweep.commands import exits
from sweep.evaluate import _main as evaluate_command
from sweep.evaluate import evaluate
from tests.pictures import truncate

TINY = SqueezeNetSpec(version="small", base_e=4, incr_e=4, fires=1, conv1=4, classes=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A square picture of each of two classes."""
    root = tmp_path_factory.mktemp("images")
    for number, name in enumerate(("cat", "dog")):
        (root / "val" / name).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (100, 100, 3), np.uint8)
        Image.fromarray(pixels).save(root / "val" / name / "0.png")
    return root


@pytest.fixture(scope="module")
def images(folder, tmp_path_factory):
    return ["data=image_folder", f"data.root={folder}", f"data_dir={tmp_path_factory.mktemp('data')}", "threads=1"]


@pytest.fixture(scope="module")
def v1_1(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "v1_1.pth"
    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1(num_classes=2)
    torch.nn.init.normal_(theirs.classifier[1].weight, 0, 0.2)  # so that networks differ in the digits that are printed
    torch.nn.init.normal_(theirs.classifier[1].bias, 1)
    torch.save(theirs.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A file of this program's that expects images of 24 pixels, cut from 32."""
    expects = Preprocessing(image_size=24, stored_size=32, mean=[100.0] * 3, scale=[0.02] * 3)
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    network = build(TINY).eval()
    torch.nn.init.normal_(network.conv3.weight, generator=torch.Generator().manual_seed(0))
    header = Header(spec=TINY, preprocessing=expects, class_names=("cat", "dog"))
    safetensors.save(path, safetensors.Deployed(network=network, header=header))
    return path


def loss(lines: list[str]) -> float:
    (found,) = re.findall(r"loss (\S+)", "\n".join(lines))
    return float(found)


def torchvisions_loss(path, folder, size: int = 224, stored: int = 256) -> float:
    """By torchvision alone: its network, its transforms."""
    theirs = torchvision.models.squeezenet1_1(num_classes=2).eval()
    theirs.load_state_dict(torch.load(path))
    usual = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(stored),
            torchvision.transforms.CenterCrop(size),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    data = torchvision.datasets.ImageFolder(folder / "val", usual)
    with torch.no_grad():
        logits = theirs(torch.stack([image for image, _ in data]))
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor([label for _, label in data])))


def test_torchvisions_network_is_judged_as_torchvision_judges_it(v1_1, folder, images):
    lines = evaluate(v1_1, images)
    assert "the tensors are those of torchvision's squeezenet1_1" in lines
    assert loss(lines) == pytest.approx(torchvisions_loss(v1_1, folder), rel=1e-3)


@pytest.mark.parametrize(
    ("arch", "remark"),
    [
        (["arch=squeezenet_small"], "arch.version=small (trained with 1.1), arch.final_relu=False (trained with True)"),
        (["arch.version=small"], "arch.version=small (trained with 1.1)"),
        (["arch.bypass=simple"], "arch.bypass=simple (trained with none)"),
        (["arch=squeezenet_v1_1", "arch.conv10_pad=1"], "arch.conv10_pad=1 (trained with 0)"),
    ],
    ids=str,
)
def test_an_architecture_that_is_typed_is_used_and_named(arch, remark, v1_1, images):
    plain, typed = evaluate(v1_1, images), evaluate(v1_1, [*images, *arch])
    assert f"{v1_1} is used in another network with tensors of the same shapes: {remark}" in typed
    assert loss(plain) != loss(typed)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (["arch=squeezenet_v1_0"], r"arch must be the network of .*v1_1\.pth: conv1\.weight must be of shape \(96, "),
        (["arch.sr=0.5"], r"arch must be the network of .*v1_1\.pth: fire2\.squeeze\.weight must be of shape \(64, "),
        (["arch.classes=5"], r"arch\.classes must be 2 for .*v1_1\.pth, got 5"),
    ],
)
def test_an_architecture_that_does_not_fit_is_refused(arch, message, v1_1, images):
    with pytest.raises(InputError, match=message):
        evaluate(v1_1, [*images, *arch])


def test_fields_of_an_architecture_that_nothing_says_are_refused(v1_1, images, tmp_path):
    state = torch.load(v1_1)
    state["features.3.squeeze.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "a.pth")
    for arch in ([], ["arch.bypass=simple"]):
        with pytest.raises(InputError, match=r"arch must be given for .*a\.pth"):
            evaluate(tmp_path / "a.pth", [*images, *arch])


@pytest.mark.parametrize("arch", ["arch=squeezenet_small", "arch.sr=0.5"])
def test_files_that_say_their_architecture_take_no_other(arch, own, images):
    with pytest.raises(InputError, match=r"arch must be left out for .*own\.safetensors, which says its own"):
        evaluate(own, [*images, arch])


def test_half_precision_is_said(v1_1, images, tmp_path):
    path = tmp_path / "half.pth"
    torch.save({name: tensor.half() for name, tensor in torch.load(v1_1).items()}, path)
    lines = evaluate(path, images)
    assert f"{path} is stored as float16; all is computed in float32" in lines
    assert loss(lines) == pytest.approx(loss(evaluate(v1_1, images)), rel=0.02)


def test_sizes_that_are_typed_go_before_those_of_the_file(v1_1, folder, images):
    lines = evaluate(v1_1, [*images, "data.image_size=120", "data.stored_size=140"])
    assert "data.image_size=120, where the weights expect 224" in lines
    assert "data.stored_size=140, where the weights expect 256" in lines
    assert loss(lines) == pytest.approx(torchvisions_loss(v1_1, folder, 120, 140), rel=1e-3)
    assert loss(lines) != loss(evaluate(v1_1, images))


def test_a_size_that_is_typed_leaves_the_other_to_the_file(own, images):
    assert evaluate(own, images) == evaluate(own, [*images, "data.stored_size=32", "data.image_size=24"])
    both = evaluate(own, [*images, "data.image_size=28", "data.stored_size=32"])
    assert evaluate(own, [*images, "data.image_size=28"]) == both
    assert evaluate(own, [*images, "data.stored_size=40"])[1] == "data.stored_size=40, where the weights expect 32"
    assert evaluate(own, [*images, "+data.stored_size=40"]) == evaluate(own, [*images, "data.stored_size=40"])
    assert evaluate(own, [*images, "data.resize=squash"])[1] == "data.resize=squash, where the weights expect crop"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("data.stored_size=20", "data.stored_size must be at least 24, which these weights expect, got 20"),
        ("data.image_size=40", "data.stored_size must be at least 40, got 32"),
        ("data.image_size=0", "data.image_size must be in [1, data.stored_size], got 0"),
        ("data.channels=1", "data.channels must be 3 for these weights, got 1"),
        ("data.classes=7", "data.classes must be 2, got 7"),
        ("data.mirror=false", "data.mirror must be left out, as only training reads it, got False"),
        ("data.validation=3", "data.validation must be left out, as only training reads it, got 3"),
    ],
)
def test_what_is_typed_and_cannot_be_used_is_refused(typed, message, own, images):
    with pytest.raises(InputError) as caught:
        evaluate(own, [*images, typed])
    assert str(caught.value) == message


def test_how_images_become_squares_is_not_asked_where_they_are(of_digits, tmp_path):
    with pytest.raises(
        InputError, match=r"data\.resize must be left out where the images are no folder's, got 'squash'"
    ):
        evaluate(of_digits, ["data=digits", f"data_dir={tmp_path}", "data.resize=squash"])


def test_images_too_small_for_the_network_are_refused(v1_1, images):
    with pytest.raises(InputError, match=r"data\.image_size must be large enough to leave a map after .*, got 8"):
        evaluate(v1_1, [*images, "data.image_size=8"])


def test_a_limit_that_is_typed_is_read(own, images):
    assert evaluate(own, [*images, "data.limit=1"])[0].startswith("1 images")


def test_a_corrupt_image_is_an_error_or_left_out_as_is_typed(own, folder, tmp_path, capsys):
    root = shutil.copytree(folder, tmp_path / "images")
    second = Path(shutil.copy(root / "val" / "cat" / "0.png", root / "val" / "cat" / "1.png"))
    arguments = [str(own), "data=image_folder", f"data.root={root}", f"data_dir={tmp_path}/data", "threads=1"]
    assert evaluate(own, arguments[1:])[0].startswith("3 images")
    truncate(second)
    assert evaluate(own, [*arguments[1:], "data.on_corrupt=skip"])[0].startswith("2 images")
    with pytest.raises(SystemExit) as end:
        exits.guarded("sweep.evaluate", lambda: evaluate_command(arguments))
    assert end.value.code == exits.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"sweep\.evaluate: [^\n]*got 1 unreadable of 3: [^\n]*/val/cat/1\.png [^\n]*\n", err)
    assert "data.on_corrupt=skip leaves them out" in err


@pytest.fixture
def of_digits(tmp_path):
    path = tmp_path / "digits.safetensors"
    spec = replace(TINY, classes=10)
    expects = Preprocessing(image_size=8, mean=[72.0], scale=[0.01])
    network = build(spec, channels=1).eval()
    header = Header(spec=spec, preprocessing=expects, class_names=tuple("0123456789"))
    safetensors.save(path, safetensors.Deployed(network=network, header=header))
    return path


def test_a_prepared_data_set_leaves_data_dir_as_it_is(of_digits, tmp_path):
    data_dir = tmp_path / "data"
    digits = ["data=digits", f"data_dir={data_dir}"]
    first = evaluate(of_digits, digits)
    before = {entry: entry.stat().st_mtime_ns for entry in (data_dir, *data_dir.rglob("*"))}
    assert evaluate(of_digits, digits) == first
    assert {entry: entry.stat().st_mtime_ns for entry in (data_dir, *data_dir.rglob("*"))} == before


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_data_dir_that_is_no_folder_is_refused(below, own, of_digits, images, tmp_path):
    (tmp_path / "file").touch()
    data_dir = f"data_dir={tmp_path}/file{below}"
    for path, arguments in ((own, images), (of_digits, ["data=digits"])):
        with pytest.raises(InputError, match=r"data_dir .*/file"):
            evaluate(path, [*arguments, data_dir])
