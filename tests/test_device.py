"""From a budget to files and a card: python -m sweep.device, and python -m sweep.search best --export."""

import contextlib
import io
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sweep import device, preparation
from sweep.card import wilson
from sweep.commands import exits
from sweep.config import Options
from sweep.delivery import deliver
from sweep.evaluate import evaluate
from sweep.record import Record
from sweep.search import __main__ as search
from sweep.search.best import candidates
from sweep.search.spec import AtMost
from sweep.store import WEIGHTS, Store
from tests.crashing import Died, operations
from tests.records import record_of
from tests.sweeping import ROOT, TINY, config

pytest.importorskip("onnxscript")

FILES = {"network.onnx", "network.int8.onnx", "network.fcn", "card.md"}
BUDGET = ("peak_ram=2KiB", "flash=24kB", "macs=0.3M")
DIGITS = (
    *("data=digits", "data.limit=300", "search.budget_runs=2", "train.epochs=1", "--train", "quick"),
    "hydra/launcher=local",  # which Hydra keeps apart from the other words
)


def outcome(program: str, command, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            exits.guarded(program, lambda: command([str(argument) for argument in arguments]))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with results/, data/ and device/, which the command has filled."""
    folder = tmp_path_factory.mktemp("device")
    places = (f"results_dir={folder}/results", f"data_dir={folder}/data", "--out", folder / "device")
    done = subprocess.run(
        [sys.executable, "-m", "sweep.device", *BUDGET, *DIGITS, *places],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return folder


def delivered(made: Path) -> Record:
    """The record of the run that the card is about."""
    (key,) = re.findall(r"\| run \| (\w+) ", (made / "device/card.md").read_text())
    record = Store(made / "results").read(key)
    assert record is not None
    return record


def same(card: Path) -> str:
    """The card without its measured times."""
    kept, times = card.read_text().split("## Measured times")
    assert "| ms |" in times
    return kept


def test_a_budget_becomes_files_and_a_card(made):
    assert {path.name for path in (made / "device").iterdir()} == FILES
    record = delivered(made)
    assert record.peak_ram_bytes <= 2048
    assert record.flash_bytes <= 24_000
    assert record.macs <= 300_000
    finals = [each for each in Store(made / "results").records() if each.config.train == record.config.train]
    finals = [each for each in finals if not each.config.is_compressed]
    assert sorted(each.config.seed for each in finals) == [0, 1, 2]
    assert record.validation_top1 == max(each.validation_top1 for each in finals)
    card = (made / "device/card.md").read_text()
    for name in FILES - {"card.md"}:
        assert f"| `{name}` |" in card
        assert f"| {(made / 'device' / name).stat().st_size:,} |" in card
    assert (
        f"| peak_ram_bytes | {record.peak_ram_bytes:,} | 2,048 | {100 * record.peak_ram_bytes / 2048:.0f} % |" in card
    )


def test_its_compressed_file_is_as_accurate_as_another_command_says(made):
    lines = evaluate(made / "device/network.fcn", ["data=digits", "data.limit=300", f"data_dir={made}/data"])
    (top1,) = re.findall(r"top-1 ([\d.]+ %)", lines[-1])
    (row,) = [line for line in (made / "device/card.md").read_text().splitlines() if "| `network.fcn` |" in line]
    assert f"| {top1} |" in row


def test_the_commands_of_the_card_train_the_same_run(made):
    (line,) = re.findall(r"python -m sweep (.*) results_dir=again", (made / "device/card.md").read_text())
    assert config(*line.split()).key == delivered(made).key


def deliver_again(made: Path, out: Path) -> None:
    """Write the files of the same network into another folder."""
    record = delivered(made)
    store = Store(made / "results")
    runs = [store.read(replace(record.config, seed=seed).key) for seed in device.SEEDS]
    (candidate,) = candidates(runs, AtMost())
    options = Options(results_dir=str(made / "results"), data_dir=str(made / "data"))
    deliver(candidate, options, out, AtMost(peak_ram_bytes=2048, flash_bytes=24e3, macs=0.3e6))


def test_it_dies_at_any_file_operation_and_the_next_one_writes_the_same(made, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        whole = operations(patch, tmp_path / "whole")
        deliver_again(made, tmp_path / "whole")
    assert len(whole.done) == 2 * len(FILES)
    for number, operation in enumerate(whole.done):
        out = tmp_path / str(number)
        with monkeypatch.context() as patch:
            operations(patch, out, limit=number)
            with pytest.raises(Died):
                deliver_again(made, out)
        assert not (out / "card.md").exists(), "the card says that all is there"
        deliver_again(made, out)
        assert {path.name for path in out.iterdir()} == FILES, operation
        assert same(out / "card.md") == same(made / "device/card.md")
        for name in FILES - {"card.md"}:
            assert (out / name).read_bytes() == (made / "device" / name).read_bytes()


def test_the_command_writes_the_same_card_again(made, tmp_path):
    places = (f"results_dir={made}/results", f"data_dir={made}/data", "--out", tmp_path)
    code, out, err = outcome("sweep.device", device.answer, *BUDGET, *DIGITS, *places)
    assert (code, err) == (0, "")
    assert out.endswith(f"exported to {tmp_path}/card.md\n")
    assert same(tmp_path / "card.md") == same(made / "device/card.md")


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(made, tmp_path, monkeypatch):
    deliver_again(made, tmp_path)
    monkeypatch.setattr("sweep.store.LEAST_SPACE", 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "network.onnx").stat().st_size - 1, before[1]))
    try:
        code, _, err = outcome("sweep.device", lambda _: deliver_again(made, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, err) == (1, f"sweep.device: '{tmp_path}/network.onnx' cannot be used (File too large)\n")
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"card.md"}
    assert (tmp_path / "network.onnx").read_bytes() == (made / "device/network.onnx").read_bytes()


def test_the_best_of_the_results_is_exported_too(made, tmp_path):
    out = tmp_path / "out"
    arguments = ("best", made / "results", "--export", out, "--data-dir", made / "data", "--peak-ram", "2KiB")
    code, printed, err = outcome("sweep.search", search.answer, *arguments)
    assert (code, err) == (0, "")
    assert printed.endswith(f"exported to {out}/card.md\n")
    assert {path.name for path in out.iterdir()} == FILES
    (key,) = re.findall(r"\| run \| (\w+) ", (out / "card.md").read_text())
    assert key in printed


def test_a_run_without_weights_is_refused(tmp_path):
    store = Store(tmp_path / "results")
    run = config(*TINY)
    store.write(record_of(run, 0.9))
    code, _, err = outcome("sweep.search", search.answer, "best", store.root, "--export", tmp_path / "out")
    line = f"the network to export must have {WEIGHTS} in the results, got none in {store.folder(run.key)}"
    assert (code, err) == (2, f"sweep.search: {line}\n")
    assert not (tmp_path / "out").exists()


def test_two_data_sets_are_not_exported_into_one_folder(tmp_path):
    store = Store(tmp_path / "results")
    keys = []
    for overrides in ((), ("data.limit=100",)):
        run = config(*TINY, *overrides)
        store.write(record_of(run, 0.9))
        keys.append(run.key)
    code, out, err = outcome("sweep.search", search.answer, "best", store.root, "--export", tmp_path / "out")
    assert (code, out) == (2, "")
    rule = "--export must be of one data set, chosen with --data, got 2: "
    choices = sorted(f"digits (--data {key})" for key in keys)
    assert err == f"sweep.search: {rule}{', '.join(choices)}\n"


def test_what_is_missed_at_the_end_is_said_at_the_beginning(tmp_path, monkeypatch):
    given = (*BUDGET, *DIGITS, f"results_dir={tmp_path}/results", f"data_dir={tmp_path}/data")
    (tmp_path / "file").touch()
    code, _, err = outcome("sweep.device", device.answer, *given, "--out", tmp_path / "file")
    assert (code, err) == (2, f"sweep.device: --out must be a folder, got '{tmp_path}/file'\n")
    monkeypatch.setattr(preparation, "find_spec", lambda name: None)
    code, _, err = outcome("sweep.device", device.answer, *given, "--out", tmp_path / "device")
    assert code == 2
    assert "onnx, onnxruntime, onnxscript must be installed first" in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [],
            "the budget must be one of parameters, macs, activations, size, peak_ram, weight, flash or several, such ",
        ),
        (["peak_ram=48KiX"], "peak_ram must be a number, with a unit of B, kB, KB, KiB, MB, MiB, GB, GiB or without, "),
        (["macs=few"], "macs must be a number, with a unit of k, M, G or without, got 'few'"),
        (["flash=0"], "search.at_most.flash_bytes must be above 0, got 0.0"),
        (["peak_ram=20B"], "search.at_most must leave a network of the space, got peak_ram_bytes<=20 (least: "),
        (["peak_ram=2KiB", "seed=1"], "seed must be left out, as this command sets it, got 'seed=1'"),
        (["peak_ram=2KiB", "experiment=sr"], "experiment must be left out, as this command sets it, got "),
        (
            ["peak_ram=2KiB", "--train", "best"],
            "train must be one of colour, fast, full, mixup, paper, quick, got 'best'",
        ),
        (["peak_ram=2KiB", "search.budget_runs=0"], "search.budget_runs must be at least 1, got 0"),
        (["peak_ram=2KiB", "--ot"], "arguments must be as --help shows them: "),
    ],
)
def test_wrong_input_is_one_line_before_anything_trains(arguments, line, tmp_path):
    given = (*arguments, "data=digits", f"results_dir={tmp_path}/results", f"data_dir={tmp_path}/data")
    code, _, err = outcome("sweep.device", device.answer, *given, "--out", tmp_path / "device")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"sweep.device: {line}")
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "device").exists()


def test_an_average_of_weights_takes_more_steps_than_a_small_data_set_has(tmp_path, capsys):
    # 1,238 training images are 9 whole batches of 128: 0.998 ** 216 = 0.65, and 0.9 ** 216 = 1e-10.
    run, options = config(*TINY), Options(data_dir=str(tmp_path))
    full = replace(config("data=digits", "train=full").train, batch_size=128)
    assert device._without_untrained_weights(full, run, options) == replace(full, ema=0.0)
    assert capsys.readouterr().out == "train.ema=0, as 65 % of the average over 216 steps would be untrained weights\n"
    for ema in (0.0, 0.9):
        recipe = replace(full, ema=ema)
        assert device._without_untrained_weights(recipe, run, options) == recipe


def test_the_interval_of_an_accuracy_is_wilsons():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, method 3.
    assert wilson(81 / 263, 263) == "25.53 % to 36.62 %"


@pytest.mark.parametrize("page", ["README.md", "docs/device.md"])
def test_budgets_in_the_pages_leave_networks_to_train(page, tmp_path):
    commands = re.findall(r'make device BUDGET="([^"]*)"(?: ARGS="([^"]*)")?', (ROOT / page).read_text())
    assert commands
    for words in commands:
        given = (*" ".join(words).split(), "dry_run=true", f"results_dir={tmp_path}", f"data_dir={tmp_path}")
        code, out, err = outcome("sweep.device", device.answer, *given)
        assert (code, err) == (0, "")
        (space, within) = re.search(r"([\d,]+) points, ([\d,]+) within the bounds", out).groups()
        assert 0 < int(within.replace(",", "")) < int(space.replace(",", ""))
