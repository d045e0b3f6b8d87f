"""The best network of a store, and the command that trains it again. Nothing trains here."""

import math
import shlex
from dataclasses import replace

import pytest

from fire.errors import InputError
from sweep.again import overrides_of
from sweep.config import RunConfig
from sweep.search import __main__ as command
from sweep.search import best
from sweep.store import Store
from tests.records import record_of
from tests.sweeping import TINY, config, image_folder


@pytest.fixture
def printed(tmp_path, capsys):
    """What the command prints about runs with these accuracies."""

    def answer(runs: dict[RunConfig, float], *arguments: str) -> str:
        for run, top1 in runs.items():
            Store(tmp_path).write(record_of(run, top1))
        command.answer(["best", str(tmp_path), *arguments])
        return capsys.readouterr().out

    return answer


def test_each_data_set_has_its_own_best_network(printed):
    whole, few = config(*TINY, "arch.sr=0.25"), config(*TINY, "data.limit=100")
    out = printed({config(*TINY): 0.8, whole: 0.9, few: 0.7})
    assert out.count("digits: data=digits arch=squeezenet_narrow ") == 2
    assert f"runs      {whole.key}" in out
    assert f"runs      {few.key}" in out
    out = printed({config(*TINY): 0.8, whole: 0.9, few: 0.7}, "--data", few.key)
    assert f"runs      {few.key}" in out
    assert f"runs      {whole.key}" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mnist"], "--data must be one of digits, or the key of a run, got 'mnist'"),
        (["--macs", "5"], "the results must hold a finished network with macs<=5, got none in "),
    ],
)
def test_bounds_and_data_sets_without_a_network_are_refused(printed, arguments, message):
    with pytest.raises(InputError) as caught:
        printed({config(*TINY): 0.8}, *arguments)
    assert str(caught.value).startswith(message)


def test_a_winner_that_cannot_be_trained_again_hides_no_other(printed):
    whole, other = config(*TINY), config(*TINY, "data.limit=100")
    weights = {"weights": "${oc.env:HOME}", "weights_fingerprint": "0123"}  # Hydra would replace this text
    winner = replace(whole, train=replace(whole.train, **weights))
    out = printed({winner: 0.9, other: 0.7})
    assert f"runs      {winner.key}\n  again     no command line of this version leads to it" in out
    (again,) = [line for line in out.splitlines() if "again     python -m sweep " in line]
    assert config(*shlex.split(again)[4:-1]).key == other.key


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images, and one for what is cached of it."""
    folder = tmp_path_factory.mktemp("images")
    return f"data.root={image_folder(folder / 'images')}", f"data_dir={folder}"


@pytest.mark.parametrize(
    "recipe",
    [["train=paper"], ["train=paper", "data.resize=crop"], ["train=quick", "data.resize=squash"]],
    ids=" ".join,
)
def test_the_command_line_of_a_network_has_its_way_of_resizing(recipe, images):
    root, data_dir = images
    sizes = ("data.stored_size=20", "data.image_size=20", "arch=squeezenet_narrow", data_dir)
    run = config("data=image_folder", root, *sizes, *recipe)
    again = config(*overrides_of(run), data_dir)
    assert (again.key, again.data.resize) == (run.key, run.data.resize)


def test_the_standard_error_is_that_of_images_and_seeds():
    # 200 validation images of the digits: sqrt(0.9 * 0.1 / 200) = 0.0212; the variance of 0.88 and 0.92 is 0.0008.
    one = best.Candidate(config=config(*TINY), records=(record_of(config(*TINY), 0.9),))
    two = best.Candidate(
        config=config(*TINY),
        records=(record_of(config(*TINY), 0.88), record_of(config(*TINY, "seed=1"), 0.92)),
    )
    assert one.standard_error == pytest.approx(0.021213, abs=1e-6)
    assert two.standard_error == pytest.approx((0.09 / 200 + 0.0008 / 2) ** 0.5)
    assert best.validation_images(config(*TINY, "data.limit=100").data) == 100


def test_what_a_fraction_of_a_folder_sets_aside_is_not_known(images):
    run = config("data=image_folder", *images, "data.stored_size=20", "data.image_size=20", "arch=squeezenet_narrow")
    assert best.validation_images(run.data) is None
    one = best.Candidate(config=run, records=(record_of(run, 0.9),))
    two = best.Candidate(config=run, records=(record_of(run, 0.88), record_of(run, 0.92)))
    assert math.isnan(one.standard_error)
    assert two.standard_error == pytest.approx(0.02)
    assert best.cheapest([one], one, "macs") is one
    assert best.comparison(one, one, "macs") == [
        "the least macs within one standard error of it (not known; 1 seed): the same network"
    ]


def test_the_cheapest_within_one_standard_error_is_printed(printed):
    # By the formula above the standard error at 0.9 is 0.0212, so 0.88 is near and 0.87 is not.
    best_one, near = config(*TINY, "arch.base_e=24"), config(*TINY)
    far = config(*TINY, "arch.base_e=8")
    runs = {best_one: 0.9, near: 0.88, far: 0.87}
    out = printed(runs)
    title = "the least size_bytes within one standard error of it (2.12 points; 200 validation images, 1 seed):\n"
    chosen, other = out.split(title)
    assert f"runs      {best_one.key}" in chosen
    assert f"runs      {near.key}" in other
    assert far.key not in out
    # The bound on MACs is the tighter one: 1.01 times what the network has, against ten times.
    bounds = ["--macs", str(1.01 * best_one.cost.macs), "--flash", str(10 * best_one.cost.flash_bytes)]
    assert "the least macs within one standard error" in printed(runs, *bounds)
    only = ["--peak-ram", f"{far.cost.peak_ram_bytes}B", "--parameters", str(far.cost.parameters)]
    assert "within one standard error of it (2.38 points; 200 validation images, 1 seed): the same network" in printed(
        runs, *only
    )
