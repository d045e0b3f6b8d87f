"""The command that trains a run again leads to the same run."""

import shlex

import pytest

from fire.errors import InputError
from fire.train.spec import TrainSpec
from sweep.again import command_of, overrides_of
from sweep.store import Store
from tests.records import record
from tests.sweeping import ROOT, config

COMMITTED = {each.key: each.config for each in Store(ROOT / "docs" / "results").records() if each.config is not None}
# Of a folder of images the command needs the folder.
ONE_A_METHOD = {each.compress.method: each for each in COMMITTED.values() if each.data.name != "image_folder"}


@pytest.mark.parametrize("method", sorted(ONE_A_METHOD))
def test_the_command_leads_to_the_same_run(method):
    program, *overrides = shlex.split(command_of(ONE_A_METHOD[method]).removeprefix("python -m "))
    assert program == "sweep"
    assert config(*overrides).key == ONE_A_METHOD[method].key


def test_a_command_that_is_not_composed_again_is_the_same():
    for each in list(COMMITTED.values())[::10]:
        assert overrides_of(each, check=False) == overrides_of(each)


def test_a_run_that_no_command_leads_to_has_none():
    made = record("a", train=TrainSpec(weights="gone.safetensors", weights_fingerprint="0123")).config
    assert made is not None
    with pytest.raises(InputError, match=r"gone\.safetensors"):
        overrides_of(made)
