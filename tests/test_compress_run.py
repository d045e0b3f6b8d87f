"""Compression as a run: what its record and its file say, and the commands that compress and evaluate."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from PIL import Image

from fire import data, pretrained, weights
from fire.arch import SqueezeNetSpec
from fire.augment import Batches
from fire.compress import container
from fire.compress.levels import values
from fire.errors import InputError
from fire.header import Preprocessing
from fire.model import build
from fire.sources import FASHION_CLASSES
from fire.synsets import imagenet
from fire.train import evaluate
from sweep.compress import _main as compress_command
from sweep.compress import compressed_config
from sweep.config import RunConfig
from sweep.evaluate import _columns
from sweep.evaluate import _main as evaluate_command
from sweep.evaluate import evaluate as of_weights
from sweep.hydra_errors import one_line
from sweep.run import run
from sweep.store import Record, Store
from tests.sweeping import ROOT, TINY, command, composed, image_folder, point

COMPRESSED = ("compress=deep_compression", "compress.epochs=1", "compress.density=0.5")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[RunConfig, Record]:
    folder = tmp_path_factory.mktemp("compress")
    config = point(*TINY, *COMPRESSED, f"data_dir={folder}/data", f"results_dir={folder}/results").config
    return config, run(config)


def folder_of(config: RunConfig) -> Path:
    return Path(config.results_dir) / config.key


def module(name: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_the_network_is_trained_first_as_a_run_of_its_own(finished):
    config, record = finished
    assert record.status == "finished", record.error
    start = Store(config.results_dir).read(config.uncompressed.key)
    assert start is not None
    assert (start.status, start.compress, start.file_bytes) == ("finished", {}, None)
    assert record.float_key == start.key
    assert record.compress["method"] == "deep_compression"
    assert (record.parameters, record.size_bytes) == (start.parameters, start.size_bytes)


def test_the_record_is_of_the_file(finished, cpu):
    config, record = finished
    path = folder_of(config) / "network.fcn"
    assert record.file_bytes == path.stat().st_size < record.size_bytes / 4
    decoded = container.load(path)
    tensors = [values(tensor) for tensor in decoded.tensors.values()]
    assert sum(tensor.size for tensor in tensors) == record.parameters
    assert sum(np.count_nonzero(tensor) for tensor in tensors) == record.nonzero
    kept = sum(np.count_nonzero(t) for t in tensors if t.ndim == 4) / sum(t.size for t in tensors if t.ndim == 4)
    assert kept == pytest.approx(0.5, abs=0.01)
    images = data.load(config.data, Path(config.data_dir))
    scores = evaluate(decoded.network(), Batches(images.test, images, config.train, cpu), cpu)
    assert (scores.top1, scores.loss) == (record.top1, pytest.approx(record.loss, rel=1e-5))


def test_the_same_configuration_makes_the_same_file(finished, tmp_path):
    config, _ = finished
    again = replace(config, results_dir=str(tmp_path))
    shutil.copytree(folder_of(config.uncompressed), folder_of(again.uncompressed))
    run(again)
    assert (folder_of(again) / "network.fcn").read_bytes() == (folder_of(config) / "network.fcn").read_bytes()


def test_a_network_that_cannot_be_trained_cannot_be_compressed(finished, tmp_path):
    config, _ = finished
    hopeless = replace(config, train=replace(config.train, lr=1e6, clip=0.0), results_dir=str(tmp_path))
    record = run(hopeless)
    assert record.status == "failed"
    assert re.fullmatch(rf"the network to compress, run {hopeless.uncompressed.key}, failed: .+", record.error or "")


def test_a_sweep_trains_once_and_compresses_each(finished, tmp_path):
    config, _ = finished
    arguments = [*TINY, *COMPRESSED[1:], "compress=deep_compression,entropy", "compress.final_epochs=0"]
    code, out, err = command("-m", *arguments, f"data_dir={config.data_dir}", f"results_dir={tmp_path}")
    assert (code, err) == (0, "")
    records = list(Store(tmp_path).records())
    assert sorted(record.compress.get("method", "") for record in records) == ["", "deep_compression", "entropy"]
    assert len({record.float_key for record in records} - {None}) == 1
    assert "file, bytes" in out


def test_compress_command_makes_the_run_that_sweep_makes(finished, tmp_path):
    config, _ = finished
    again = replace(config, results_dir=str(tmp_path))
    start = folder_of(again.uncompressed)
    shutil.copytree(folder_of(config.uncompressed), start)
    code, out, err = module("sweep.compress", str(start), *COMPRESSED, "threads=1", f"data_dir={config.data_dir}")
    assert (code, err) == (0, "")
    assert (folder_of(again) / "network.fcn").read_bytes() == (folder_of(config) / "network.fcn").read_bytes()
    assert "test top-1" in out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arch.sr=0.5"], "arguments must be KEY=VALUE with KEY one of compress, compress.*, .*, got 'arch.sr=0.5'"),
        (["timeout=1"], "arguments must be KEY=VALUE with KEY one of .*, got 'timeout=1'"),
        (["-m"], "arguments must be KEY=VALUE with KEY one of .*, got '-m'"),
        (["compress.method=entropy"], "compress.method must be chosen with compress=METHOD.*"),
        (["compress=entropy", "compress.density=0.5"], r"compress\.density must be a setting that compress=entropy .*"),
        (["compress.density=0.1,0.2"], r"compress\.density must be one value, got 'compress\.density=0\.1,0\.2'"),
        (["compress.density=2"], r"compress\.density must be in \(0, 1\], got 2\.0"),
        (["compress=smaller"], "compress must be one of deep_compression, entropy, none, got 'smaller'"),
        (["compress=none"], "compress must be deep_compression or entropy, got none"),
    ],
)
def test_compress_command_refuses(finished, overrides, message):
    with pytest.raises((InputError, HydraException)) as caught:
        compressed_config(folder_of(finished[0].uncompressed), overrides)
    assert re.fullmatch(message, one_line(caught.value))


def test_compress_command_wants_a_finished_run(finished, tmp_path):
    for folder in (tmp_path, folder_of(finished[0])):
        with pytest.raises(InputError, match="the run must be the folder of a finished run without compression, got"):
            compressed_config(folder, [])
    later = replace(finished[1], key="later", compress={}, train=finished[1].train | {"mixup": 0.2})
    Store(tmp_path).write(later)
    (tmp_path / "later" / "weights.safetensors").touch()
    with pytest.raises(InputError, match="the run must be one that this version of the program knows, got"):
        compressed_config(tmp_path / "later", [])
    code, out, err = module("sweep.compress", str(tmp_path))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep\.compress: the run must be [^\n]+\n", err)


@pytest.mark.parametrize("argument", ["data=digits", "--data", "-m"])
def test_what_is_read_comes_first(argument):
    for command_of, what in ((evaluate_command, "file of weights"), (compress_command, "folder of a run")):
        with pytest.raises(InputError) as caught:
            command_of([argument, "network.fcn"])
        assert str(caught.value) == f"the {what} must come first, got {argument!r}"


@pytest.mark.parametrize(
    "override", ["train.epochs=9", "compress=entropy", "seed=4", "dry_run=true", "+foo=1", "--data", "-m"]
)
def test_evaluate_command_takes_no_setting_that_it_does_not_read(override):
    with pytest.raises(InputError) as caught:
        evaluate_command(["network.fcn", override])
    rule = "KEY=VALUE with KEY one of data, data.*, arch, arch.*, data_dir, device, threads"
    assert str(caught.value) == f"arguments must be {rule}, got {override!r}"


def test_evaluate_command_says_what_the_record_says(finished):
    config, record = finished
    start = Store(config.results_dir).read(config.uncompressed.key)
    path = folder_of(config) / "network.fcn"
    code, out, err = module("sweep.evaluate", str(path), "data=digits", f"data_dir={config.data_dir}")
    assert (code, err) == (0, "")
    weights_file = folder_of(config.uncompressed) / "weights.safetensors"
    lines = of_weights(weights_file, ["data=digits", f"data_dir={config.data_dir}"])
    for known, said in ((record, out), (start, "\n".join(lines))):
        assert f"top-1 {100 * known.top1:.2f} %, top-5 {100 * known.top5:.2f} %" in said
    assert f"{path.stat().st_size:,} bytes" in out


def test_classes_of_another_data_set_are_not_taken_for_these(finished, tmp_path):
    config, _ = finished
    folder = synset_folder(tmp_path / "images", [f"class{label}" for label in range(10)])
    images = (
        "data=image_folder",
        f"data.root={folder}",
        "data.channels=1",
        "data.stored_size=20",
        "data.image_size=20",
    )
    for path in (folder_of(config) / "network.fcn", folder_of(config.uncompressed) / "weights.safetensors"):
        with pytest.raises(InputError, match="classes must be among the weights' 10, '0' to '9': got 'class0'"):
            of_weights(path, images)


def test_weights_that_name_no_classes_have_them_in_order():
    names = tuple(f"class{label}" for label in range(10))
    assert _columns(names, tuple("0123456789"), named=False) == list(range(10))
    assert _columns(("7", "3"), tuple("0123456789"), named=True) == [7, 3]


def test_the_committed_network_is_of_the_data_set_that_is_taken_unless_said():
    path = ROOT / "docs" / "results" / "ec3c1b53e4c83546" / "network.fcn"
    assert composed().data.name == "fashion_mnist"
    assert _columns(FASHION_CLASSES, container.load(path).class_names, named=True) == list(range(10))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    """A file of weights of a small network that tells ImageNet's classes apart, so to speak."""
    spec = SqueezeNetSpec(version="small", base_e=4, incr_e=4, fires=1, conv1=4, classes=1000)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    preprocessing = Preprocessing(image_size=20, mean=[100.0] * 3, scale=[0.02] * 3)
    names = tuple(str(label) for label in range(1000))
    network = build(spec, channels=3).eval()
    weights.save(path, weights.Deployed(network=network, spec=spec, preprocessing=preprocessing, class_names=names))
    return path


def synset_folder(root: Path, names: list[str]) -> Path:
    """Of each class one image, in val/ alone."""
    for number, name in enumerate(names):
        folder = root / "val" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (24, 20), (80 * number, 10, 0)).save(folder / "0.png")
    return root


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
    telling = tmp_path / "telling.safetensors"
    weights.save(telling, replace(deployed, preprocessing=replace(deployed.preprocessing, stored_size=24)))
    _, *told = of_weights(telling, images)
    _, *asked = of_weights(thousand, [*images, "data.stored_size=24", "data.image_size=20"])
    _, *large = of_weights(thousand, images)
    assert told == asked != large


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
