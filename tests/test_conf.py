"""Every file of conf/ composes and leads to valid points; those with a source say what it says."""

import itertools

import pytest
from sklearn.datasets import load_digits

from fire import cost_grid
from fire.data.spec import DATA_SETS
from fire.train.spec import TrainSpec
from sweep.compose import CONF
from tests.sweeping import composed, config, image_folder, point

LARGE = ("data=cifar10", "data.stored_size=227", "data.image_size=227")  # images as large as ImageNet's
PAPER = ("arch=squeezenet_v1_0", *LARGE, "data.classes=1000")


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def values(experiment: str) -> dict[str, list[str]]:
    params = composed(f"experiment={experiment}").hydra.sweeper.params
    return {name: text.split(",") for name, text in params.items()}


@pytest.mark.parametrize("name", choices("arch"))
def test_networks(name):
    planned = point(f"arch={name}", *LARGE)
    assert planned.config.arch.classes == planned.config.data.classes == 10
    assert planned.cost.parameters > 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("squeezenet_v1_0", 1_248_424),  # the paper's table 1
        ("squeezenet_v1_1", 1_235_496),  # the authors' release
        ("alexnet", 60_965_224),  # Caffe's AlexNet
    ],
)
def test_published_sizes(name, parameters):
    assert config(f"arch={name}", *LARGE, "data.classes=1000").cost.parameters == parameters


def test_the_narrow_network_is_a_quarter_as_wide():
    narrow, small = config("arch=squeezenet_narrow").arch, config("arch=squeezenet_small").arch
    assert (4 * narrow.base_e, 4 * narrow.incr_e) == (small.base_e, small.incr_e)
    assert 1 < small.conv1_filters / narrow.conv1_filters <= 4
    assert (narrow.norm, narrow.macro) == (small.norm, small.macro)


@pytest.mark.parametrize(
    ("name", "channels", "side", "classes"),
    # Xiao et al. 2017; Krizhevsky 2009; Netzer et al. 2011; the images that scikit-learn ships
    [
        ("fashion_mnist", 1, 28, 10),
        ("cifar10", 3, 32, 10),
        ("cifar100", 3, 32, 100),
        ("svhn", 3, 32, 10),
        ("digits", 1, 8, 10),
    ],
)
def test_data_sets(name, channels, side, classes):
    spec = config(f"data={name}").data
    assert (spec.name, spec.channels, spec.classes) == (name, channels, classes)
    assert spec.stored_size == spec.image_size == side


def test_digits_are_what_scikit_learn_has():
    digits = load_digits()
    spec = config("data=digits").data
    assert digits.images.shape[1:] == (spec.stored_size, spec.stored_size)
    assert len(digits.target_names) == spec.classes


@pytest.mark.parametrize("name", ["digits", "svhn"])
def test_digits_are_not_mirrored(name):
    assert not config(f"data={name}").data.mirror, "a mirrored 3 is no 3"


def test_image_folder(tmp_path):
    root = image_folder(tmp_path / "images", classes=3)
    planned = point("data=image_folder", f"data.root={root}", f"data_dir={tmp_path}", "arch=squeezenet_v1_0").config
    assert planned.arch.classes == planned.data.classes == 3
    assert (planned.data.stored_size, planned.data.image_size) == (256, 227)  # the paper's crop


def test_every_data_set_has_a_reader_and_a_file_of_conf():
    assert set(choices("data")) == {*DATA_SETS, "image_folder_32"}


def test_pictures_of_cifar10_as_files_are_seen_as_cifar10_is(tmp_path):
    root = image_folder(tmp_path / "images", classes=10)
    found = config("data=image_folder_32", f"data.root={root}", f"data_dir={tmp_path}").data
    krizhevsky = config("data=cifar10").data
    assert found.name == "image_folder"
    for name in ("channels", "classes", "stored_size", "image_size", "mirror"):
        assert getattr(found, name) == getattr(krizhevsky, name)
    assert found.validation * 50_000 == krizhevsky.validation


@pytest.mark.parametrize("name", choices("train"))
def test_recipes(name):
    assert isinstance(config(f"train={name}").train, TrainSpec)


def test_the_papers_recipe_is_the_caffe_solver():
    # solver.prototxt of the SqueezeNet release; its train_val.prototxt has no mirror, and a mean but no scale.
    train = config("train=paper").train
    assert (train.lr, train.schedule, train.momentum, train.weight_decay) == (0.04, "linear", 0.9, 0.0002)
    assert (train.batch_size, train.epochs) == (512, round(170_000 * 512 / 1_281_167))
    assert (train.init, train.inputs) == ("xavier", "mean")
    assert (train.nesterov, train.mirror, train.clip, train.label_smoothing, train.ema) == (False, False, 0, 0, 0)


def test_the_papers_recipe_squashes_images_as_caffe_did_unless_asked_not_to():
    folder = ("data=image_folder", "data.root=images", "train=paper")
    assert composed(*folder).data.resize == "squash"
    assert composed("train=paper", "data=image_folder").data.resize == "squash"
    assert composed(*folder, "data.resize=crop").data.resize == "crop"
    assert composed("data=image_folder").data.resize == "crop"
    swept = {
        choice: point(f"train={choice}", "data=digits", "arch=squeezenet_narrow").config
        for choice in ("quick", "paper")
    }
    assert {name: config.data.resize for name, config in swept.items()} == {"quick": "crop", "paper": "squash"}
    assert swept["paper"].train.schedule == "linear"
    # Only image folders are resized: elsewhere the recipe leaves the data set's identity as it was.
    assert swept["quick"].identity["data"] == swept["paper"].identity["data"]


def test_the_experiment_of_searches_is_a_space_that_holds_the_published_networks():
    sweeper = composed("experiment=search").hydra.sweeper
    assert (sweeper._target_, str(composed("experiment=search").hydra.mode)) == (
        "hydra_plugins.design_space.SearchSweeper",
        "RunMode.MULTIRUN",
    )
    base = config("experiment=search").arch
    values_of = {name: text.split(",") for name, text in sweeper.params.items()}
    for name, texts in values_of.items():
        kind = type(getattr(base, name.removeprefix("arch.")))
        assert getattr(base, name.removeprefix("arch.")) in [kind(text) for text in texts], name
    first = composed("experiment=search").search.first
    for changes in first:
        for name, value in changes.items():
            assert value in [type(value)(text) for text in values_of[name]]
    assert first[0] == {}, "the paper's metaparameters at the preset's width"
    assert (base.sr, base.pct_3x3, base.freq, base.bypass, base.fires) == (0.125, 0.5, 2, "none", 8)
    assert base.base_e == base.incr_e


def test_the_experiment_of_devices_has_the_presets_network_and_draws_alike_whichever_run_ends_first():
    cfg = composed("experiment=device")
    base = config("experiment=device").arch
    for name, texts in cfg.hydra.sweeper.params.items():
        value = getattr(base, name.removeprefix("arch."))
        assert value in [type(value)(text) for text in str(texts).split(",")], name
    assert (cfg.search.sampler, cfg.search.reduction, cfg.search.first) == ("random", 1, [])


def searches(experiment: str) -> bool:
    """Whether the experiment chooses from its grid, which may have a million points."""
    sweeper = composed(f"experiment={experiment}").hydra.sweeper
    return str(sweeper._target_).endswith("SearchSweeper")


def test_the_experiments_that_search():
    assert list(filter(searches, choices("experiment"))) == [
        "device",
        "map",
        "mlperf_tiny",
        "search",
        "tabular",
        "tabular_again",
    ]


@pytest.mark.parametrize("name", [name for name in choices("experiment") if not searches(name)])
def test_experiments(name):
    swept = values(name)
    grid = itertools.product(*([f"{key}={text}" for text in texts] for key, texts in swept.items()))
    keys = [point(f"experiment={name}", *overrides).key for overrides in grid]
    assert len(set(keys)) == len(keys)
    assert (len(keys) > 1) == bool(swept)
    assert (str(composed(f"experiment={name}").hydra.mode) == "RunMode.MULTIRUN") == bool(swept)
    assert point(f"experiment={name}").cost.parameters > 0


@pytest.mark.parametrize(
    ("experiment", "parameters"),
    [
        # Figure 3a: SR 0.125 to 1 with half of the filters 3x3; the sizes that follow from the paper's section 5.1.
        ("sr", [1_248_424, 1_967_080, 3_404_392, 4_841_704, 6_279_016]),
        # Figure 3b: 1 % to 99 % of 3x3 filters at SR 0.5.
        (
            "pct_3x3",
            [1_478_248, 1_929_832, 2_421_352, 2_912_872, 3_404_392, 3_895_912, 4_387_432, 4_878_952, 5_330_536],
        ),
        # Section 6: a simple bypass is free; the complex one is 1x1 convolutions on fire2, 4, 6 and 8.
        ("bypass", [1_248_424, 1_248_424, 1_589_672]),
    ],
)
def test_experiments_are_the_papers(experiment, parameters):
    ((name, texts),) = values(experiment).items()
    points = [point(f"experiment={experiment}", *PAPER, f"{name}={text}") for text in texts]
    assert [each.cost.parameters for each in points] == parameters


def test_swept_values():
    assert values("sr") == {"arch.sr": ["0.125", "0.25", "0.5", "0.75", "1.0"]}
    assert [float(text) for text in values("pct_3x3")["arch.pct_3x3"]] == [0.01, *(i / 8 for i in range(1, 8)), 0.99]
    assert values("bypass") == {"arch.bypass": ["none", "simple", "complex"]}


def test_arithmetic_agrees_with_the_closed_form():
    planned = point("arch=squeezenet_narrow", "data=cifar10")
    arch = planned.config.arch
    closed = cost_grid.count_grid(
        base_e=arch.base_e,
        incr_e=arch.incr_e,
        conv1=arch.conv1,
        version="small",
        classes=10,
        image_size=32,
        channels=3,
        sr=arch.sr,
    )
    assert planned.cost == closed
