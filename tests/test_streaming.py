"""Images that are streamed from their files: the same batches, bit for bit, as images that are kept decoded."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fire import model
from fire.data import dataset, streaming
from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.data.streaming import Streamed
from fire.errors import DataError
from fire.train.spec import TrainSpec
from fire.train.training import train
from tests.pictures import add, age, spec, truncate
from tests.sweeping import ROOT, answered

AUGMENTED = TrainSpec(shift=2, erase=0.4, mixup=0.4)
CLASSES = ("ant", "b\u00e4r x")
SUFFIXES = ("png", "jpg", "webp")


@pytest.fixture
def root(tmp_path) -> Path:
    """12 training and 4 test images of two classes, all different, of three formats."""
    noise = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for i in range(count):
            name = f"{part}/{CLASSES[i % 2]}/{i}.{SUFFIXES[i % 3]}"
            add(tmp_path / "images", name, noise.integers(0, 256, (20, 20 + i, 3)).astype(np.uint8))
    return age(tmp_path / "images")


@pytest.fixture
def stream(monkeypatch) -> Callable[[], None]:
    """Call it to have images streamed from now on, however few they are."""
    return lambda: monkeypatch.setattr(streaming, "RESIDENT_BYTES", 0)


@pytest.fixture
def decoders(monkeypatch) -> list["subprocess.Popen[bytes]"]:
    """All processes that decode."""
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return started


def shown(data: DataSet, cpu) -> list[Tensor]:
    """An epoch of augmented batches, and all validation and test images, with their labels."""
    generator = torch.Generator().manual_seed(5)
    training, *others = (Batches(part, data, AUGMENTED, cpu) for part in (data.train, data.validation, data.test))
    batches = (*training.shuffled(3, generator), *(batch for part in others for batch in part.in_order(3)))
    return [tensor for batch in batches for tensor in batch]


@pytest.mark.parametrize(
    "fields", [{"resize": "squash", "channels": 1}, {"limit": 3, "validation": 4}, {"on_corrupt": "skip"}], ids=str
)
def test_streamed_images_give_the_batches_of_resident_ones(fields, root, tmp_path, cpu, stream, decoders):
    if fields.get("on_corrupt") == "skip":
        for name in ("train/ant/4.jpg", "val/ant/0.png"):
            truncate(root / name)
    wanted = spec(root, image_size=6, **fields)
    resident = dataset.load(wanted, tmp_path)
    stream()
    streamed = dataset.load(wanted, tmp_path)
    assert isinstance(streamed.train.images, Streamed)
    assert len(streamed.train.images) == len(streamed.train.labels)
    assert (streamed.mean, streamed.std) == (resident.mean, resident.std)
    assert (streamed.skipped, streamed.left_out) == (resident.skipped, resident.left_out)
    assert streamed.skipped == (2 if "on_corrupt" in fields else 0)
    expected = shown(resident, cpu)
    assert not decoders
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found = shown(streamed, cpu)
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert len(decoders) == 3 * threads  # for each part
        assert all(decoder.poll() is not None for decoder in decoders)
        decoders.clear()


def test_streamed_images_are_not_kept_and_looked_through_once(root, tmp_path, stream, monkeypatch):
    stream()
    dataset.load(spec(root, stored_size=200), tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*")) < 200 * 200
    monkeypatch.setattr("fire.data.decoding.survey", None)
    assert len(dataset.load(spec(root, stored_size=200), tmp_path).test) == 4


def test_an_evaluation_streams_large_test_sets(root, tmp_path, cpu, stream):
    truncate(root / "val" / CLASSES[1] / "1.jpg")
    wanted = spec(root, image_size=6, on_corrupt="skip")
    parts = [dataset.load_test(wanted, tmp_path)]
    stream()
    parts.append(dataset.load_test(wanted, tmp_path))
    assert isinstance(parts[1].test.images, Streamed)
    resident, streamed = ([*Batches(data.test, parts[0], TrainSpec(inputs="mean"), cpu).in_order(2)] for data in parts)
    assert [len(labels) for _, labels in resident] == [2, 1]
    for one, other in zip(resident, streamed, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert parts[0].skipped == parts[1].skipped == 1


def test_a_corrupt_image_is_an_error_before_anything_is_trained(root, tmp_path, stream):
    truncate(root / "train" / "ant" / "4.jpg")
    stream()
    with pytest.raises(DataError, match=r"^images must be readable, got 1 unreadable of 12: .*4\.jpg \(.*=skip leaves"):
        dataset.load(spec(root), tmp_path)


def test_training_and_resuming_give_the_weights_of_resident_images(root, tmp_path, cpu, narrow, stream):
    def weights(data: DataSet, *stops: int) -> dict[str, Tensor]:
        recipe = TrainSpec(epochs=2, batch_size=4, lr=0.01, precision="fp32")
        checkpoint = tmp_path / "checkpoint" if stops else None
        for stop in stops or (0,):
            network = model.build(narrow, channels=3, seed=1)
            trained = train(network, data, recipe, seed=1, device=cpu, checkpoint=checkpoint, stop_epoch=stop)
        return trained.network.state_dict()

    wanted = spec(root, stored_size=12, image_size=10, classes=2)
    resident = weights(dataset.load(wanted, tmp_path))
    stream()
    streamed = weights(dataset.load(wanted, tmp_path), 1, 0)
    assert all(torch.equal(value, streamed[name]) for name, value in resident.items())


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(("harm", "reason"), [(Path.unlink, "No such file"), (rewrite, "it was written again")])
def test_a_folder_that_changes_while_it_is_read_is_one_line(harm, reason, root, tmp_path, cpu, stream, decoders):
    stream()
    data = dataset.load(spec(root), tmp_path)
    harm(root / "val" / "ant" / "2.webp")
    with pytest.raises(DataError) as caught:
        list(Batches(data.test, data, AUGMENTED, cpu).in_order(2))
    changed = re.escape(f"data.root must not change while images are read from it, got {root}/val/ant/2.webp (")
    assert re.fullmatch(rf"{changed}[^\n]*{reason}[^\n]*\)", str(caught.value))
    assert all(decoder.poll() is not None for decoder in decoders)


def test_a_process_that_is_killed_is_one_line(root, tmp_path, cpu, stream, decoders):
    stream()
    data = dataset.load(spec(root), tmp_path)
    batches = Batches(data.train, data, AUGMENTED, cpu).shuffled(1, torch.Generator().manual_seed(0))
    next(batches)
    for decoder in decoders:
        decoder.kill()
    with pytest.raises(DataError) as caught:
        list(batches)
    assert str(caught.value) == (
        "images must be decoded by processes of their own, got one that was killed by SIGKILL (out of memory?)"
    )


def test_no_process_outlives_an_iteration_that_is_left(root, tmp_path, cpu, stream, decoders):
    stream()
    data = dataset.load(spec(root), tmp_path)
    for _ in Batches(data.train, data, AUGMENTED, cpu).shuffled(1, torch.Generator().manual_seed(0)):
        break
    assert [decoder.poll() for decoder in decoders] == [-signal.SIGKILL] * len(decoders) != []


def test_a_folder_that_changes_during_a_run_is_one_line_and_exit_code_1(root, monkeypatch, stream):
    stream()
    prepare = dataset.prepare

    def prepared(*arguments):
        skipped = prepare(*arguments)
        (root / "val" / "ant" / "0.png").unlink()
        return skipped

    monkeypatch.setattr(dataset, "prepare", prepared)
    network = ("arch=squeezenet_narrow", "arch.base_e=16", "arch.incr_e=16", "arch.conv1=16", "arch.fires=2")
    recipe = ("train.epochs=1", "train.batch_size=4", "train.precision=fp32", "threads=1", "data=image_folder")
    sizes = ("data.stored_size=20", "data.image_size=20", "data.validation=2", f"data.root={root}")
    places = (f"data_dir={root.parent}/data", f"results_dir={root.parent}/results")
    code, out, err = answered(*network, *recipe, *sizes, *places)
    line = f"data.root must not change while images are read from it, got {root}/val/ant/0.png ("
    assert code == 1
    assert line in " ".join((out + err).split())
    assert "Traceback" not in out + err


STREAMS = """
import signal, sys, time, torch
from pathlib import Path
from fire.data import dataset, streaming
from fire.data.batches import Batches
from fire.train.spec import TrainSpec
from tests.pictures import spec
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in a shell's background ignore it
streaming.RESIDENT_BYTES = 0
data = dataset.load(spec(sys.argv[1]), Path(sys.argv[2]))
torch.set_num_threads(2)
try:
    for batch in Batches(data.train, data, TrainSpec(), torch.device("cpu")).in_order(1):
        print("batch", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(number) for path in tasks for number in path.read_text().split()]


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in Linux's /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_run_however_that_ends(end, root, tmp_path):
    command = [sys.executable, "-c", STREAMS, str(root), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "batch\n"
        decoders = children(process.pid)
        assert len(decoders) == 2
        os.killpg(process.pid, end)
        assert process.stdout.read() == ("interrupted\n" if end == signal.SIGINT else "")
    deadline = time.monotonic() + 60
    while any(map(alive, decoders)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, decoders))


def test_the_threshold_counts_the_images_that_are_chosen(root, tmp_path, monkeypatch):
    square = 3 * 8 * 8
    monkeypatch.setattr(streaming, "RESIDENT_BYTES", 16 * square)
    assert not isinstance(dataset.load(spec(root), tmp_path).train.images, Streamed)
    monkeypatch.setattr(streaming, "RESIDENT_BYTES", 16 * square - 1)
    assert isinstance(dataset.load(spec(root), tmp_path).train.images, Streamed)
    assert dataset.remarks(spec(root), tmp_path) == [
        f"{root}: the 16 images would take 0.0 GB decoded: they are looked through once, then decoded batch by batch"
    ]
    assert not isinstance(dataset.load(spec(root, limit=4), tmp_path).train.images, Streamed)
