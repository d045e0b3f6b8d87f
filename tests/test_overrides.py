"""Overrides as they were typed, and as values."""

import pytest

from sweep.compose import with_values
from sweep.overrides import as_typed, canonical
from tests.sweeping import TINY, command, options, point


def test_plus_signs_before_our_keys_do_nothing():
    assert as_typed("++arch.sr=0.25,0.5") == as_typed("+arch.sr=0.25,0.5") == "arch.sr=0.25,0.5"
    assert as_typed("+experiment=sr") == "experiment=sr"
    assert as_typed("+hydra.verbose=true") == "+hydra.verbose=true"


@pytest.mark.parametrize("text", ["1e3", "1234e56", "12e4567", "0x10", "1_000", "true", "007", "~x", "a:b", "run-1"])
def test_a_folder_is_called_what_was_typed(text):
    assert options(*TINY, as_typed(f"results_dir={text}")).results_dir == text


@pytest.mark.parametrize(
    "argument",
    [
        "-m",
        "arch.sr=1e-1",
        "seed=1e3",
        "results_dir=results",
        "results_dir='1e3'",
        "arch.version=1.0",
        "arch.version=1.0,1.1",
        "arch.bypass=choice(none,simple)",
        "results_dir=${data_dir}/r",
        "data.root=null",
        "train=quick",
    ],
)
def test_what_hydra_reads_as_it_was_typed_is_left_alone(argument):
    assert as_typed(argument) == argument


@pytest.mark.parametrize("key", ["results_dir", "data_dir"])
def test_a_tilde_is_the_home_folder(key, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert getattr(options(*TINY, as_typed(f"{key}=~/x")), key) == f"{tmp_path}/x"
    assert getattr(options(*TINY, f"{key}='~/x'"), key) == f"{tmp_path}/x"  # as YAML has it


def test_one_number_is_one_run_however_it_was_computed():
    computed = 0.1 + 0.2
    assert computed != 0.3
    made = point(*TINY, f"arch.sr={computed!r}").config
    assert made.arch.sr == 0.3
    assert made.key == point(*TINY, "arch.sr=0.3").config.key
    assert point(*TINY, "train.lr=1").config.key == point(*TINY, "train.lr=1.0").config.key
    assert point(*TINY, "arch.sr=0.300000000001").config.key != made.key  # the twelfth digit counts


def test_numbers_computed_by_a_range_are_shown_as_typed():
    code, out, err = command("-m", "arch=squeezenet_narrow", "arch.sr=range(0.1,0.5,0.1)", "dry_run=true")
    assert (code, err) == (0, "")
    assert "sr=0.3 " in out
    assert "000" not in out.replace(",000", "")
    assert canonical("arch.sr=0.30000000000000004") == "arch.sr=0.3"
    assert canonical("train.weights=a0.30000000000000004") == "train.weights=a0.30000000000000004"


@pytest.mark.parametrize(
    "axis",
    [
        "threads=1,2",
        "workers=1,2",
        "device=cpu,auto",
        "results_dir=a,b",
        "data_dir=a,b",
        "timeout=1,2",
        "stop_epoch=1,2",
    ],
)
def test_an_axis_that_makes_no_other_runs_is_refused(axis):
    code, out, err = command("-m", *TINY[:-1], axis, "dry_run=true")
    assert (code, out) == (2, "")
    assert err == f"sweep: {axis.partition('=')[0]} must be one value, got '{axis}'\n"


def test_presets_are_the_only_choices_of_a_group():
    code, out, err = command("-m", "train=glob(*)", "dry_run=true")
    assert (code, err) == (0, "")
    assert "6 points" in out
    code, _, err = command("train=schema")
    assert code == 2
    assert err == "sweep: train must be one of colour, fast, full, mixup, paper, quick, got 'schema'\n"


def test_values_that_take_a_composition_are_left_to_hydra():
    config = point(*TINY).config
    assert with_values(config, {"arch.sr": "${arch.pct_3x3}"}) is None
    assert with_values(config, {"train.weights": "file"}) is None
    assert with_values(config, {"seed": 3}) == point(*TINY, "seed=3").config
