"""The identity of a run: what changes its key, and what does not."""

import dataclasses
import json
import shutil
from dataclasses import dataclass, replace

import pytest

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.compress.spec import CompressSpec
from fire.data.spec import RESIZES, DataSpec
from fire.errors import InputError
from fire.train.spec import TrainSpec
from sweep.config import Options, RunConfig
from tests.sweeping import image_folder, options, planner, point

# For every field another value than the default.
ARCH = {
    "base_e": 64,
    "incr_e": 64,
    "freq": 4,
    "pct_3x3": 0.25,
    "sr": 0.5,
    "bypass": "simple",
    "version": "small",
    "fires": 6,
    "conv1": 32,
    "stem_kernel": 5,
    "stem_stride": 1,
    "pools": "1+4",
    "snap": 16,
    "conv10_pad": 1,
    "norm": "batch",
    "final_relu": False,
    "dropout": 0.0,
}
DATA = {
    "name": "cifar10",
    "channels": 3,
    "stored_size": 64,
    "resize": "squash",
    "image_size": 24,
    "mirror": False,
    "validation": 100,
    "limit": 10,
    "on_corrupt": "skip",
    "fingerprint": "0123",
}
TRAIN = {
    "epochs": 7,
    "batch_size": 64,
    "optimizer": "muon",
    "muon_lr": 0.1,
    "muon_weight_decay": 0.1,
    "lr": 0.3,
    "schedule": "linear",
    "warmup": 0.5,
    "momentum": 0.5,
    "nesterov": False,
    "weight_decay": 0.0,
    "clip": 1.0,
    "label_smoothing": 0.1,
    "ema": 0.9,
    "weights_fingerprint": "0123456789abcdef",
    "init": "xavier",
    "inputs": "mean",
    "mirror": False,
    "shift": 2,
    "erase": 0.5,
    "half_size_until": 0.5,
    "mixup": 0.2,
    "precision": "bf16",
    "kernels": "torch",
    "channels_last": False,
}
COMPRESS = {
    "method": "entropy",
    "epochs": 7,
    "final_epochs": 5,
    "lr": 0.3,
    "final_lr": 0.3,
    "distillation": 0.5,
    "bias_bits": 12,
    "pruning": "table",
    "density": 0.77,
    "conv_bits": 3,
    "fc_bits": 3,
    "rate": 0.77,
    "coder": "adaptive",
}
PLAIN = RunConfig(arch=SqueezeNetSpec(classes=10), data=DataSpec(), train=TrainSpec())
WITH_MUON = replace(  # the network takes images of half the side
    PLAIN, arch=SqueezeNetSpec(version="small", classes=10), train=TrainSpec(optimizer="muon")
)
SMALL = replace(PLAIN, compress=CompressSpec(method="deep_compression"))


@pytest.mark.parametrize(
    ("base", "part", "changes"),
    [
        (PLAIN, "arch", ARCH),
        (PLAIN, "data", DATA),
        (WITH_MUON, "train", TRAIN | {"optimizer": "sgd"}),
        (SMALL, "compress", COMPRESS),
    ],
    ids=["arch", "data", "train", "compress"],
)
def test_every_change_changes_the_key(base, part, changes):
    names = {field.name for field in dataclasses.fields(getattr(base, part))}
    assert names - {"root", "classes", "weights"} == set(changes), "a field that this test does not know"
    read = set(changes) - {"rate", "resize", "on_corrupt"}  # by this method, and this data set
    specs = [replace(getattr(base, part), **{name: changes[name]}) for name in read]
    keys = {replace(base, **{part: spec}).key for spec in specs}
    assert len(keys - {base.key}) == len(read)


def test_only_image_folders_read_how_images_are_resized():
    folder = DataSpec(name="image_folder", root="images", channels=3)
    keys = {replace(PLAIN, data=replace(data, resize=way)).key for data in (DataSpec(), folder) for way in RESIZES}
    assert len(keys) == 3
    assert replace(PLAIN, data=DataSpec(resize="squash")).key == PLAIN.key


def test_keys_are_those_of_runs_that_were_made_before_validation_could_be_a_fraction():
    # Read off the program when validation was an int and resize was no field.
    assert point("data=digits", "arch=squeezenet_narrow", "train=paper").key == "4e6e7eafa0608da1"
    assert (
        point("data=digits", "arch=squeezenet_narrow", "train=paper", "data.validation=100").key == "46294c01fc401ca4"
    )
    assert point("data=fashion_mnist").key == "efa3aea4ce126ac0"
    shares = ("0.3", "0.30000000000000004", "0.2")
    fractions = [point("data=digits", f"data.validation={share}").key for share in shares]
    assert fractions[0] == fractions[1] != fractions[2]


def test_settings_of_compression_do_not_change_the_key_of_a_run_without_it():
    assert SMALL.key != PLAIN.key
    assert SMALL.uncompressed.key == PLAIN.uncompressed.key == PLAIN.key
    assert replace(PLAIN, compress=CompressSpec(density=0.5)).key == PLAIN.key


def test_classes_are_those_of_the_data_and_part_of_the_key():
    arch, data = replace(PLAIN.arch, classes=100), replace(PLAIN.data, classes=100)
    assert replace(PLAIN, arch=arch, data=data).key != PLAIN.key
    with pytest.raises(InputError, match=r"arch\.classes must be data\.classes, 10, got 100"):
        replace(PLAIN, arch=arch)


def test_each_seed_has_a_key():
    assert len({replace(PLAIN, seed=seed).key for seed in range(20)}) == 20


def test_where_and_how_fast_does_not_change_the_key():
    given = {
        "device": "cuda:1",
        "threads": 3,
        "workers": 2,
        "runs_per_gpu": 2,
        "stop_epoch": 2,
        "timeout": 60.0,
        "results_dir": "elsewhere",
        "data_dir": "elsewhere",
        "dry_run": True,
        "auto_precision": "bf16",
        "auto_kernels": "torch",
        "export": "int8",
        "data_title": "pictures",
    }
    overrides = [f"{name}={value}" for name, value in given.items()]
    assert options(*overrides) == Options(**given)
    assert set(given) == {field.name for field in dataclasses.fields(Options)}
    assert point(*overrides).config == point().config


def test_where_a_named_data_set_lies_does_not_change_the_key():
    assert replace(PLAIN, data=replace(PLAIN.data, root="elsewhere")).key == PLAIN.key


def test_families_differ_even_where_their_metaparameters_do_not():
    same = {"version": "small", "norm": "batch", "classes": 10}
    squeezenet = replace(PLAIN, arch=SqueezeNetSpec(**same))
    alexnet = replace(PLAIN, arch=AlexNetSpec(**same))
    assert (squeezenet.family, alexnet.family) == ("squeezenet", "alexnet")
    assert squeezenet.key != alexnet.key


def test_a_later_field_leaves_old_keys_as_they_are():
    @dataclass(frozen=True, kw_only=True)
    class LaterSpec(TrainSpec):
        cutmix: float = 0.0

    recipe = TrainSpec(lr=0.3)
    before = replace(PLAIN, train=recipe).key
    assert replace(PLAIN, train=LaterSpec(**dataclasses.asdict(recipe))).key == before
    assert replace(PLAIN, train=LaterSpec(**dataclasses.asdict(recipe), cutmix=0.2)).key != before


def test_the_identity_is_what_was_asked_for():
    asked = point("arch.sr=0.25", "seed=3", "data=cifar10").config.identity
    assert asked["arch"]["sr"] == 0.25
    assert asked["data"]["name"] == "cifar10"
    assert (asked["family"], asked["seed"]) == ("squeezenet", 3)
    assert "base_e" not in asked["arch"], "128 is the default"
    assert json.loads(json.dumps(asked)) == asked


@pytest.mark.parametrize("texts", [("1", "1.0", "1e0"), ("0.5", "0.50", "5e-1")])
def test_a_number_is_one_value_however_it_is_written(texts):
    keys = {point(f"arch.sr={text}").key for text in texts}
    specs = [replace(PLAIN.arch, sr=value) for value in (1, 1.0)]
    assert len(keys) == 1
    assert len({replace(PLAIN, arch=spec).key for spec in specs}) == 1


def test_a_key_names_a_directory():
    assert len(PLAIN.key) == 16
    assert set(PLAIN.key) <= set("0123456789abcdef")


def test_image_folders(tmp_path):
    def key(root):
        sizes = ("data.stored_size=20", "data.image_size=20")
        planned = point("data=image_folder", *sizes, f"data.root={root}", f"data_dir={tmp_path}")
        assert planned.config.data.classes == planned.config.arch.classes == 3
        return planned.key

    root = image_folder(tmp_path / "images", classes=3)
    original = key(root)
    assert key(shutil.copytree(root, tmp_path / "copy")) == original
    moved = root.rename(tmp_path / "moved")
    assert key(moved) == original
    shutil.copytree(moved, root)
    shutil.copy(moved / "train/class0/0.jpg", moved / "train/class0/again.jpg")
    planner.cache_clear()  # a launch scans a folder once; the next one sees that it has changed
    assert key(moved) != original
    assert key(root) == original


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed must be at least 0 and below 2^64, got -1"),
        ("device=tpu", "device must be one of auto, cpu, cuda, cuda:N, got 'tpu'"),
        ("threads=-2", "threads must be at least 0, got -2"),
        ("workers=-1", "workers must be at least 0, got -1"),
        ("data.name=mnist", "data.name must be one of cifar10, cifar100, "),
        ("data=image_folder", "data.root must be a folder for image_folder, got None"),
        ("data.resize=stretch", "data.resize must be one of crop, squash, got 'stretch'"),
        ("data.validation=0", "data.validation must be a whole number of images, or a fraction between 0 and 1, got 0"),
        ("data.validation=1.5", "a whole number of images, or a fraction between 0 and 1, got 1.5"),
        ("data.validation=-0.1", "a whole number of images, or a fraction between 0 and 1, got -0.1"),
        ("data.image_size=29", "data.image_size must be in [1, data.stored_size], got 29"),
        (
            "train.half_size_until=0.5 data.stored_size=3 data.image_size=3",
            "train.half_size_until: half of data.image_size must be large enough to leave a map after pool4",
        ),
        ("train.lr=nan", "train.lr must be above 0 and finite, got nan"),
        ("train.momentum=1", "train.momentum must be in [0, 1), got 1.0"),
        ("arch.pct_3x3=-1", "arch.pct_3x3 must be in [0, 1], got -1.0"),
        ("arch.freq=0", "arch.freq must be in [1, 1048576], got 0"),
        ("seed=1.5", "'1.5'"),
        ("dry_run=perhaps", "'perhaps'"),
        ("results_dir=null", "results_dir"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(override, message):
    with pytest.raises(InputError) as caught:
        print(point(*override.split()), options(*override.split()))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ([], "efa3aea4ce126ac0"),
        (["arch.sr=0.25", "seed=3"], "4f011ea5c5be6ff7"),
        (["arch=squeezenet_narrow", "arch.pct_3x3=0.01", "arch.sr=0.5"], "891d8e6ce303308f"),
        (["arch=squeezenet_v1_0", "data=cifar10", "train=full"], "8bee2a7559c5760a"),
        (["arch=squeezenet_v1_1", "arch.classes=100", "data=cifar100", "arch.bypass=simple"], "7aea2775af3cb549"),
        (["arch=alexnet_small", "train.optimizer=sgd"], "5dc49f7170ebb551"),
        (["data=digits", "train.precision=bf16", "train.lr=1", "arch=squeezenet_narrow"], "77e2c6b95214e7f8"),
        (["compress=deep_compression", "compress.density=0.33", "compress.conv_bits=4"], "6ae0c4c6143521e4"),
        (["compress=entropy", "compress.rate=0.02"], "a3cc0abe453a5de4"),
        (
            ["data.validation=200", "data.limit=1000", "train.kernels=torch", "threads=2", "workers=3"],
            "bcc0665bcdf41431",
        ),
    ],
)
def test_keys_of_earlier_results_are_found_again(overrides, key):
    assert point(*overrides).key == key  # as the program of 2026-11-27 had them: results made by then are not lost
