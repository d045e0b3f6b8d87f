"""What bench.gpu_check and bench.gpu_bench share: where they run, sweeps as commands, and the tables that they write.

Without a GPU, --device cpu rehearses the same road with tiny networks on scikit-learn's digits.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra import compose

from fire.data.readers.fashion_mnist import DEBIAN
from fire.files import write
from fire.machine import hardware
from fire.train.progress import Epoch
from sweep import origin
from sweep.compose import load, presets
from sweep.config import RunConfig
from sweep.record import Record
from sweep.store import Store

NARROW = ["arch=squeezenet_narrow"]
REHEARSED = ["data=digits", "arch.base_e=16", "arch.incr_e=16", "train.precision=fp32"]
REHEARSAL = "a REHEARSAL on the processor with tiny networks and digits: it says nothing about a GPU"
LONGEST_SECONDS = 86_400.0  # where there is no end: a wait of the system's takes no infinite one
LEAST_SECONDS = 2.0  # with less left, nothing more is begun


class OutOfTimeError(Exception):
    """What was asked for does not fit into the time that is left."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where to measure, with which images, and until when.

    device: "cuda", or "cpu" for the rehearsal. data: the overrides that choose a data set, by its name for people.
    work: a folder for results, which goes in the end. ends: in time.monotonic()'s seconds.
    """

    device: str
    data: Mapping[str, Sequence[str]]
    data_dir: str
    work: Path
    ends: float = field(default=float("inf"))

    @property
    def rehearses(self) -> bool:
        """Whether this is no GPU."""
        return self.device == "cpu"

    @property
    def precision(self) -> str:
        """What train.precision=auto means here."""
        return "fp32" if self.rehearses else hardware.fastest_precision(self.device)

    def seconds_left(self) -> float:
        """For what is to be begun now. Raises OutOfTimeError if it is too little."""
        left = min(self.ends - time.monotonic(), LONGEST_SECONDS)
        if left < LEAST_SECONDS:
            raise OutOfTimeError
        return left

    def compose(self, overrides: Sequence[str]) -> RunConfig:
        """The run of these overrides."""
        with presets():
            return load(compose("config", [*overrides, f"data_dir={self.data_dir}"]))


@dataclass(frozen=True, kw_only=True)
class Check:
    """A line of a table of checks. holds: None where it only says what was found."""

    what: str
    expected: str
    found: str
    holds: bool | None = None


def table(rows: Sequence[Check]) -> str:
    """A table of checks in Markdown."""
    words = {True: "yes", False: "**no**", None: "-"}
    lines = ["| check | expected | found | holds |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.expected} | {row.found.replace('|', '/')} | {words[row.holds]} |" for row in rows]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Swept:
    """A sweep that has ended: seconds from launch to exit; its runs by key, and where they are."""

    seconds: float
    records: dict[str, Record]
    curves: dict[str, tuple[Epoch, ...]]
    results: Path

    def rates(self) -> dict[str, float]:
        """Images a second of each run's training steps, without the first epoch, in which libraries are loaded."""
        found = {}
        for key, curve in self.curves.items():
            seconds = curve[-1].train_seconds - curve[0].train_seconds
            found[key] = self.images(key) * (len(curve) - 1) / len(curve) / seconds
        return found

    def images(self, key: str) -> float:
        """How many images a run was trained with, over all its epochs."""
        record = self.records[key]
        assert record.images_per_second is not None
        assert record.train_seconds is not None
        return record.images_per_second * record.train_seconds

    def top1(self) -> dict[str, float]:
        """Test accuracies, fractions of 1, by key."""
        return {key: record.top1 for key, record in self.records.items() if record.top1 is not None}


def command(site: Site, name: str, overrides: Sequence[str], at_a_time: int, device: str = "") -> list[str]:
    """The command of a sweep whose results are in the folder of that name. device: by default the site's."""
    device = device or site.device
    slots = f"workers={at_a_time}" if device == "cpu" else f"runs_per_gpu={at_a_time}"
    places = [f"device={device}", slots, f"results_dir={site.work / name}", f"data_dir={site.data_dir}"]
    return [sys.executable, "-m", "sweep", "-m", *overrides, *places]


def sweep(
    site: Site,
    name: str,
    overrides: Sequence[str],
    at_a_time: int,
    *,
    device: str = "",
    environment: Mapping[str, str] | None = None,
) -> Swept:
    """Run a sweep as a command. Raises OutOfTimeError, and RuntimeError if a run of it did not finish."""
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command(site, name, overrides, at_a_time, device),
            env=os.environ | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=site.seconds_left(),
        )
    except subprocess.TimeoutExpired as error:  # its workers end with it
        raise OutOfTimeError from error
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return swept(site, name, time.perf_counter() - started)


def swept(site: Site, name: str, seconds: float) -> Swept:
    """The sweep whose results are in the folder of that name."""
    store = Store(site.work / name)
    records = {record.key: record for record in store.records()}
    curves = {key: store.curve(key) for key in records}
    return Swept(seconds=seconds, records=records, curves=curves, results=store.root)


def main(
    program: str,
    rows: Callable[[Site], Iterator[Any]],
    markdown: Callable[[Sequence[Any]], str],
    arguments: Sequence[str] | None = None,
) -> list[Any]:
    """Parse the arguments, make the rows, print their table and write it. Returns the rows.

    program: also names the files, OUT/program.md and .json. rows: dataclasses, each a line of the table.
    """
    parser = argparse.ArgumentParser(prog=f"python -m bench.{program}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal with tiny networks")
    parser.add_argument("--out", type=Path, default=Path("report") / program, help="folder for the table")
    parser.add_argument("--pictures", default="", help="a folder of colour images with train/ and val/, of 32 pixels")
    parser.add_argument("--data-dir", default="data", help="where Fashion-MNIST may lie")
    parser.add_argument("--seconds", type=float, default=280, help="after which nothing more is begun")
    chosen = parser.parse_args(arguments)
    ends = time.monotonic() + chosen.seconds
    gpus = hardware.gpus()
    if chosen.device == "cuda":
        if not gpus:
            parser.error("device must be cpu where torch can use no GPU, got cuda")
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[0]  # one, before torch looks at them
    data = _data(chosen.device, chosen.pictures, chosen.data_dir)
    with tempfile.TemporaryDirectory() as work:
        site = Site(device=chosen.device, data=data, data_dir=chosen.data_dir, work=Path(work), ends=ends)
        found = []
        for row in rows(site):
            print(row, flush=True)
            found.append(row)
    head = f"{program}: {_machine(site)}, torch {torch.__version__}, commit {origin.git_state()[0]}"
    text = f"- {head}\n\n{markdown(found)}"
    chosen.out.mkdir(parents=True, exist_ok=True)
    write(chosen.out / f"{program}.md", text)
    content = {"measured": head, "rows": [asdict(row) for row in found]}
    write(chosen.out / f"{program}.json", json.dumps(content, indent=1) + "\n")
    print(text)
    return found


def _data(device: str, pictures: str, data_dir: str) -> dict[str, list[str]]:
    """The data sets that are here, by name; digits for the rehearsal, and where there is nothing else."""
    found = {}
    if device == "cuda" and ((Path(data_dir) / "fashion_mnist").is_dir() or ("/" / DEBIAN).is_dir()):
        found["Fashion-MNIST"] = ["data=fashion_mnist"]
    if device == "cuda" and pictures:
        found["pictures"] = ["data=image_folder_32", f"data.root={pictures}"]
    return found or {"digits": REHEARSED if device == "cpu" else ["data=digits"]}


def _machine(site: Site) -> str:
    if site.rehearses:
        return f"{REHEARSAL}; {origin.host()}"
    name, capability = torch.cuda.get_device_name(), ".".join(map(str, torch.cuda.get_device_capability()))
    return f"{name}, compute capability {capability}, {site.precision}, {origin.host()}"


@contextlib.contextmanager
def mps(folder: Path) -> Iterator[dict[str, str]]:
    """NVIDIA's service with which processes share a GPU at the same moment; what its users' environment must have.

    Raises OSError or SubprocessError where it cannot be started.
    """
    tool = "nvidia-cuda-mps-control"
    variables = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "mps"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "mps_log")}
    for path in variables.values():
        Path(path).mkdir(exist_ok=True)
    environment = os.environ | variables
    # Its service would keep pipes open, and whoever reads them waiting.
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 20, "env": environment}
    subprocess.run([tool, "-d"], check=True, **quiet)
    try:
        yield variables
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([tool], input=b"quit\n", check=False, **quiet)
