"""The store of results: a directory a run, on any file system, without server or daemon. Standard library only.

results/<key>/   config.yaml, record.json, curve.csv, log; weights.safetensors, or network.fcn of a compressed network;
                 checkpoint.pt until it has finished; with export=int8 also network.onnx and network.int8.onnx,
                 and tuning.pt until these are written
results/sweeps/  <name>.json for each launched sweep: what varied, and the keys of its points
results/maps/    <name>.json for each map of the space, made by python -m analysis map

Names that begin with a dot are of locks, and of what is made anew when it is missing.

record.json is written last and at once: a run is done if and only if it is there and says so.
"""

import os
import tempfile
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fire.errors import InputError, unknown
from fire.files import PATIENCE, holder, locked, read, write
from fire.train.progress import Epoch
from sweep import curves, manifests
from sweep.manifests import Sweep
from sweep.record import Record, dump, parse

WEIGHTS, COMPRESSED, CHECKPOINT = "weights.safetensors", "network.fcn", "checkpoint.pt"
ONNX, INT8_ONNX, TUNING = "network.onnx", "network.int8.onnx", "tuning.pt"  # the last: a checkpoint
LEAST_SPACE = 2**16  # bytes: of a record, a curve and a log; an empty file can be made on a full disk, too
Stamp = tuple[int, int, int]  # of a file: when it changed in ns since 1970, its size in bytes, its inode


T = TypeVar("T")


class StoreError(InputError):
    """The results directory cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file of the store that cannot be read: it is cut short, edited, of another version, or no regular file."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


OnDamage = Callable[[Damage], None]  # a list's append collects what cannot be read


def ignore(damage: Damage) -> None:
    """Read on without a word."""


class Store:
    """The results below one directory; it is made when something is written."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def check_writable(self, *, anew: bool = True) -> None:
        """Raise StoreError unless files can be written, of LEAST_SPACE bytes. anew: make the directory if need be."""
        try:
            if anew:
                self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(bytes(LEAST_SPACE))
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            found = f"{str(self.root)!r} ({error.strerror})"
            raise StoreError(f"results_dir must be a writable directory, got {found}") from error

    def folder(self, key: str) -> Path:
        """Where the run's files are."""
        return self.root / key

    def write(self, record: Record, *, anew: bool = True) -> None:
        """Make the record the run's: after this it is done, was stopped, or has failed. anew: make its folder."""
        folder = self.folder(record.key)
        if anew:
            folder.mkdir(parents=True, exist_ok=True)
        write(folder / "record.json", dump(record))

    def read(self, key: str, on_damage: OnDamage = ignore) -> Record | None:
        """The run's record; None if it has none, or one that cannot be read: then the run counts as not done."""
        return load(f"{self.root}/{key}/record.json", lambda content: parse(content, key), on_damage)

    def is_done(self, key: str) -> bool:
        """Whether the run has finished."""
        return (record := self.read(key)) is not None and record.status == "finished"

    def is_exported(self, record: Record, wanted: str) -> bool:
        """Whether the run has the ONNX files that the option `export` asks for, and what is measured of them."""
        folder = self.folder(record.key)
        match wanted:
            case "none":
                return True
            case "onnx":
                return record.onnx_bytes is not None and (folder / ONNX).is_file()
            case "int8":
                int8 = record.int8_bytes is not None and (folder / INT8_ONNX).is_file()
                return int8 and self.is_exported(record, "onnx")
            case _:
                raise unknown("export", wanted)

    def tidy(self, key: str) -> None:
        """Remove what a process that died may have left of a finished run. The run's lock must be held."""
        clear(self.folder(key))
        (self.folder(key) / CHECKPOINT).unlink(missing_ok=True)

    def tidy_finished(self, key: str) -> None:
        """Likewise, where nobody holds the lock; copies of runs under way, merged into these, leave the same."""
        names = os.listdir(self.folder(key))
        if CHECKPOINT in names or any(name.endswith(".tmp") for name in names):
            with locked(self.folder(key) / ".lock", PATIENCE) as held:
                if held:
                    self.tidy(key)

    def set_title(self, key: str, title: str) -> None:
        """Write the title of its data set into the record of a finished run, unless another process is at the run."""
        if not self.is_done(key):
            return
        with locked(self.folder(key) / ".lock", PATIENCE) as held:
            if held:
                clear(self.folder(key))
            record = self.read(key) if held else None
            # The record of a newer version, which has no configuration here, stays as it is.
            if record is not None and record.config is not None and record.data_title != title:
                self.write(replace(record, data_title=title), anew=False)

    def holder(self, key: str) -> str | None:
        """Which process the run is under way in, as "host NAME, process NUMBER"; None if in none."""
        return holder(self.folder(key) / ".lock")

    def keys(self) -> Iterator[str]:
        """The keys of all runs that have a record, readable or not, sorted."""
        return (name for name in self._names() if (self.folder(name) / "record.json").exists())

    def records(self, on_damage: OnDamage = ignore) -> Iterator[Record]:
        """All readable records, sorted by key."""
        for name in self._names():
            record = self.read(name, on_damage)
            if record is not None:
                yield record

    def stamps(self, known: Container[str] = ()) -> dict[str, Stamp]:
        """A stamp of each run's record, sorted by key: it changes whenever the record is written.

        known: the keys of runs to leave out.
        """
        stamps = {}
        for name in self._names():
            if name in known:
                continue
            try:
                status = os.stat(f"{self.root}/{name}/record.json")  # noqa: PTH116 (a Path takes as long as the system)
                stamps[name] = (status.st_ctime_ns, status.st_size, status.st_ino)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:  # reading will say why
                stamps[name] = (0, 0, 0)
        return stamps

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        except OSError as error:
            found = f"{str(self.root)!r} ({error.strerror})"
            raise StoreError(f"the results must be a readable directory, got {found}") from error

    def curve(self, key: str, on_damage: OnDamage = ignore) -> tuple[Epoch, ...]:
        """The run's training curve, a row an epoch; empty if it has none, or none that can be read."""
        return load(self.folder(key) / "curve.csv", curves.parse, on_damage) or ()

    def validation_curve(self, key: str, on_damage: OnDamage = ignore) -> tuple[float, ...]:
        """Validation top-1 after each epoch of the run's curve."""
        return tuple(row.validation_top1 for row in self.curve(key, on_damage))

    def write_sweep(self, sweep: Sweep, *, anew: bool = True) -> Path:
        """Write the sweep's manifest; it replaces the one of the same name.

        Raises StoreError if there is no results directory; `anew` makes one.
        """
        if not anew and not self.root.is_dir():
            raise StoreError(f"results_dir must be there until the end, got {str(self.root)!r}, which is gone")
        path = self.root / "sweeps" / f"{sweep.name}.json"
        with locked(path.with_name(".lock")):  # whoever writes a manifest holds it
            clear(path.parent)
            write(path, manifests.dump(sweep))
        return path

    def read_sweep(self, name: str, on_damage: OnDamage = ignore) -> Sweep | None:
        """The manifest of that name; None if there is none, or none that can be read."""
        return load(self.root / "sweeps" / f"{name}.json", lambda content: manifests.parse(content, name), on_damage)

    def sweeps(self, on_damage: OnDamage = ignore) -> Iterator[Sweep]:
        """All readable manifests, sorted by name."""
        for path in sorted((self.root / "sweeps").glob("*.json")):
            sweep = self.read_sweep(path.stem, on_damage)
            if sweep is not None:
                yield sweep


def clear(folder: Path) -> None:
    """Remove what processes have left there that were killed while they wrote. The folder's lock must be held."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def load(path: Path | str, parse: Callable[[bytes], T], on_damage: OnDamage) -> T | None:
    """The content of the file; None if there is none, or after a call of `on_damage` if it cannot be read or parsed."""
    try:
        return parse(read(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        on_damage(Damage(path=Path(path), reason=error.strerror or str(error)))
    except ValueError as error:
        on_damage(Damage(path=Path(path), reason=str(error)))
    return None
