"""The best network of a store, and the command that trains it again. Nothing trains here."""

import shlex

import pytest

from fire.errors import InputError
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mnist"], "--data must be one of digits, got 'mnist'"),
        (["--macs", "5"], "the results must hold a finished network with macs<=5, got none in "),
    ],
)
def test_bounds_and_data_sets_without_a_network_are_refused(printed, arguments, message):
    with pytest.raises(InputError) as caught:
        printed({config(*TINY): 0.8}, *arguments)
    assert str(caught.value).startswith(message)


def test_a_winner_that_cannot_be_trained_again_hides_no_other(printed, tmp_path):
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    winner, other = config(*TINY, f"train.weights={path}"), config(*TINY, "data.limit=100")
    path.unlink()
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
    again = config(*best.overrides_of(run), data_dir)
    assert (again.key, again.data.resize) == (run.key, run.data.resize)
