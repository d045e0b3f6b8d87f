"""What a notebook shows: the newest sweep of its experiment, one that is named, or the committed results."""

import dataclasses
from pathlib import Path

import pytest

from analysis.choice import choose, everything, mapped
from fire.errors import InputError
from sweep.manifests import Sweep
from sweep.store import Store
from tests.records import record


def launch(store: Store, experiment: str | None, *overrides: str, launched: str | None, key: str = "", **fields) -> str:
    """A sweep of one finished run; its name."""
    name = "_".join(filter(None, (experiment, *overrides))).replace("/", "_")
    key = key or f"run-of-{name}"
    store.write(record(key, **fields))
    store.write_sweep(
        Sweep(
            name=name,
            varied=("arch.sr",),
            points=(({"arch.sr": "0.5"}, key),),
            experiment=experiment,
            overrides=overrides,
            launched=launched,
        )
    )
    return name


@pytest.fixture
def checkout(tmp_path):
    """Committed results of two experiments."""
    committed = Store(tmp_path / "docs" / "results")
    launch(committed, "sr", launched="2026-01-01T00:00:00+00:00")
    launch(committed, "sr", "seed=1", launched="2026-01-02T00:00:00+00:00")
    launch(committed, "results", launched=None)
    return tmp_path


def names(*chosen):
    return [(choice.sweep.name, choice.others) for choice in chosen]


def test_the_committed_results_are_shown_before_the_first_launch(checkout):
    (choice,) = choose("sr", checkout=checkout)
    assert choice.results.folder == checkout / "docs" / "results"
    assert names(choice) == [("sr_seed=1", ("sr",))], "the newest"


@pytest.mark.parametrize("override", ["train.epochs=1", "data=digits"])
def test_the_newest_sweep_is_shown_whatever_its_overrides(override, checkout):
    own = Store(checkout / "results")
    launch(own, "sr", override, launched="2026-02-02T00:00:00+00:00")
    assert names(*choose("sr", checkout=checkout)) == [(f"sr_{override}", ())]
    launch(own, "sr", launched="2026-02-01T00:00:00+00:00")
    launch(own, "sr", "seed=1", launched=None)
    launch(own, "sr_of_mine", launched="2026-03-01T00:00:00+00:00")
    (choice,) = choose("sr", checkout=checkout)
    assert names(choice) == [(f"sr_{override}", ("sr", "sr_seed=1"))]
    assert str(choice).splitlines() == [
        f"sweep sr_{override} in {checkout}/results, launched 2026-02-02T00:00:00+00:00: 1 of 1 runs finished",
        f"overrides: {override}",
        f"others in {checkout}/results: sr, sr_seed=1",
    ]
    launch(own, "sr", launched="2026-02-03T00:00:00+00:00")
    assert names(*choose("sr", checkout=checkout)) == [("sr", (f"sr_{override}", "sr_seed=1"))], "launched again"


def test_a_sweep_without_a_finished_run_is_not_shown(checkout):
    own = Store(checkout / "results")
    launch(own, "sr", launched="2026-02-01T00:00:00+00:00")
    late = "2026-02-02T00:00:00+00:00"
    launch(own, "sr", "train.lr=9", launched=late, status="failed", top1=None, validation_top1=None)
    assert names(*choose("sr", checkout=checkout)) == [("sr", ())]


def test_a_search_over_the_experiment_is_not_shown(checkout):
    own = Store(checkout / "results")
    name = launch(own, "sr", launched="2026-02-01T00:00:00+00:00")
    sweep = own.read_sweep(name)
    late = "2026-02-02T00:00:00+00:00"
    own.write_sweep(dataclasses.replace(sweep, name="search_sr", launched=late, search={"objectives": ["top1"]}))
    assert names(*choose("sr", checkout=checkout)) == [("sr", ())]


def test_one_line_chooses_another_sweep_or_folder(checkout):
    own = Store(checkout / "results")
    launch(own, "sr", launched="2026-02-01T00:00:00+00:00")
    launch(own, "bypass", launched="2026-02-01T00:00:00+00:00")
    assert names(*choose("sr", sweep="sr_seed=1", checkout=checkout)) == [("sr_seed=1", ("sr",))], "of the committed"
    assert names(*choose("sr", sweep="bypass", checkout=checkout)) == [("bypass", ())], "of another experiment"
    (choice,) = choose("sr", folder=checkout / "docs" / "results", checkout=checkout)
    assert choice.results.folder == checkout / "docs" / "results"


def test_several_experiments_come_from_one_folder(checkout):
    both = choose("results_alexnet", "results", checkout=checkout)
    assert names(*both) == [("results", ())]
    launch(Store(checkout / "results"), "results_alexnet", launched="2026-02-01T00:00:00+00:00")
    assert names(*choose("results_alexnet", "results", checkout=checkout)) == [("results_alexnet", ())]


def test_where_nothing_is_to_show_the_line_says_how_to_make_it(checkout, tmp_path):
    with pytest.raises(InputError, match=r"a sweep of experiment bypass with .* \(python -m sweep experiment=bypass\)"):
        choose("bypass", checkout=checkout)
    with pytest.raises(InputError, match="a sweep 'sr_seed=2' of experiment sr"):
        choose("sr", sweep="sr_seed=2", checkout=checkout)
    with pytest.raises(InputError, match=r"readable directory, got .*elsewhere"):
        choose("sr", folder=tmp_path / "elsewhere")


def test_a_damaged_sweep_costs_only_itself(checkout):
    own = Store(checkout / "results")
    launch(own, "sr", launched="2026-02-01T00:00:00+00:00")
    (own.root / "sweeps" / "sr_seed=3.json").write_bytes(b"\xff{")
    (choice,) = choose("sr", checkout=checkout)
    assert names(choice) == [("sr", ())]
    assert len(choice.results.unreadable) == 1


def test_a_map_is_of_own_results_once_they_are_enough(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results").symlink_to(Path(__file__).parents[1] / "docs" / "results")
    words = ["train.epochs=3", "train.optimizer=muon"]
    launch(Store(tmp_path / "results"), "sr", launched=None)
    made, results, notes = mapped(words, checkout=tmp_path)
    assert (results.folder, len(made.keys) >= 10) == (tmp_path / "docs" / "results", True)
    assert notes[0].startswith(f"not of {tmp_path / 'results'}: ")
    with pytest.raises(InputError):
        mapped(words, tmp_path / "results", tmp_path)


def test_the_design_space_is_that_of_own_results_once_there_are_some(checkout):
    assert everything(checkout=checkout).folder == checkout / "docs" / "results"
    own = Store(checkout / "results")
    launch(own, "sr", launched=None, status="failed", top1=None, validation_top1=None)
    assert everything(checkout=checkout).folder == checkout / "docs" / "results"
    launch(own, "bypass", launched=None)
    assert everything(checkout=checkout).folder == own.root
    assert len(everything(checkout / "docs" / "results").runs) == 3
