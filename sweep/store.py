"""The store of results: a directory a run, on any file system, without server or daemon. Standard library only.

results/<key>/   config.yaml, record.json, curve.csv, log; weights.safetensors, or network.fcn of a compressed network;
                 checkpoint.pt until it has finished
results/sweeps/  <name>.json for each launched sweep: what varied, and the keys of its points

record.json is written last and at once: a run is done if and only if it is there and says so.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fire.errors import InputError
from fire.files import locked, write

FORMAT = 1
WEIGHTS, COMPRESSED = "weights.safetensors", "network.fcn"
Status = Literal["finished", "failed", "stopped"]


class StoreError(InputError):
    """The results directory cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. What is not known is None, never 0. Accuracies are fractions of 1, losses nats; sizes are of fp32.

    top1, top5 and loss are of the test set; validation_top1 and validation_loss of the validation set. Those of a
    compressed network are of its file, decoded. A run that was stopped before its recipe's end goes on when it is
    launched again; `epochs` says where it stopped, and the test set has not been looked at.
    """

    key: str
    status: Status
    arch: dict[str, Any]  # every metaparameter, and the family: squeezenet | alexnet
    data: dict[str, Any]
    train: dict[str, Any]
    seed: int
    parameters: int
    macs: int  # per image
    activations: int  # per image
    size_bytes: int
    compress: dict[str, Any] = field(default_factory=dict)  # method and its settings; empty: not compressed
    error: str | None = None
    traceback: str | None = None
    warning: str | None = None  # of a run that did not fail, but whose accuracy may mislead
    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    validation_top1: float | None = None
    validation_loss: float | None = None
    train_loss: float | None = None
    epochs: int | None = None  # trained so far; of a stopped run, its rung
    latency_seconds: float | None = None  # of one image: fire.latency
    train_seconds: float | None = None  # of training steps, over all attempts
    images_per_second: float | None = None
    images_skipped: int | None = None  # which could not be read
    left_out: str | None = None  # what else an image folder held: "3 .txt, 2 hidden"
    weights_bytes: int | None = None  # size of weights.safetensors
    float_key: str | None = None  # of a compressed network: the run it was made from
    float_top1: float | None = None  # its top1 then: it may have been trained again since
    file_bytes: int | None = None  # size of network.fcn
    overhead_bytes: int | None = None  # of it: header, tables, checksums
    nonzero: int | None = None  # weights and biases in it that are not 0
    precision: str | None = None  # what `auto` chose
    kernels: str | None = None  # likewise
    threads: int | None = None
    device: str | None = None
    host: str | None = None
    torch: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    start: str | None = None  # ISO 8601, UTC
    end: str | None = None
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What decides the bits of runs besides their configurations: what `auto` means, and the threads of a run."""

    precision: str
    kernels: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The manifest of a launched sweep: what was asked for, and for each point its overrides and its run's key.

    Manifests of earlier versions have only name, varied, points and search.
    """

    name: str  # that of the manifest's file
    varied: tuple[str, ...]  # keys of the overrides with several values
    points: tuple[tuple[dict[str, str], str], ...]
    search: dict[str, Any] | None = None  # of a search: its objectives and constraints; its points are those tried
    experiment: str | None = None
    overrides: tuple[str, ...] = ()  # of the command line, as typed, without those that only say where and how to run
    launched: str | None = None  # ISO 8601, UTC: when this command was last run
    arithmetic: Arithmetic | None = None  # of all its runs, as its first launch chose; None: each chose for itself

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its runs, in the order of the points."""
        return tuple(key for _, key in self.points)


class Store:
    """The results below one directory; it is made when something is written."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def check_writable(self) -> None:
        """Raise StoreError unless files can be written."""
        probe = self.root / ".writable"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"results_dir must be a writable directory, got {str(self.root)!r} ({error.strerror})"
            ) from error

    def folder(self, key: str) -> Path:
        """Where the run's files are."""
        return self.root / key

    def write(self, record: Record) -> None:
        """Make the record the run's: after this it is done, was stopped, or has failed."""
        folder = self.folder(record.key)
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False)
        write(folder / "record.json", content + "\n")

    def read(self, key: str) -> Record | None:
        """The run's record; None if there is none, or if the file is damaged (see `damaged`)."""
        try:
            content = json.loads((self.folder(key) / "record.json").read_bytes())
            record = Record(**content)
        except (OSError, ValueError, TypeError):
            return None
        return record if record.key == key and record.format == FORMAT else None

    def is_done(self, key: str) -> bool:
        """Whether the run has finished."""
        record = self.read(key)
        return record is not None and record.status == "finished"

    def is_damaged(self, key: str) -> bool:
        """Whether there is a record.json that cannot be read; such a run counts as not done."""
        return (self.folder(key) / "record.json").exists() and self.read(key) is None

    def is_busy(self, key: str) -> bool:
        """Whether some process is at the run."""
        lock = self.folder(key) / ".lock"
        if not lock.exists():
            return False
        with locked(lock, patience=0) as held:
            return not held

    def keys(self) -> Iterator[str]:
        """The keys of all runs that have a record, readable or not, sorted."""
        return (name for name in self._names() if (self.folder(name) / "record.json").exists())

    def records(self) -> Iterator[Record]:
        """All readable records, sorted by key."""
        for name in self._names():
            record = self.read(name)
            if record is not None:
                yield record

    def _names(self) -> list[str]:
        return sorted(os.listdir(self.root)) if self.root.is_dir() else []

    def validation_curve(self, key: str) -> tuple[float, ...]:
        """Validation top-1 after each epoch that the run has trained; empty if it has no readable curve.csv."""
        try:
            with open(self.folder(key) / "curve.csv", newline="") as file:
                return tuple(float(row["validation_top1"]) for row in csv.DictReader(file))
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    def write_sweep(self, sweep: Sweep) -> Path:
        """Write the sweep's manifest; it replaces the one of the same name."""
        path = self.root / "sweeps" / f"{sweep.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        points = [{"overrides": overrides, "key": key} for overrides, key in sweep.points]
        content = {"format": FORMAT, "name": sweep.name, "varied": list(sweep.varied), "points": points}
        content |= {} if sweep.search is None else {"search": sweep.search}
        content |= {"experiment": sweep.experiment, "overrides": list(sweep.overrides), "launched": sweep.launched}
        content |= {} if sweep.arithmetic is None else {"arithmetic": dataclasses.asdict(sweep.arithmetic)}
        write(path, json.dumps(content, indent=1) + "\n")
        return path

    def read_sweep(self, name: str) -> Sweep | None:
        """The manifest of that name; None if there is none, or if the file is damaged or calls itself otherwise."""
        try:
            content = json.loads((self.root / "sweeps" / f"{name}.json").read_bytes())
            if content["name"] != name:  # reports make files of it
                return None
            return Sweep(
                name=content["name"],
                varied=tuple(content["varied"]),
                points=tuple((dict(point["overrides"]), point["key"]) for point in content["points"]),
                search=content.get("search"),
                experiment=content.get("experiment"),
                overrides=tuple(content.get("overrides", ())),
                launched=content.get("launched"),
                arithmetic=Arithmetic(**content["arithmetic"]) if "arithmetic" in content else None,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def sweeps(self) -> Iterator[Sweep]:
        """All readable manifests, sorted by name."""
        for path in sorted((self.root / "sweeps").glob("*.json")):
            sweep = self.read_sweep(path.stem)
            if sweep is not None:
                yield sweep


def curve_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The training curve as CSV, a row an epoch."""
    header = ",".join(rows[0]) + "\n" if rows else ""
    return header + "".join(",".join(repr(value) for value in row.values()) + "\n" for row in rows)
