"""python -m sweep.export, and the option export of runs and sweeps."""

import errno
import json
import shutil
from dataclasses import replace

import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from fire.data.batches import Batches
from fire.data.dataset import ImageSet
from fire.errors import InputError, TrainingError
from fire.export import graph, runtime, tuning
from fire.files import WriteError
from fire.train.spec import TrainSpec
from sweep import exporting, preparation
from sweep.__main__ import answer
from sweep.commands.exits import RunsError
from sweep.export import _main as export_command
from sweep.run import run
from sweep.store import INT8_ONNX, ONNX, TUNING, WEIGHTS
from tests.sweeping import TINY, launch

MEASURED = ("onnx_latency_seconds", "onnx_latency_spread", "int8_latency_seconds", "int8_latency_spread")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A trained network's run, with both files."""
    folder = tmp_path_factory.mktemp("results")
    made = launch(*TINY, f"results_dir={folder}", f"data_dir={folder / 'data'}", "export=int8")
    run(*made)
    return made


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of it, which a test may change."""
    shutil.copytree(exported.options.results_dir, tmp_path / "results")
    return exported.having(results_dir=str(tmp_path / "results"))


def without_times(record):
    return replace(record, **dict.fromkeys(MEASURED, 0.0))


def test_the_record_has_what_the_files_are(exported, digits):
    record = exported.store.read(exported.config.key)
    assert record.onnx_bytes == (exported.folder / ONNX).stat().st_size
    assert record.int8_bytes == (exported.folder / INT8_ONNX).stat().st_size
    assert record.onnx_top1 == record.top1
    assert record.onnx_loss == pytest.approx(record.loss, abs=1e-5)
    assert abs(record.int8_validation_top1 - record.validation_top1) <= 0.02
    assert all(getattr(record, name) > 0 for name in MEASURED)
    assert not (exported.folder / TUNING).exists()


def test_another_program_finds_the_same_classes_in_the_int8_file(exported, digits):
    test = ImageSet(digits.test.images, digits.test.labels, digits.test.rows[:100])
    batches = Batches(test, digits, TrainSpec(), torch.device("cpu"))
    theirs = ReferenceEvaluator(onnx.load(exported.folder / INT8_ONNX))
    ours, _ = runtime.logits(exported.folder / INT8_ONNX, batches)
    found = [theirs.run(None, {graph.IMAGE: image})[0].argmax() for image, _ in runtime.single_images(batches)]
    assert sum(a == b for a, b in zip(found, ours.argmax(1).tolist(), strict=True)) >= 99


@pytest.mark.parametrize("missing", [ONNX, INT8_ONNX])
def test_what_is_missing_is_made_again_and_what_is_there_is_kept(copied, missing):
    before = copied.store.read(copied.config.key)
    content = (copied.folder / missing).read_bytes()
    kept = copied.folder / (INT8_ONNX if missing == ONNX else ONNX)
    stamp = kept.stat().st_mtime_ns
    (copied.folder / missing).unlink()
    assert without_times(run(*copied)) == without_times(before)
    assert (copied.folder / missing).read_bytes() == content
    assert kept.stat().st_mtime_ns == stamp


def test_a_finished_export_is_skipped(exported, monkeypatch):
    monkeypatch.setattr(graph, "fp32", None)  # would raise
    assert run(*exported) == exported.store.read(exported.config.key)


def test_an_export_is_no_part_of_the_key(exported):
    assert exported.having(export="none").config.key == exported.config.key


def test_a_sweep_exports_finished_runs_too(copied, capsys):
    places = [f"results_dir={copied.options.results_dir}", f"data_dir={copied.options.data_dir}"]
    (copied.folder / ONNX).unlink()
    answer(["-m", *TINY, *places, "export=onnx", "seed=0"])
    assert (copied.folder / ONNX).is_file()
    assert "1 runs, 0 finished before" in capsys.readouterr().out


def test_a_network_that_loses_in_int8_is_fine_tuned(copied, monkeypatch):
    monkeypatch.setattr(exporting, "MOST_LOST", -1.0)
    before = copied.store.read(copied.config.key)
    (copied.folder / INT8_ONNX).unlink()
    notes, learning = [], []
    plain = tuning.Int8Output.__call__

    def watched(hook, *arguments):
        learning.append(hook.is_learning)
        return plain(hook, *arguments)

    monkeypatch.setattr(tuning.Int8Output, "__call__", watched)
    after = run(*copied, notes.append)
    assert any("fine-tuning for int8" in getattr(note, "text", "") for note in notes)
    assert learning.count(False) > 10 * learning.count(True), "activations are rounded at each step"
    better = after.int8_validation_top1 > before.int8_validation_top1
    assert (after.tuned_epochs > 0) == better
    assert after.int8_validation_top1 >= before.int8_validation_top1
    assert not (copied.folder / TUNING).exists()


def test_the_command_exports_a_run_and_copies_its_files(copied, tmp_path, capsys):
    out = tmp_path / "out"
    export_command(["--int8", str(copied.folder), "--out", str(out), f"data_dir={copied.options.data_dir}"])
    assert sorted(path.name for path in out.iterdir()) == [INT8_ONNX, ONNX]
    record = copied.store.read(copied.config.key)
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert f"{out / ONNX}: {record.onnx_bytes:,} bytes, test top-1 {100 * record.top1:.2f} %" in lines[0]
    assert f"{out / INT8_ONNX}: {record.int8_bytes:,} bytes" in lines[1]


def test_the_command_exports_a_file_of_weights(copied, tmp_path, capsys):
    out = tmp_path / "out"
    weights = str(copied.folder / WEIGHTS)
    arguments = [weights, "--int8", "--out", str(out), "data=digits", f"data_dir={copied.options.data_dir}"]
    export_command(arguments)
    assert sorted(path.name for path in out.iterdir()) == ["weights.int8.onnx", "weights.onnx"]
    assert (out / "weights.onnx").read_bytes() == (copied.folder / ONNX).read_bytes()
    top1 = copied.store.read(copied.config.key).top1
    assert f"test top-1 {100 * top1:.2f} %" in capsys.readouterr().out


def test_a_run_without_weights_is_refused_on_one_line(copied):
    (copied.folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"got '.*': it has no weights\.safetensors$"):
        export_command([str(copied.folder)])
    (copied.folder / ONNX).unlink()
    with pytest.raises(InputError, match=r"the network to export must be in .*weights\.safetensors"):
        run(*copied)


@pytest.mark.parametrize("arguments", [["--int9"], ["--out"], ["sr=0.5"], ["device=cpu"]])
def test_bad_arguments_are_refused(exported, arguments):
    with pytest.raises(InputError, match="arguments must be"):
        export_command([str(exported.folder), *arguments])


def test_without_the_extra_nothing_begins(exported, monkeypatch):
    monkeypatch.setattr(preparation, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(InputError, match="export must be none here, where onnxruntime must be installed first"):
        export_command([str(exported.folder)])


def test_a_full_disk_leaves_the_finished_run_as_it_was(copied, monkeypatch):
    (copied.folder / INT8_ONNX).unlink()
    before = (copied.folder / "record.json").read_bytes()

    def full(path, content):
        raise WriteError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(exporting, "write", full)
    arguments = ["--int8", str(copied.folder), f"data_dir={copied.options.data_dir}"]
    with pytest.raises(RunsError, match="No space left on device") as caught:
        export_command(arguments)
    assert caught.value.code == 1
    assert (copied.folder / "record.json").read_bytes() == before
    assert not (copied.folder / INT8_ONNX).exists()
    monkeypatch.undo()
    run(*copied)
    assert json.loads((copied.folder / "record.json").read_text())["int8_bytes"] > 0


def test_a_finished_run_of_a_newer_version_is_left_as_it_is(copied):
    path = copied.folder / "record.json"
    path.write_text(path.read_text().replace('"family":', '"invented": 0, "family":'))
    (copied.folder / ONNX).unlink()
    written = path.read_bytes()
    with pytest.raises(InputError, match="must be of this version to be exported: invented must be a setting of this"):
        run(*copied)
    assert path.read_bytes() == written


def test_fine_tuning_is_computed_as_its_sweep_and_a_divergence_keeps_the_file(copied, monkeypatch):
    monkeypatch.setattr(exporting, "MOST_LOST", -1.0)
    content = (copied.folder / INT8_ONNX).read_bytes()
    (copied.folder / INT8_ONNX).unlink()
    recipes, notes = [], []

    def diverge(network, images, train, **settings):
        recipes.append(train)
        raise TrainingError("loss is nan")

    monkeypatch.setattr(tuning, "tune", diverge)
    any_precision = replace(copied.config, train=replace(copied.config.train, precision="auto"))
    record = replace(copied.store.read(copied.config.key), config=any_precision, int8_bytes=None)
    options = replace(copied.options, auto_precision="bf16", auto_kernels="torch")
    found = exporting.export(record, any_precision, options, notes.append)
    assert [(recipe.precision, recipe.kernels) for recipe in recipes] == [("bf16", "torch")]
    assert notes[-1].text == "the int8 file is not fine-tuned: loss is nan"
    assert (found.tuned_epochs, (copied.folder / INT8_ONNX).read_bytes()) == (0, content)


def test_dots_in_the_name_of_a_file_stay(copied, tmp_path):
    weights = tmp_path / "net_v1.1.safetensors"
    shutil.copy(copied.folder / WEIGHTS, weights)
    export_command([str(weights), "data=digits", f"data_dir={copied.options.data_dir}"])
    assert (tmp_path / "net_v1.1.onnx").is_file()
