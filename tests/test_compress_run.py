"""Compression as a run: what its record and its file say, and the commands that compress and evaluate."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import HydraException

from fire.data import dataset
from fire.data.batches import Batches
from fire.errors import InputError
from fire.train.evaluation import evaluate
from fire.weights import fcn
from fire.weights.quantised import to_float
from sweep.commands.hydra_errors import one_line
from sweep.compress import _main as compress_command
from sweep.compress import compressed_config
from sweep.evaluate import _main as evaluate_command
from sweep.evaluate import evaluate as of_weights
from sweep.record import Record
from sweep.run import run
from sweep.store import Store
from tests.sweeping import ROOT, TINY, Launch, command, launch, synset_folder

COMPRESSED = ("compress=deep_compression", "compress.epochs=1", "compress.density=0.5", "compress.coder=adaptive")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Launch, Record]:
    folder = tmp_path_factory.mktemp("compress")
    made = launch(*TINY, *COMPRESSED, f"data_dir={folder}/data", f"results_dir={folder}/results")
    return made, run(*made)


def module(name: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_the_network_is_trained_first_as_a_run_of_its_own(finished):
    made, record = finished
    assert record.status == "finished", record.error
    start = made.store.read(made.uncompressed.config.key)
    assert start is not None
    assert (start.status, start.config.is_compressed, start.file_bytes) == ("finished", False, None)
    assert (record.float_key, record.float_top1) == (start.key, start.top1)
    assert record.float_validation_top1 == start.validation_top1, "both in fp32 here"
    assert record.config == made.config
    assert (record.parameters, record.size_bytes) == (start.parameters, start.size_bytes)


def test_the_record_is_of_the_file(finished, cpu):
    made, record = finished
    path = made.folder / "network.fcn"
    assert record.file_bytes == path.stat().st_size < record.size_bytes / 4
    assert path.read_bytes()[6:14] == b"adaptive"
    decoded = fcn.load(path)
    tensors = [to_float(tensor) for tensor in decoded.tensors.values()]
    assert sum(tensor.size for tensor in tensors) == record.parameters
    assert sum(np.count_nonzero(tensor) for tensor in tensors) == record.nonzero
    kept = sum(np.count_nonzero(t) for t in tensors if t.ndim == 4) / sum(t.size for t in tensors if t.ndim == 4)
    assert kept == pytest.approx(0.5, abs=0.01)
    images = dataset.load(made.config.data, Path(made.options.data_dir))
    scores = evaluate(decoded.network(), Batches(images.test, images, made.config.train, cpu), cpu)
    assert (scores.top1, scores.loss) == (record.top1, pytest.approx(record.loss, rel=1e-5))


def test_the_same_configuration_makes_the_same_file(finished, tmp_path):
    made, _ = finished
    again = made.having(results_dir=str(tmp_path))
    shutil.copytree(made.uncompressed.folder, again.uncompressed.folder)
    run(*again)
    assert (again.folder / "network.fcn").read_bytes() == (made.folder / "network.fcn").read_bytes()


def test_a_network_that_cannot_be_trained_cannot_be_compressed(finished, tmp_path):
    made, _ = finished
    hopeless = replace(made.config, train=replace(made.config.train, lr=1e6, clip=0.0))
    record = run(hopeless, replace(made.options, results_dir=str(tmp_path)))
    assert record.status == "failed"
    assert re.fullmatch(rf"the network to compress, run {hopeless.uncompressed.key}, failed: .+", record.error or "")


def test_a_sweep_trains_once_and_compresses_each(finished, tmp_path):
    made, _ = finished
    arguments = [*TINY, *COMPRESSED[1:], "compress=deep_compression,entropy", "compress.final_epochs=0"]
    code, out, err = command("-m", *arguments, f"data_dir={made.options.data_dir}", f"results_dir={tmp_path}")
    assert (code, err) == (0, "")
    records = list(Store(tmp_path).records())
    assert sorted(record.config.compress.method for record in records) == ["deep_compression", "entropy", "none"]
    assert len({record.float_key for record in records} - {None}) == 1
    assert "file, bytes" in out


def test_compress_command_makes_the_run_that_sweep_makes(finished, tmp_path):
    made, _ = finished
    again = made.having(results_dir=str(tmp_path))
    start = again.uncompressed.folder
    shutil.copytree(made.uncompressed.folder, start)
    code, out, err = module("sweep.compress", str(start), *COMPRESSED, "threads=1", f"data_dir={made.options.data_dir}")
    assert (code, err) == (0, "")
    assert (again.folder / "network.fcn").read_bytes() == (made.folder / "network.fcn").read_bytes()
    assert "test top-1" in out
    assert f"results in {again.folder}/" in out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arch.sr=0.5"], "arguments must be KEY=VALUE with KEY one of compress, compress.*, .*, got 'arch.sr=0.5'"),
        (["timeout=1"], "arguments must be KEY=VALUE with KEY one of .*, got 'timeout=1'"),
        (["-m"], "arguments must be KEY=VALUE with KEY one of .*, got '-m'"),
        (["compress.method=entropy"], "compress.method must be chosen with compress=METHOD.*"),
        (["compress=entropy", "compress.density=0.5"], r"compress\.density must be a setting that compress=entropy .*"),
        (["compress.density=0.1,0.2"], r"compress\.density must be one value, got 'compress\.density=0\.1,0\.2'"),
        (["compress.density=2"], r"compress\.density must be in \(0, 1\], got 2\.0"),
        (["compress=smaller"], "compress must be one of deep_compression, entropy, none, got 'smaller'"),
        (["compress=none"], "compress must be deep_compression or entropy, got none"),
    ],
)
def test_compress_command_refuses(finished, overrides, message):
    with pytest.raises((InputError, HydraException)) as caught:
        compressed_config(finished[0].uncompressed.folder, overrides)
    assert re.fullmatch(message, one_line(caught.value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: folder.parent, "it holds 1 runs, of which one must be chosen"),
        (lambda folder: folder.parent / "other", "there is no such folder"),
        (lambda folder: folder / "record.json", "there is no such folder"),
        (lambda folder: (folder / "record.json").unlink(), "it holds no record.json"),
        (lambda folder: rewrite(folder, seed="x"), "record.json cannot be read: "),
        (lambda folder: (folder / "weights.safetensors").unlink(), "it has no weights.safetensors"),
        (lambda folder: folder.rename(folder.with_name("renamed")), "renamed/record.json cannot be read: key "),
        (lambda folder: rewrite(folder, status="stopped"), "it is stopped"),
        (lambda folder: rewrite(folder, compress={"method": "entropy"}), "it is compressed already"),
        (lambda folder: rewrite(folder, seed=5), "this version of the program knows no such run"),
    ],
)  # fmt: skip
def test_compress_command_wants_a_finished_run(change, reason, finished, tmp_path):
    folder = tmp_path / "results" / finished[0].uncompressed.config.key
    shutil.copytree(finished[0].uncompressed.folder, folder)
    folder = change(folder) or folder
    with pytest.raises(InputError) as caught:
        compressed_config(folder, [])
    rule = "the run must be the folder of a finished run without compression"
    assert str(caught.value).startswith(f"{rule}, got {str(folder)!r}: ")
    assert reason in str(caught.value)


def rewrite(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | changes))


def test_compress_command_takes_the_folder_where_it_is_started(finished, monkeypatch):
    folder = finished[0].uncompressed.folder
    monkeypatch.chdir(folder)
    config, options = compressed_config(Path(), [])
    assert config.uncompressed.key == folder.name
    assert Path(options.results_dir) == folder.parent.resolve()


def test_compress_command_says_what_is_wrong_in_one_line(tmp_path):
    code, out, err = module("sweep.compress", str(tmp_path))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep\.compress: the run must be [^\n]+\n", err)


@pytest.mark.parametrize("argument", ["data=digits", "--data", "-m"])
def test_what_is_read_comes_first(argument):
    for command_of, what in ((evaluate_command, "file of weights"), (compress_command, "folder of a run")):
        with pytest.raises(InputError) as caught:
            command_of([argument, "network.fcn"])
        assert str(caught.value) == f"the {what} must come first, got {argument!r}"


@pytest.mark.parametrize(
    "override", ["train.epochs=9", "compress=entropy", "seed=4", "dry_run=true", "foo=1", "--data", "-m"]
)
def test_evaluate_command_takes_no_setting_that_it_does_not_read(override):
    with pytest.raises(InputError) as caught:
        evaluate_command(["network.fcn", override])
    rule = "KEY=VALUE with KEY one of data, data.*, arch, arch.*, data_dir, device, threads"
    assert str(caught.value) == f"arguments must be {rule}, got {override!r}"


def test_evaluate_command_says_what_the_record_says(finished):
    made, record = finished
    start = made.store.read(made.uncompressed.config.key)
    path = made.folder / "network.fcn"
    code, out, err = module("sweep.evaluate", str(path), "data=digits", f"data_dir={made.options.data_dir}")
    assert (code, err) == (0, "")
    weights_file = made.uncompressed.folder / "weights.safetensors"
    lines = of_weights(weights_file, ["data=digits", f"data_dir={made.options.data_dir}"])
    for known, said in ((record, out), (start, "\n".join(lines))):
        assert f"top-1 {100 * known.top1:.2f} %, top-5 {100 * known.top5:.2f} %" in said
    assert f"{path.stat().st_size:,} bytes" in out


def test_classes_of_another_data_set_are_not_taken_for_these(finished, tmp_path):
    made, _ = finished
    folder = synset_folder(tmp_path / "images", [f"class{label}" for label in range(10)])
    images = (
        "data=image_folder",
        f"data.root={folder}",
        "data.channels=1",
        "data.stored_size=20",
        "data.image_size=20",
    )
    for path in (made.folder / "network.fcn", made.uncompressed.folder / "weights.safetensors"):
        with pytest.raises(InputError, match="classes must be among the weights' 10, '0' to '9': got 'class0'"):
            of_weights(path, images)
