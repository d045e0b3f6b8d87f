"""python -m bench.folders [--pictures N] [--out FOLDER]: a folder of small JPEGs, streamed, against torchvision's.

Makes N pictures (100,000 unless said, half a gigabyte; 2 N for memory) in a temporary folder, and removes them. The
peer is torchvision's ImageFolder with torch's DataLoader, with as many worker processes. Each measurement is a process
of its own, one after the other; --out FOLDER gets table.md.
"""

import argparse
import functools
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from bench.measure import Row, interleaved, machine, markdown, median, ratio
from bench.sweeps import Peak
from fire.data.spec import DataSpec
from fire.files import write
from fire.machine import hardware
from sweep import origin

STORED, SEEN, BATCH, CLASSES = 128, 112, 64, 100
PEER = "torchvision's ImageFolder, torch's DataLoader"
NETWORK = "squeezenet_v1_1"


def main() -> None:
    """Make the pictures, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.folders", description="Streamed folders of images.")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("report/bench_folders"))
    parser.add_argument("--measure", nargs=4, metavar=("WHO", "WHAT", "ROOT", "DATA_DIR"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measured(*chosen.measure)))
        return
    import torch

    with tempfile.TemporaryDirectory() as folder:
        found = rows(Path(folder), chosen.pictures, chosen.rounds)
    command = f"python -m bench.folders --pictures {chosen.pictures}"
    head = f"- {command}: {machine()}, torch {torch.__version__}, commit {origin.git_state()[0]}\n\n"
    chosen.out.mkdir(parents=True, exist_ok=True)
    write(chosen.out / "table.md", head + markdown(found))
    print(head + markdown(found))


def make(root: Path, first: int, last: int) -> None:
    """Write the pictures of these numbers, of 160 x 128 pixels; each tenth is for the test."""
    noise = np.random.default_rng(0)
    contents = []
    for _ in range(200):
        coarse = Image.fromarray(noise.integers(0, 256, (16, 20, 3)).astype(np.uint8))
        buffer = io.BytesIO()
        coarse.resize((160, 128), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        contents.append(buffer.getvalue())
    for i in range(first, last):
        part = "val" if i // CLASSES % 10 == 0 else "train"
        folder = root / part / f"class {i % CLASSES:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:07d}.jpg").write_bytes(contents[i % len(contents)])


def rows(folder: Path, pictures: int, rounds: int) -> list[Row]:
    """The table's rows."""
    root, data_dir = folder / "pictures", folder / "data"
    make(root, 0, pictures)

    kept: dict[tuple[str, str], list[dict[str, float]]] = {}  # by who and what

    def one(who: str, what: str, figure: str) -> float:
        found = run(who, what, root, data_dir)
        kept.setdefault((who, what), []).append(found)
        return found[figure]

    def compared(what: str, figure: str) -> dict[str, list[float]]:
        return interleaved({who: functools.partial(one, who, what, figure) for who in WHO}, rounds)

    def cpu(who: str, what: str) -> str:
        """Of an image after the first batch; what comes before it is in `start`, too."""
        whole, start = (statistics.median(each["cpu_s"] for each in kept[who, one]) for one in (what, "start"))
        return f"{1e3 * (whole - start) / kept[who, what][0]['images']:.3g} ms"

    first = run("ours", "start", root, data_dir)  # reads all files, looks through all images
    starts = compared("start", "seconds")
    speeds = {"loader": compared("loader", "images_per_second"), "step": compared("step", "images_per_second")}
    largest = [{who: max(each["peak_bytes"] for each in kept[who, "loader"]) / 2**20 for who in WHO}]
    make(root, pictures, 2 * pictures)
    run("ours", "start", root, data_dir)
    largest.append(
        {who: max(run(who, "loader", root, data_dir)["peak_bytes"] for _ in range(rounds)) / 2**20 for who in WHO}
    )
    names = {"loader": "images/s of the loader alone", "step": f"images/s of training {NETWORK}, one thread"}
    found = []
    for what, values in speeds.items():
        speed = f"{median(values['ours'], 'images/s')} against {median(values['peer'], 'images/s')}"
        found.append(
            Row(
                what=f"{names[what]}, {SEEN} pixels, {processes(what)} worker process{'es' * (processes(what) > 1)}",
                peer=PEER,
                goal="-",
                measured=ratio(values["ours"], values["peer"]),
                detail=f"{speed}; CPU an image, all processes: {cpu('ours', what)} against {cpu('peer', what)}",
            )
        )
    for count, peak in zip((pictures, 2 * pictures), largest, strict=True):
        found.append(
            Row(
                what=f"peak memory of loading, all processes (PSS), {count:,} files",
                peer=PEER,
                goal="does not grow",
                measured=f"{peak['ours'] / peak['peer']:.2f}",
                detail=f"{peak['ours']:,.0f} MiB against {peak['peer']:,.0f} MiB",
            )
        )
    start = f"{median(starts['ours'], 's')} against {median(starts['peer'], 's')}"
    what = f"first batch of a second start, {pictures:,} files, from the launch of the process"
    found.append(Row(what=what, peer=PEER, goal="10 s", measured=ratio(starts["ours"], starts["peer"]), detail=start))
    what = f"first batch of the first start, {pictures:,} files: reads and decodes all of them once"
    return [*found, Row(what=what, peer="-", goal="-", measured=f"{first['seconds']:,.0f} s")]


WHO = ("ours", "peer")


def processes(what: str) -> int:
    """That decode: one beside the one thread that trains; else one a core."""
    return 1 if what == "step" else hardware.cores()


def run(who: str, what: str, root: Path, data_dir: Path) -> dict[str, float]:
    """What a process of its own measures, and its peak memory with that of its descendants."""
    started = time.time()
    command = [sys.executable, "-m", "bench.folders", "--measure", who, what, str(root), str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = Peak(process.pid)
    out, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}")
    found = json.loads(out)
    return {**found, "seconds": found.get("first_batch", started) - started, "peak_bytes": peak.stop()}


def measured(who: str, what: str, root: str, data_dir: str) -> dict[str, float]:
    """In a process of its own: the time of the first batch, images a second and images after it, CPU seconds in all.

    These are of all processes; a machine that does other work leaves them as they are.
    """
    import torch

    torch.set_num_threads(processes(what))
    learn = step() if what == "step" else lambda images, labels: None
    before = sum(os.times()[:4])
    batches = ours(Path(root), Path(data_dir)) if who == "ours" else peer(Path(root), processes(what))
    batch = next(batches)
    learn(*batch)
    first = time.time()
    started, images = time.perf_counter(), 0
    for batch in islice(batches, {"start": 0, "step": 6, "loader": 40}[what]):
        learn(*batch)
        images += len(batch[1])
    speed = images / (time.perf_counter() - started)
    del batches  # the processes that decode end, and their seconds count
    seconds = sum(os.times()[:4]) - before
    return {"first_batch": first, "images_per_second": speed, "images": images, "cpu_s": seconds}


def ours(root: Path, data_dir: Path) -> Iterator:
    """Batches as a launch and its run make them, of images that are streamed however few they are."""
    import torch

    from fire.data import contents, dataset, folders, streaming
    from fire.data.batches import Batches
    from fire.train.spec import TrainSpec

    streaming.RESIDENT_BYTES = 0
    spec = DataSpec(
        name="image_folder",
        root=str(root),
        channels=3,
        classes=CLASSES,
        stored_size=STORED,
        image_size=SEEN,
        validation=0.01,
        fingerprint=contents.fingerprint(folders.scan(root), data_dir),
    )
    dataset.prepare(spec, data_dir)
    data = dataset.load(spec, data_dir)
    batches = Batches(data.train, data, TrainSpec(), torch.device("cpu"))
    return batches.shuffled(BATCH, torch.Generator().manual_seed(0))


def peer(root: Path, workers: int) -> Iterator:
    """Batches as torchvision's reference training makes them, but for the scale of random crops."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.Resize(STORED),
            transforms.RandomCrop(SEEN),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = ImageFolder(str(root / "train"), transform)
    return iter(DataLoader(images, BATCH, shuffle=True, drop_last=True, num_workers=workers))


def step():
    """A training step of the network, the same for both."""
    import torch
    import torch.nn.functional as F

    from fire import model
    from fire.arch import SqueezeNetSpec
    from fire.machine.accelerate import accelerate

    network = model.build(SqueezeNetSpec(version="1.1", classes=CLASSES), 3).to(memory_format=torch.channels_last)
    faster = accelerate(network.train(), "torch")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def learn(images, labels) -> None:
        F.cross_entropy(faster(images.to(memory_format=torch.channels_last)), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return learn


if __name__ == "__main__":
    main()
