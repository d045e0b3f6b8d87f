"""TensorBoard's own reader finds the runs, their curves and their hyperparameters."""

import dataclasses

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from analysis import event_files
from analysis.__main__ import write
from analysis.results import read
from fire.errors import InputError
from tests.sweeping import write_curve


def test_curves_are_scalars_and_settings_hyperparameters(store, tmp_path):
    write_curve(store.folder("a"), 0.5, 0.7)
    out = tmp_path / "events"
    assert event_files.write(read(store.root), out) == 3, "the failed run has no curve"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "c"]
    events = EventAccumulator(str(out / "a"))
    events.Reload()
    curve = [(each.step, each.value) for each in events.Scalars("curve/validation_top1")]
    assert curve == [(1, 0.5), (2, pytest.approx(0.7))]
    assert [each.value for each in events.Scalars("run/top1")] == [pytest.approx(0.8)]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["sr"].number_value == 0.5
    assert hparams["bypass"].string_value == "none"
    assert hparams["train.epochs"].number_value == 3


@pytest.mark.parametrize("start", ["yesterday", "2026-13-01", None])
def test_a_run_whose_start_is_no_time_begins_at_0(start, store, tmp_path):
    store.write(dataclasses.replace(store.read("a"), start=start))
    store.write(dataclasses.replace(store.read("b"), start="1970-01-01T00:01:00+00:00"))
    write_curve(store.folder("b"), 0.5)
    assert event_files.write(read(store.root), tmp_path / "events") == 3
    times = {}
    for key, tag in (("a", "run/top1"), ("b", "curve/validation_top1")):
        events = EventAccumulator(str(tmp_path / "events" / key))
        events.Reload()
        (times[key],) = (each.wall_time for each in events.Scalars(tag))
    assert times == {"a": 0, "b": 61}, "after an epoch of a second"


def test_the_command_writes_them_alone(store, tmp_path, capsys):
    out = tmp_path / "events"
    write([str(store.root), "--tensorboard", str(out)])
    assert capsys.readouterr().out == f"event files of 3 runs: tensorboard --logdir {out}\n"
    with pytest.raises(InputError, match="--tensorboard must be a new or empty folder"):
        write([str(store.root), "--tensorboard", str(out)])


def test_without_tensorboard_it_says_so(store, tmp_path, monkeypatch):
    monkeypatch.setattr(event_files.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the package tensorboard must be installed \(pip install tensorboard\)"):
        event_files.write(read(store.root), tmp_path / "events")
