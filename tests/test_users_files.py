"""YAML files of a user's own that have a mistake: one line says what is wrong with which file."""

import re
from pathlib import Path

import pytest

from tests.sweeping import answered

SCHEMA = "must be a preset whose defaults begin with /schema/"


@pytest.fixture
def refused(tmp_path):
    """The one line about a command with these files of the user's, path: text, in a folder of configurations."""

    def line(files: dict[str, str], *arguments: str) -> str:
        for name, text in files.items():
            path = Path(tmp_path, "mine", f"{name}.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        places = (f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
        code, out, err = answered("--config-dir", f"{tmp_path}/mine", "data=digits", *places, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return line


@pytest.mark.parametrize(
    "arguments", [(), ("arch.sr=0.25",), ("--help",), ("-m", "seed=0,1"), ("experiment=search",)], ids=" ".join
)
@pytest.mark.parametrize("text", ["base_e: 24\n", "", "defaults:\n  - /schema/train@_here_\n"])
def test_a_network_whose_file_has_no_schema(text, arguments, refused):
    err = refused({"arch/mine": text}, "arch=mine", *arguments)
    if "train" not in text or arguments != ("arch.sr=0.25",):  # which is no key of that schema
        assert f"sweep: arch {SCHEMA}squeezenet@_here_ or another of conf/arch, got one without\n" in err


@pytest.mark.parametrize("arguments", [(), ("train.lr=0.1",), ("--help",)], ids=" ".join)
def test_training_settings_whose_file_has_no_schema(arguments, refused):
    err = refused({"train/mine": "epochs: 1\n"}, "train=mine", *arguments)
    assert err == f"sweep: train {SCHEMA}train@_here_ or another of conf/train, got one without\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train/mine", "defaults: [fast, _self_]\nepochs: many\n", "train.epochs must be a whole number, got 'many'"),
        ("experiment/mine", "# @package _global_\narch: {srr: 1}\n", "arch.srr must be one of base_e, "),
        ("experiment/mine", "# @package _global_\ndata: {mirror: maybe}\n", "data.mirror must be true or false, got "),
    ],
)
def test_a_value_that_is_wrong_in_a_file(name, text, message, refused):
    err = refused({name: text}, f"{name.partition('/')[0]}=mine")
    assert err.startswith(f"sweep: {message}")
    assert err.endswith(f" (in {name}.yaml)\n")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("experimnt=sr", r"experimnt must be one of seed, .*, search, .*, experiment, got a new key"),
        ("+experimnt=sr", r"experimnt must be one of seed, .*, search, .*, experiment, got a new key"),
        ("hydra.launcher.partition=gpu", r"hydra.launcher.partition must be left out with this launcher, .*"),
        ("hydra.sweeper.axes=1", r"hydra.sweeper.axes must be one of params, got a new key"),
    ],
)
def test_choices_are_those_that_a_user_can_write(argument, message, refused):
    assert re.fullmatch(f"sweep: {message}\n", refused({"arch/mine": ""}, "-m", argument))
