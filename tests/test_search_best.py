"""Which network is shown as the best, and how it is trained again. Nothing trains here."""

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
def shown(tmp_path, capsys):
    """What the command prints about runs with these accuracies."""

    def tell(runs: dict[RunConfig, float], *arguments: str) -> str:
        for run, top1 in runs.items():
            Store(tmp_path).write(record_of(run, top1))
        command.answer(["best", str(tmp_path), *arguments])
        return capsys.readouterr().out

    return tell


def test_each_data_set_has_its_own_best_network(shown):
    whole, few = config(*TINY, "arch.sr=0.25"), config(*TINY, "data.limit=100")
    out = shown({config(*TINY): 0.8, whole: 0.9, few: 0.7})
    assert [line for line in out.splitlines() if "digits:" in line] == [
        line
        for run in (whole, few)
        for line in best.lines(best.Candidate(config=run, records=(record_of(run, 0),)))[:1]
    ]
    assert f"runs      {whole.key}" in out
    assert f"runs      {few.key}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "mnist"], "--data must be one of digits, got 'mnist'"),
        (["--macs", "5"], "the results must hold a finished network with macs<=5, got none in "),
    ],
)
def test_what_there_is_none_of_is_named(shown, arguments, message):
    with pytest.raises(InputError) as caught:
        shown({config(*TINY): 0.8}, *arguments)
    assert str(caught.value).startswith(message)


def test_a_winner_that_cannot_be_trained_again_hides_no_other(shown, tmp_path):
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    winner, other = config(*TINY, f"train.weights={path}"), config(*TINY, "data.limit=100")
    path.unlink()
    out = shown({winner: 0.9, other: 0.7})
    assert f"runs      {winner.key}\n  again     no command line of this version leads to it" in out
    (again,) = [line for line in out.splitlines() if "again     python -m sweep " in line]
    assert config(*shlex.split(again)[4:-1]).key == other.key


@pytest.mark.parametrize(
    "recipe",
    [["train=paper"], ["train=paper", "data.resize=crop"], ["train=quick", "data.resize=squash"]],
    ids=" ".join,
)
def test_the_command_line_of_a_network_has_its_way_of_resizing(recipe, tmp_path):
    sizes = ("data.stored_size=20", "data.image_size=20", "arch=squeezenet_narrow", f"data_dir={tmp_path}")
    run = config("data=image_folder", f"data.root={image_folder(tmp_path / 'images')}", *sizes, *recipe)
    again = config(*best.overrides_of(run), f"data_dir={tmp_path}")
    assert (again.key, again.data.resize) == (run.key, run.data.resize)
