"""The command that trains a run again leads to the same run."""

import shlex
from dataclasses import replace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fire.data.spec import DataSpec
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
    run = ONE_A_METHOD[method]
    program, *overrides = shlex.split(command_of(overrides_of(run), [run.seed]).removeprefix("python -m "))
    assert program == "sweep"
    assert config(*overrides).key == run.key


def test_a_command_that_is_not_composed_again_is_the_same():
    for each in list(COMMITTED.values())[::10]:
        assert overrides_of(each, check=False) == overrides_of(each)


@pytest.mark.parametrize(
    "name",
    ["My Pictures (2024)", "a,b", "o'brien", "x=y", "back\\slash\\", "1e3", "B\u00fccher", "{a}", "[b]", "$HOME"],
)
@pytest.mark.parametrize("parent", ["", "/pictures/"])
def test_the_images_may_be_in_a_folder_of_any_name(name, parent):
    root = parent + name
    data = DataSpec(name="image_folder", root=root, channels=3, stored_size=32, image_size=32, fingerprint="0123")
    (word,) = [word for word in overrides_of(record("a", data=data).config) if word.startswith("data.root=")]
    value = OverridesParser.create().parse_override(word).value()
    assert str(getattr(value, "text", value)) == root


def test_the_command_does_not_read_what_a_record_names(tmp_path):
    """Records of others may name any file; weights that were moved have the fingerprint of the record."""
    train = TrainSpec(weights=str(tmp_path / "gone.safetensors"), weights_fingerprint="0123")
    assert f"train.weights={tmp_path}/gone.safetensors" in overrides_of(record("a", train=train).config)
    hostile = replace(train, weights="${oc.env:HOME}")
    with pytest.raises(InputError, match=r"^train.weights must be a text without \$\{"):
        overrides_of(record("a", train=hostile).config)
