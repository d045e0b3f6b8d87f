"""Points: composed fast, as Hydra composes them; their names; what is wrong with them."""

from itertools import product

import pytest

from fire.errors import InputError
from sweep.points import labels, refuse_unread
from tests.sweeping import launch, options, planner, point


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["arch.sr=0.25"],
        ["arch.sr=1"],
        ["arch.sr=0.25", "arch.sr=0.75"],  # the last one counts
        ["train.lr=1e-3", "seed=7", "arch.final_relu=off"],
        ["arch=alexnet_small"],
        ["train=full"],
        ["arch=squeezenet_narrow", "arch.sr=0.5", "train=paper", "train.epochs=3"],
        ["arch.sr=0.5", "arch=squeezenet_narrow", "data=cifar100"],  # a group after a value in it
        ["train.schedule='linear'", 'arch.bypass="simple"'],
        ["arch.version=1.1", "data=cifar10"],  # a number where a string is meant
        ["data.root=null"],
        ["data.classes=12"],  # which arch.classes refers to
        ["arch.classes=10", "threads=3", "data.limit=50", "results_dir=elsewhere", "device=cpu"],
        ["data.image_size=${data.stored_size}", "arch.classes=${data.classes}"],
        ["++train.lr=0.5", "train.warmup=0"],
        ["experiment=bypass", "arch.bypass=complex"],
    ],
    ids=" ".join,
)
def test_a_point_is_what_hydra_composes(overrides):
    planned = point(*overrides)
    assert (planned.config, options(*overrides)) == launch(*overrides)
    assert planned.overrides == tuple(overrides)


def test_points_leave_no_trace_in_each_other():
    before = point().config
    for sr, name in product((0.25, 0.5), ("squeezenet_small", "squeezenet_narrow")):
        assert point(f"arch={name}", f"arch.sr={sr}").config.arch.sr == sr
    assert point().config == before


def test_work_grows_with_epochs():
    once, thrice = (point(f"train.epochs={epochs}") for epochs in (1, 3))
    assert thrice.work == 3 * once.work == 3 * once.cost.macs


def names(*overrides: list[str]) -> list[str]:
    return list(labels([point(*each) for each in overrides]).values())


def test_labels_tell_what_differs():
    assert names(["arch.sr=0.25", "seed=1"], ["arch.sr=0.5", "seed=1"]) == ["sr=0.25", "sr=0.5"]
    assert names(["arch.sr=0.25", "seed=1"], ["arch.sr=0.5", "seed=2"]) == ["sr=0.25 seed=1", "sr=0.5 seed=2"]
    assert names(["arch.sr=0.25", "device=cpu", "threads=2"]) == ["sr=0.25"]
    assert names(["arch=squeezenet_narrow"], ["arch=alexnet_small"]) == ["arch=squeezenet_narrow", "arch=alexnet_small"]


def test_labels_keep_whole_keys_where_the_last_part_tells_nothing():
    rates = [["compress=entropy", f"train.lr={lr}", f"compress.lr={lr}", f"seed={10 * lr:.0f}"] for lr in (0.1, 0.2)]
    assert names(*rates) == ["train.lr=0.1 compress.lr=0.1 seed=1", "train.lr=0.2 compress.lr=0.2 seed=2"]


def test_labels_show_values_that_are_empty(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    assert names(["train.weights="], [f"train.weights={path}"]) == ["weights=''", f"weights={path}"]


PRUNED = "compress=deep_compression"


@pytest.mark.parametrize(
    ("override", "runs"),
    [
        ("compress.rate=0.3", [["compress=entropy"]]),
        ("compress.density=0.3", [[], [PRUNED]]),
        ("compress.density=0.1,0.2", [[PRUNED, "compress.pruning=table"], [PRUNED]]),
        ("compress=none,entropy", [[], ["compress=entropy"]]),
        ("train.lr=0.1", [[]]),
        ("train.muon_lr=0.1", [["train.optimizer=sgd"], []]),
        ("data.root=pictures", [[]]),
    ],
)
def test_settings_that_some_run_reads(override, runs):
    refuse_unread([override], [point(*each).config for each in runs])


@pytest.mark.parametrize(
    ("override", "runs", "read"),
    [
        ("compress.epochs=1", [[]], "compress=none reads (no setting)"),
        ("compress.rate=0.3", [[], [PRUNED]], "compress=deep_compression or none reads (bias_bits, "),
        ("+compress.density=0.3", [[PRUNED, "compress.pruning=table"]], "compress=deep_compression reads (bias_bits, "),
    ],
)
def test_settings_that_no_run_reads(override, runs, read):
    with pytest.raises(InputError) as caught:
        refuse_unread([override], [point(*each).config for each in runs])
    key = override.removeprefix("+").partition("=")[0]
    assert str(caught.value).startswith(f"{key} must be a setting that {read}")
    assert str(caught.value).endswith(f", got {override!r}")


@pytest.mark.parametrize(
    ("override", "run"),
    [
        ("train.muon_lr=0.1", ["train.optimizer=sgd"]),
        ("train.warmup=0.5", ["train.schedule=linear"]),
        ("data.on_corrupt=skip", []),
    ],
)
def test_settings_of_training_and_data_that_do_nothing(override, run):
    plain, with_override = point(*run).config, point(*run, override).config
    assert plain.key == with_override.key, "it is the same run"
    with pytest.raises(InputError, match="must be a setting that one of the runs reads; here it changes nothing, got"):
        refuse_unread([override], [with_override])


def test_a_point_without_overrides_is_called_by_its_key():
    assert names([]) == [point().key]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["seed=1", "arch.sr=0"], ["arch.sr must be in (0, 1], got 0.0"]),
        (["arch.freq=1", "arch.bypass=simple"], ["arch.bypass must not be 'simple'", "freq=1"]),
        (["data=digits", "arch=squeezenet_v1_0"], ["data.image_size must be large enough", "pool1", "got 8"]),
        (["arch.sr=wide"], ["arch.sr must be a number, got 'wide'"]),
        (["arch=resnet"], ["arch must be one of alexnet, alexnet_small, resnet8, squeezenet_", "got 'resnet'"]),
        (["arch.srr=1"], ["arch.srr must be one of base_e, ", ", sr, "]),
        (["sr=0.5"], ["sr must be one of seed, "]),
        (["train.epochs=null"], ["train.epochs must be a value, got null"]),
        (["+arch.srr=1"], ["arch.srr must be one of base_e, ", ", sr, "]),
        (["+sr=0.5"], ["sr must be one of seed, "]),
    ],
    ids=" ".join,
)
def test_what_is_wrong_with_a_point(overrides, parts):
    with pytest.raises(InputError) as caught:
        point(*overrides)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert " ".join(overrides) not in message
    assert "\n" not in message
    assert "schema" not in message, "which is no choice"


@pytest.mark.parametrize(
    ("combinations", "message"),
    [
        ([["arch.sr=0.5", "seed=1"], ["arch.sr=7", "seed=1"]], "arch.sr=7: arch.sr must be in (0, 1], got 7.0"),
        ([["arch.sr=0.5", "seed=-1"], ["arch.sr=0.25", "seed=-1"]], "seed must be at least 0 "),
        ([["arch.sr=7", "seed=1"]], "arch.sr must be in (0, 1], got 7.0"),
        (
            [["arch.bypass=none", "arch.freq=1"], ["arch.bypass=simple", "arch.freq=1"]],
            "arch.bypass=simple: arch.bypass must not be 'simple'",
        ),
        (
            [["data=image_folder", "data.root=nowhere"], ["data=image_folder", "data.root=elsewhere"]],
            "data.root=nowhere: data.root must be an existing folder, got 'nowhere'",
        ),
    ],
)
def test_what_is_wrong_in_a_sweep_is_told_with_what_varies(combinations, message):
    with pytest.raises(InputError) as caught:
        planner().grid(combinations)
    assert str(caught.value).startswith(message)
