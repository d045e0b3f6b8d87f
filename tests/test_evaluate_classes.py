"""python -m sweep.evaluate: the classes of weights and images, ImageNet's among them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fire.arch import SqueezeNetSpec
from fire.data.readers.fashion_mnist import CLASSES
from fire.data.synsets import imagenet
from fire.errors import InputError
from fire.model import build
from fire.weights import fcn, pretrained, safetensors
from fire.weights.header import Header, Preprocessing
from sweep.evaluate import _columns
from sweep.evaluate import evaluate as of_weights
from tests.sweeping import ROOT, composed, image_folder, synset_folder


def test_weights_that_name_no_classes_have_them_in_order():
    names = tuple(f"class{label}" for label in range(10))
    assert _columns(names, tuple("0123456789"), named=False) == list(range(10))
    assert _columns(("7", "3"), tuple("0123456789"), named=True) == [7, 3]


def test_the_committed_network_is_of_the_data_set_that_is_taken_unless_said():
    path = ROOT / "docs" / "results" / "ec3c1b53e4c83546" / "network.fcn"
    assert composed().data.name == "fashion_mnist"
    assert _columns(CLASSES, fcn.load(path).header.class_names, named=True) == list(range(10))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    """A file of weights of a small network that tells ImageNet's classes apart, so to speak."""
    spec = SqueezeNetSpec(version="small", base_e=4, incr_e=4, fires=1, conv1=4, classes=1000)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    preprocessing = Preprocessing(image_size=20, mean=[100.0] * 3, scale=[0.02] * 3)
    names = tuple(str(label) for label in range(1000))
    network = build(spec, channels=3).eval()
    header = Header(spec=spec, preprocessing=preprocessing, class_names=names)
    safetensors.save(path, safetensors.Deployed(network=network, header=header))
    return path


def test_some_of_imagenets_classes_are_found_by_their_synsets(thousand, tmp_path):
    chosen = [imagenet()[label] for label in (7, 500, 999)]
    folder = synset_folder(tmp_path / "images", chosen)
    sizes = ("data.stored_size=20", "data.image_size=20")
    out = "\n".join(of_weights(thousand, ["data=image_folder", f"data.root={folder}", *sizes]))
    # By hand: the same network over the same pictures, in torch alone.
    deployed = pretrained.read(thousand)
    pictures = torch.stack(
        [torch.tensor([80.0 * number, 10, 0]).view(3, 1, 1).expand(3, 20, 20) for number in range(3)]
    )
    with torch.no_grad():
        logits = deployed.network((pictures - 100) * 0.02)
    labels = torch.tensor([7, 500, 999])
    over_all = float((logits.argmax(1) == labels).double().mean())
    over_some = float((logits[:, labels].argmax(1) == torch.arange(3)).double().mean())
    assert f"over the 3 classes of the images: top-1 {100 * over_some:.2f} %, top-5 100.00 %" in out
    assert f"over all 1,000 classes of the weights: top-1 {100 * over_all:.2f} %" in out


def test_images_are_resized_as_in_training(thousand, tmp_path):
    noise = np.random.default_rng(0)
    for name in imagenet()[:2]:
        folder = tmp_path / "images" / "val" / name
        folder.mkdir(parents=True)
        Image.fromarray(noise.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / "0.png")
    images = ("data=image_folder", f"data.root={tmp_path}/images")
    deployed = pretrained.read(thousand)
    expects = replace(deployed.header.preprocessing, stored_size=24)
    telling = tmp_path / "telling.safetensors"
    safetensors.save(telling, replace(deployed, header=replace(deployed.header, preprocessing=expects)))
    _, *found = of_weights(telling, images)
    _, *asked = of_weights(thousand, [*images, "data.stored_size=24", "data.image_size=20"])
    _, *large = of_weights(thousand, images)
    assert found == asked != large
    squashed = tmp_path / "squashed.safetensors"
    expects = replace(expects, resize="squash")
    safetensors.save(squashed, replace(deployed, header=replace(deployed.header, preprocessing=expects)))
    _, *asked_to_squash = of_weights(squashed, images)
    of_thousand = [*images, "data.stored_size=24", "data.image_size=20", "data.resize=squash"]
    assert asked_to_squash == of_weights(thousand, of_thousand)[-len(asked_to_squash) :] != found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{weights}", "data=digits"], "data.channels must be 3 for these weights, got 1"),
        (
            ["{weights}", "data=image_folder", "data.root={folder}"],
            "the images' classes must be among the weights' 1,000, 'n01440764' to 'n15075141': got 'class0'",
        ),
        (
            ["{weights}", "data=image_folder", "data.root={folder}", "data.stored_size=8"],
            "data.stored_size must be at least 20, which these weights expect, got 8",
        ),
        (
            ["{folder}/nothing.fcn"],
            "weights must be a readable file, got '{folder}/nothing.fcn': No such file or directory",
        ),
        (
            ["README.md"],
            "weights must be a file .safetensors, .fcn, .net, .pth, .pt, .bin, .ckpt, .pth.tar, got 'README.md'",
        ),
    ],
    ids=["channels", "classes", "size", "absent", "kind"],
)
def test_evaluate_command_refuses(thousand, tmp_path, arguments, message):
    places = {"weights": thousand, "folder": image_folder(tmp_path / "images")}
    path, *overrides = (argument.format(**places) for argument in arguments)
    with pytest.raises(InputError) as caught:
        of_weights(Path(path), overrides)
    assert str(caught.value) == message.format(**places)


def test_the_synsets_are_imagenets():
    # The first is the tench, the last the toilet tissue: Russakovsky et al. 2015, ILSVRC 2012.
    assert (len(imagenet()), imagenet()[0], imagenet()[-1]) == (1000, "n01440764", "n15075141")
    assert list(imagenet()) == sorted(set(imagenet()))
