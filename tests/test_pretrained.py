"""Trained weights to start from: which files, what is taken over, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from fire import pretrained, weights
from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.header import Preprocessing
from fire.model import build
from fire.synsets import imagenet
from sweep.evaluate import evaluate
from sweep.store import Store
from tests.sweeping import TINY, command, composed, config
from tests.test_released import PATH as RELEASED
from tests.test_released import needs_file

SPEC = SqueezeNetSpec(version="small", base_e=8, incr_e=8, fires=2, conv1=4, classes=10)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    network = build(SPEC, channels=1, seed=5).eval()
    expects = Preprocessing(image_size=8, mean=[0.0], scale=[0.02])
    names = tuple("abcdefghij")
    weights.save(path, weights.Deployed(network=network, spec=SPEC, preprocessing=expects, class_names=names))
    return path


def test_a_network_starts_from_the_weights(saved):
    network = build(SPEC, channels=1, seed=6)
    deployed = pretrained.read(saved, SPEC)
    pretrained.start(network, deployed, "standard")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, deployed.network.state_dict()[name])


def test_other_classes_leave_the_last_layer_as_it_was(saved):
    spec = replace(SPEC, classes=3)
    network, fresh = build(spec, channels=1, seed=6), build(spec, channels=1, seed=6)
    deployed = pretrained.read(saved, spec)
    pretrained.start(network, deployed, "standard")
    last = f"conv{spec.fires + 2}"
    for name, tensor in network.state_dict().items():
        expected = fresh if name.startswith(last) else deployed.network
        assert torch.equal(tensor, expected.state_dict()[name]), name


@pytest.mark.parametrize(
    "spec", [replace(SPEC, sr=1.0), replace(SPEC, fires=3), replace(SPEC, norm="batch")], ids=["sr", "fires", "norm"]
)
def test_weights_of_another_network_are_refused(saved, spec):
    with pytest.raises(InputError, match=r"train\.weights must be of the network that arch describes"):
        pretrained.start(build(spec, channels=1), pretrained.read(saved, spec), "standard")


def test_weights_that_expect_other_inputs_are_refused(saved):
    with pytest.raises(InputError, match=r"train\.inputs must be standard for these weights, got mean"):
        pretrained.start(build(SPEC, channels=1), pretrained.read(saved, SPEC), "mean")


def test_torchvisions_files_say_no_more_than_tensors(tmp_path):
    path = tmp_path / "squeezenet1_1.pth"
    theirs = torchvision.models.squeezenet1_1().eval()
    torch.save(theirs.state_dict(), path)
    deployed = pretrained.read(path, SqueezeNetSpec(version="1.1", classes=10))  # the file says how many
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, scale = (
        torch.tensor(value).view(1, 3, 1, 1) for value in (deployed.preprocessing.mean, deployed.preprocessing.scale)
    )
    usual = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        torch.testing.assert_close(deployed.network((255 * image - mean) * scale), theirs(usual(image)))


def test_the_key_tells_what_weights_a_run_started_from_not_where_they_lay(saved, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(saved.read_bytes())
    keys = [config(*TINY, f"train.weights={path}").key for path in (saved, copy)]
    assert keys[0] == keys[1] != config(*TINY).key
    copy.write_bytes(saved.read_bytes()[:-1])
    assert config(*TINY, f"train.weights={copy}").key != keys[0]
    with pytest.raises(InputError, match=r"train\.weights must be a readable file, got '/nowhere'"):
        config("train.weights=/nowhere")


def test_a_run_goes_on_from_the_weights_of_another(tmp_path):
    plain = (*TINY, "arch.norm=none", f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    assert command(*plain)[0] == 0
    (first,) = Store(tmp_path / "results").records()
    start = tmp_path / "results" / first.key / "weights.safetensors"
    code, _, err = command(*plain, f"train.weights={start}", "train.epochs=1", "train.lr=0.001", "train.muon_lr=0.0001")
    assert (code, err) == (0, "")
    (second,) = [record for record in Store(tmp_path / "results").records() if record.key != first.key]
    assert second.validation_loss == pytest.approx(first.validation_loss, abs=0.1)


@needs_file
def test_the_authors_file_starts_the_papers_network_with_other_classes():
    deployed = pretrained.read(RELEASED, SPEC)
    network = build(SqueezeNetSpec(conv10_pad=1, classes=10), channels=3)
    pretrained.start(network, deployed, "mean")
    ours, theirs = network.state_dict(), deployed.network.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == ["conv10.weight", "conv10.bias"]


@needs_file
def test_the_authors_file_is_evaluated_over_some_synsets_and_over_all(tmp_path):
    pixels = torch.randint(0, 256, (2, 227, 227, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, label in zip(pixels, (3, 900), strict=True):
        folder = tmp_path / "images" / "val" / imagenet()[label]
        folder.mkdir(parents=True)
        Image.fromarray(image.numpy()).save(folder / "0.png")
    sizes = ("data.stored_size=227", "threads=1")
    lines = evaluate(RELEASED, composed("data=image_folder", f"data.root={tmp_path}/images", *sizes))
    # The released network wants blue first, and the mean of each channel taken off.
    deployed = pretrained.read(RELEASED, SPEC)
    wanted = pixels.permute(0, 3, 1, 2).float() - torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = deployed.network(wanted)
    some, every = (
        (part.argmax(1) == torch.tensor(labels)).float().mean()
        for part, labels in ((logits[:, [3, 900]], [0, 1]), (logits, [3, 900]))
    )
    assert lines[0] == "2 images, 675,763 bytes of weights"
    assert lines[1].startswith(f"over the 2 classes of the images: top-1 {100 * some:.2f} %, top-5 100.00 %")
    assert lines[2].startswith(f"over all 1,000 classes of the weights: top-1 {100 * every:.2f} %")
