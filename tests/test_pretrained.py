"""Trained weights to start from: which files, what is taken over, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fire.arch import SqueezeNetSpec
from fire.data.synsets import imagenet
from fire.errors import InputError
from fire.model import build
from fire.weights import fcn, pretrained, safetensors
from fire.weights.formats import describe, remarks
from fire.weights.header import Header, Preprocessing
from fire.weights.quantised import Compressed
from sweep.config import Options
from sweep.evaluate import evaluate
from sweep.preparation import check, unfinished
from sweep.search.space import Space
from sweep.store import Store
from tests.sweeping import TINY, command, config, planner, point
from tests.test_released import PATH as RELEASED
from tests.test_released import needs_file

SPEC = SqueezeNetSpec(version="small", base_e=8, incr_e=8, fires=2, conv1=4, classes=10)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    network = build(SPEC, channels=1, seed=5).eval()
    expects = Preprocessing(image_size=8, mean=[0.0], scale=[0.02])
    header = Header(spec=SPEC, preprocessing=expects, class_names=tuple("abcdefghij"))
    safetensors.save(path, safetensors.Deployed(network=network, header=header))
    return path


def test_a_network_starts_from_the_weights(saved):
    network = build(SPEC, channels=1, seed=6)
    trained = pretrained.load(saved)
    pretrained.start(network, trained, SPEC, 1, "standard")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, trained.tensors[name])


def test_other_classes_leave_the_last_layer_as_it_was(saved):
    spec = replace(SPEC, classes=3)
    network, fresh = build(spec, channels=1, seed=6), build(spec, channels=1, seed=6)
    trained = pretrained.load(saved)
    pretrained.start(network, trained, spec, 1, "standard")
    last = f"conv{spec.fires + 2}"
    for name, tensor in network.state_dict().items():
        expected = fresh.state_dict() if name.startswith(last) else trained.tensors
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("spec", "channels", "inputs", "message"),
    [
        (
            replace(SPEC, sr=1.0),
            1,
            "standard",
            "train.weights must be of the network that arch describes, got {path}: ",
        ),
        (replace(SPEC, fires=3), 1, "standard", "train.weights must be of the network that arch describes, got {path}"),
        (
            SPEC,
            3,
            "standard",
            "train.weights must be of the network that arch describes, got {path}: conv1.weight must",
        ),
        (replace(SPEC, norm="batch"), 1, "standard", "arch.norm must be none for {file}, where normalisation is"),
        (SPEC, 1, "mean", "train.inputs must be standard for {file}, got 'mean'"),
    ],
    ids=["sr", "fires", "channels", "norm", "inputs"],
)
def test_weights_that_do_not_fit_are_refused(spec, channels, inputs, message, saved):
    network = build(spec, channels)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError) as caught:
        pretrained.start(network, pretrained.load(saved), spec, channels, inputs)
    assert str(caught.value).startswith(message.format(path=repr(str(saved)), file=saved))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_another_network_with_tensors_of_the_same_shapes_is_named(saved):
    other = replace(SPEC, version="1.1", conv10_pad=1, classes=3, dropout=0.1)
    assert remarks(describe(saved), other) == [
        f"{saved} is used in another network with tensors of the same shapes: "
        "arch.version=1.1 (trained with small), arch.conv10_pad=1 (trained with 0)"
    ]
    assert remarks(describe(saved), replace(SPEC, classes=3, dropout=0.1)) == []


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


def starting(path: Path, *overrides: str) -> tuple[str, ...]:
    """A run on the digits that starts from weights, of the network that SPEC describes."""
    arch = ("arch=squeezenet_small", "arch.norm=none", "arch.base_e=8", "arch.incr_e=8", "arch.fires=2", "arch.conv1=4")
    return ("data=digits", *arch, f"train.weights={path}", *overrides)


@pytest.mark.parametrize("suffix", ["safetensors", "fcn"])
def test_weights_that_do_not_fit_are_refused_while_planning(suffix, saved, tmp_path, monkeypatch):
    monkeypatch.setattr("fire.data.dataset.prepare", None)
    path = saved
    if suffix == "fcn":
        deployed = pretrained.read(saved)
        tensors = {name: tensor.numpy() for name, tensor in deployed.network.state_dict().items()}
        path = tmp_path / "network.fcn"
        fcn.save(path, Compressed(header=deployed.header, tensors=tensors))
    places = Options(results_dir=f"{tmp_path}/results")
    for wrong, message in (
        ("arch.sr=1.0", "train.weights must be of the network that arch describes, got"),
        ("arch.norm=batch", "arch.norm must be none for"),
        ("train.inputs=mean", "train.inputs must be standard for"),
        ("dry_run=true arch.fires=3", "train.weights must be of the network that arch describes, got"),
    ):
        with pytest.raises(InputError) as caught:
            check([point(*starting(path, *wrong.split()))], places)
        assert str(caught.value).startswith(message)
        with pytest.raises(InputError) as caught:
            check([point(*starting(path)), point(*starting(path, *wrong.split()))], places)
        assert f": {message}" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_file_that_cannot_be_read_is_refused_while_planning(saved, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(InputError) as caught:
        check([point(*starting(path))], Options(results_dir=f"{tmp_path}/results"))
    assert str(caught.value).startswith(f"train.weights must be a whole .safetensors file of weights, got '{path}': ")


def test_runs_that_have_finished_need_no_weights(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.store.Store.read", lambda *arguments: SimpleNamespace(key="key", status="finished"))
    assert unfinished([point(*starting(saved, "arch.sr=1.0"))], Options(results_dir=str(tmp_path))) == []


def test_what_is_taken_over_into_another_network_is_said_before_it_trains(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    points = [point(*starting(saved, f"arch.final_relu={value}")) for value in (True, False)]
    check(points, Options(results_dir=str(tmp_path)))
    said = capsys.readouterr().out
    assert said.count("is used in another network with tensors of the same shapes") == 1
    assert "arch.final_relu=False (trained with True)" in said


def test_a_sweep_with_weights_that_fit_none_of_its_points_ends_at_once(saved, tmp_path):
    code, out, err = command("-m", *starting(saved, "arch.sr=0.5,0.9", f"results_dir={tmp_path}/results"))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep: sr=0\.5: train\.weights must be of the network that arch describes, [^\n]+\n", err)
    assert not (tmp_path / "results").exists()


def test_a_search_takes_no_axis_that_the_weights_do_not_fit(saved):
    with pytest.raises(InputError, match=r"train\.weights must be of the network that arch describes"):
        Space(planner(), list(starting(saved)), {"arch.sr": ["0.125", "0.9"]})
    space = Space(planner(), list(starting(saved)), {"arch.final_relu": ["true", "false"]})
    assert space.allowed.sum() == 2


@needs_file
def test_the_authors_file_starts_the_papers_network_with_other_classes():
    trained = pretrained.load(RELEASED)
    spec = SqueezeNetSpec(conv10_pad=1, classes=10)
    network = build(spec, channels=3)
    pretrained.start(network, trained, spec, 3, "mean")
    ours, theirs = network.state_dict(), trained.tensors
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == ["conv10.weight", "conv10.bias"]


@needs_file
def test_the_authors_file_is_evaluated_on_squashed_pictures(tmp_path):
    # Twice as wide as high, and one colour in the middle half: squashed, another on both sides of it.
    picture = np.full((256, 512, 3), 40, np.uint8)
    picture[:, 128:384] = (200, 120, 60)
    folder = tmp_path / "images" / "val" / imagenet()[3]
    folder.mkdir(parents=True)
    Image.fromarray(picture).save(folder / "0.png")
    deployed = pretrained.read(RELEASED)
    losses = {}
    for resize, size, left in (("squash", (256, 256), 0), ("crop", (512, 256), 128)):
        resized = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
        start = left + (256 - 227) // 2
        seen = torch.tensor(resized[14 : 14 + 227, start : start + 227]).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            logits = deployed.network(seen - torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1))
        losses[resize] = f"loss {torch.nn.functional.cross_entropy(logits, torch.tensor([3])):.4f}"
    lines = evaluate(RELEASED, ["data=image_folder", f"data.root={tmp_path}/images", f"data_dir={tmp_path}"])
    assert lines[2].endswith(losses["squash"])
    assert losses["squash"] != losses["crop"]


@needs_file
def test_the_authors_file_is_evaluated_over_some_synsets_and_over_all(tmp_path):
    pixels = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, label in zip(pixels, (3, 900), strict=True):
        folder = tmp_path / "images" / "val" / imagenet()[label]
        folder.mkdir(parents=True)
        Image.fromarray(image.numpy()).save(folder / "0.png")
    lines = evaluate(RELEASED, ["data=image_folder", f"data.root={tmp_path}/images", "threads=1"])
    # The released network wants blue first, and the mean of each channel taken off.
    deployed = pretrained.read(RELEASED)
    wanted = pixels[:, 14:241, 14:241].permute(0, 3, 1, 2).float()
    wanted -= torch.tensor([123.0, 117.0, 104.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        logits = deployed.network(wanted)
    some, every = (
        (part.argmax(1) == torch.tensor(labels)).float().mean()
        for part, labels in ((logits[:, [3, 900]], [0, 1]), (logits, [3, 900]))
    )
    assert lines[0] == "2 images, 675,763 bytes of weights"
    assert lines[1].startswith(f"over the 2 classes of the images: top-1 {100 * some:.2f} %, top-5 100.00 %")
    assert lines[2].startswith(f"over all 1,000 classes of the weights: top-1 {100 * every:.2f} %")
