"""One run in this process: what its record says, and what a failure or an interruption leaves behind."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import datetime

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fire.data import dataset
from fire.data.spec import DataSpec
from fire.machine.process import prepare_process
from fire.train.evaluation import Scores
from fire.train.progress import Note, Progress
from fire.weights import pretrained
from sweep.record import Record
from sweep.run import BusyError, run
from sweep.store import StoreError
from tests.sweeping import TINY, Launch, launch


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Launch, Record, list[float]]:
    """A run that was left alone: its launch, its record, and the epochs that were reported."""
    folder = tmp_path_factory.mktemp("run")
    whole = launch(*TINY, f"data_dir={folder}/data", f"results_dir={folder}/results")
    reported: list[float] = []
    return whole, run(*whole, lambda progress: reported.append(progress.epochs_done)), reported


@pytest.fixture
def elsewhere(finished, tmp_path) -> Launch:
    """The same run, to be done in another directory."""
    return finished[0].having(results_dir=str(tmp_path / "results"))


def forbidden(*args, **kwargs):
    raise AssertionError("trained again")


def test_the_record_is_in_the_store(finished):
    whole, record, _ = finished
    assert record.status == "finished"
    assert whole.store.read(whole.config.key) == record
    assert {path.name for path in whole.folder.iterdir()} == {
        *("config.yaml", "record.json", "curve.csv", "weights.safetensors", "log", ".lock"),
    }, "above all no checkpoint"


def test_the_weights_have_the_accuracy_of_the_record(finished, digits_spec, tmp_path):
    whole, record, _ = finished
    deployed = pretrained.read(whole.folder / "weights.safetensors")
    steps = deployed.header.preprocessing
    test = dataset.load(digits_spec, tmp_path).test
    images = torch.from_numpy(test.images[test.rows].astype("float32"))
    mean, scale = (torch.tensor(values)[:, None, None] for values in (steps.mean, steps.scale))
    labels = torch.from_numpy(test.labels[test.rows].copy())
    with torch.inference_mode():
        logits = deployed.network((images - mean) * scale)
    ranks = logits.argsort(dim=1, descending=True)
    assert record.top1 == pytest.approx((ranks[:, 0] == labels).double().mean().item(), abs=1e-12)
    assert record.top5 == pytest.approx((ranks[:, :5] == labels[:, None]).any(1).double().mean().item(), abs=1e-12)
    assert record.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-4)
    assert record.top1 > 0.2, "chance is 0.1"


def test_sizes_are_those_of_the_weights(finished):
    whole, record, _ = finished
    path = whole.folder / "weights.safetensors"
    assert record.parameters == sum(tensor.numel() for tensor in load_file(path).values())
    assert record.size_bytes == 4 * record.parameters
    assert record.weights_bytes == path.stat().st_size > record.size_bytes


def test_the_curve_has_a_row_an_epoch(finished):
    whole, record, reported = finished
    config = whole.config
    with open(whole.folder / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    whole = dict.fromkeys(int(done) for done in reported if done == int(done))  # on a slow machine also a last step's
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3] == list(whole)
    assert record.epochs == config.train.epochs == 3
    assert (float(rows[-1]["validation_top1"]), float(rows[-1]["train_loss"])) == (
        record.validation_top1,
        record.train_loss,
    )


def test_config_yaml_is_the_run(finished):
    whole, _, _ = finished
    config = whole.config
    content = yaml.safe_load((whole.folder / "config.yaml").read_text())
    written = json.loads((whole.folder / "record.json").read_text())
    assert content.pop("seed") == config.seed == written["seed"]
    assert content == {name: written[name] for name in ("arch", "data", "train", "compress")}
    family = content["arch"].pop("family")
    assert (family, type(config.arch)(**content["arch"])) == ("squeezenet", config.arch)
    assert (DataSpec(**content["data"]), type(config.train)(**content["train"])) == (config.data, config.train)


def test_the_record_says_where_it_comes_from(finished):
    _, record, _ = finished
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    assert (record.device, record.threads, record.precision) == (device, 1, "fp32")
    assert record.torch == torch.__version__
    start, end = datetime.fromisoformat(record.start), datetime.fromisoformat(record.end)
    assert start.utcoffset().total_seconds() == 0
    assert start <= end
    assert record.error is record.traceback is None


def test_a_finished_run_is_not_done_again(finished, monkeypatch):
    whole, record, _ = finished
    monkeypatch.setattr("fire.train.training.train", forbidden)
    before = (whole.folder / "record.json").stat().st_mtime_ns
    assert run(*whole) == record
    assert (whole.folder / "record.json").stat().st_mtime_ns == before


def test_divergence_is_a_failure_with_no_invented_metric(elsewhere):
    hopeless = elsewhere._replace(config=replace(elsewhere.config, train=replace(elsewhere.config.train, lr=1e30)))
    record = run(*hopeless)
    assert record.status == "failed"
    assert record.error.startswith("diverged: the loss is ")
    assert record.error.endswith("lower train.lr=1e+30")
    assert "TrainingError" in record.traceback
    assert {record.top1, record.top5, record.loss, record.validation_top1, record.epochs} == {None}
    assert record.parameters == hopeless.config.cost.parameters, "costs that are known without training are recorded"
    assert not (hopeless.folder / "weights.safetensors").exists()


def test_a_metric_that_is_no_number_is_a_failure_that_leaves_a_record(elsewhere, monkeypatch):
    losses = iter([0.5] * elsewhere.config.train.epochs + [math.inf])  # of the validation set, then of the test set
    monkeypatch.setattr("fire.train.evaluation.evaluate", lambda *args: Scores(0.1, 0.5, next(losses)))
    record = run(*elsewhere)
    assert (record.status, record.error) == ("failed", "loss must be finite, got inf")
    assert elsewhere.store.read(record.key) == record
    assert record.loss is None


def test_an_unexpected_error_is_one_line_and_the_next_try_trains(elsewhere, finished, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the roof fell in\n  on layer 3")

    with monkeypatch.context() as patch:
        patch.setattr("fire.train.training.train", broken)
        record = run(*elsewhere)
    assert (record.status, record.error) == ("failed", "RuntimeError: the roof fell in on layer 3")
    assert 'raise RuntimeError("the roof' in record.traceback
    assert not elsewhere.store.is_done(elsewhere.config.key)
    again = run(*elsewhere)
    assert (again.status, again.error, again.traceback) == ("finished", None, None)
    assert again.top1 == finished[1].top1


def test_an_interrupted_run_ends_as_if_it_had_not_been(elsewhere, finished):
    def stop_after_first(progress):
        if len(progress.curve) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(*elsewhere, stop_after_first)
    folder = elsewhere.folder
    assert (folder / "checkpoint.pt").exists()
    assert not (folder / "record.json").exists()
    (folder / ".record.json.1.tmp").write_text("{")  # as a process that is killed while it writes leaves it

    reported: list[float] = []
    record = run(*elsewhere, lambda progress: reported.append(progress.epochs_done))
    assert min(reported) > 1, "the first epoch is not trained twice"
    resumed, whole = (load_file(each.folder / "weights.safetensors") for each in (elsewhere, finished[0]))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole), "to the last bit"
    assert (record.top1, record.loss) == (finished[1].top1, finished[1].loss)
    assert not list(folder.glob("*.pt")) + list(folder.glob(".*.tmp"))


def test_a_run_with_a_damaged_checkpoint_starts_anew_and_says_so(elsewhere, finished):
    run(*elsewhere.having(stop_epoch=2))
    path = elsewhere.folder / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    reported: list[Progress | Note] = []
    assert run(*elsewhere, reported.append).top1 == finished[1].top1
    notes = [news.text for news in reported if isinstance(news, Note)]
    assert notes == ["the checkpoint is damaged; the run starts anew"]
    assert f" {notes[0]}\n" in (elsewhere.folder / "log").read_text()
    epochs = [news.epochs_done for news in reported if isinstance(news, Progress)]
    assert list(dict.fromkeys(epoch for epoch in epochs if epoch == int(epoch))) == [1, 2, 3]
    assert [path.name for path in elsewhere.folder.glob("*.pt")] == []


def test_two_processes_do_not_train_one_run(elsewhere):
    lock = elsewhere.folder / ".lock"
    lock.parent.mkdir(parents=True)
    program = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.raises(
            BusyError, match=rf"^run {elsewhere.config.key} is under way elsewhere \(another process\)$"
        ):
            run(*elsewhere)
        process.kill()
    assert run(*elsewhere).status == "finished", "a lock ends with its process"


def test_results_that_cannot_be_written_are_refused_at_once(elsewhere, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="results_dir must be a writable directory"):
        run(*elsewhere.having(results_dir=str(tmp_path / "file")))


def test_a_device_that_is_not_there_is_named(elsewhere):
    assert prepare_process("cpu", 0) == torch.device("cpu")
    record = run(*elsewhere.having(device="cuda:99"))
    assert record.status == "failed"
    assert record.error == "device must be one that torch can use here, got 'cuda:99'"


def test_every_metaparameter_is_in_the_record(finished):
    whole, record, _ = finished
    config = whole.config
    written = json.loads((whole.folder / "record.json").read_text())["arch"]
    assert record.config == config
    assert written == {"family": "squeezenet", **asdict(config.arch)}
    assert {"sr", "pct_3x3", "base_e", "incr_e", "freq", "bypass"} <= set(written)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(finished, elsewhere, tmp_path):
    _, whole, _ = finished
    stopped = run(*elsewhere.having(stop_epoch=1))
    assert (stopped.status, stopped.epochs, stopped.top1, stopped.weights_bytes) == ("stopped", 1, None, None)
    assert stopped.key == whole.key
    assert stopped.validation_top1 == elsewhere.store.validation_curve(whole.key)[0]
    assert {path.name for path in elsewhere.folder.iterdir()} == {
        *("config.yaml", "record.json", "curve.csv", "checkpoint.pt", "log", ".lock"),
    }
    assert not elsewhere.store.is_done(whole.key)
    again = run(*elsewhere.having(stop_epoch=2))
    assert (again.status, again.epochs) == ("stopped", 2)
    resumed = run(*elsewhere)
    assert (resumed.status, resumed.epochs) == ("finished", 3)
    assert (resumed.top1, resumed.loss, resumed.validation_loss) == (whole.top1, whole.loss, whole.validation_loss)
    curves = [each.store.validation_curve(whole.key) for each in (elsewhere, finished[0])]
    assert curves[0] == curves[1], "the schedule is that of the whole recipe, however it was stopped"
    weights_of = [load_file(each.folder / "weights.safetensors") for each in (elsewhere, finished[0])]
    assert all(torch.equal(weights_of[0][name], weights_of[1][name]) for name in weights_of[1])


def test_a_stop_at_the_end_is_none(elsewhere):
    assert run(*elsewhere.having(stop_epoch=3)).status == "finished"


def test_latency_is_measured(finished):
    assert 0 < finished[1].latency_seconds < 5
