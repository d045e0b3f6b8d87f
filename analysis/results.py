"""From the store to DataFrames: the runs, the sweeps, the training curves, and the files that cannot be read."""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from fire import fields
from fire.cost import MIB
from fire.errors import InputError, require
from fire.train.progress import Epoch
from sweep.manifests import Sweep
from sweep.store import Damage, Record, Store

COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in ("config", "unknown")]
FRACTIONS = ("top1", "top5", "validation_top1", "float_top1")
POSITIVE = ("parameters", "macs", "activations", "size_bytes", "file_bytes", "latency_seconds")


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """The content of a results directory.

    runs: a row a run, finished, stopped or failed. Columns: those of sweep.store.Record; the metaparameters under their
    own names (family, sr, pct_3x3, ...); data, the name of the data set; data.* and train.*; compress, the method, and
    compress.*, the settings it reads; size_mib; float_top1, of the run that a compressed network was made from. What a
    run does not have is missing (NaN or None).
    curves: of each finished run that has one, by its key. unreadable: the files that cannot be read, and why.
    """

    folder: Path
    runs: pd.DataFrame
    sweeps: tuple[Sweep, ...]
    curves: Mapping[str, tuple[Epoch, ...]]
    unreadable: tuple[Damage, ...] = ()

    def of(self, sweep: Sweep) -> pd.DataFrame:
        """The runs of a sweep in the order of its points; points without a record have no row."""
        order = {key: position for position, key in enumerate(sweep.keys)}
        part = self.runs[self.runs["key"].isin(list(order))]
        return part.sort_values("key", key=lambda keys: keys.map(order)).reset_index(drop=True)


def read(folder: Path | str) -> Results:
    """All of a results directory that can be read. Raises InputError if it is no directory, or cannot be listed."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(f"the results must be a readable directory, got {str(folder)!r} ({error.strerror})") from error
    store = Store(folder)
    unreadable: list[Damage] = []
    rows: list[dict[str, Any]] = []
    curves: dict[str, tuple[Epoch, ...]] = {}
    for record in store.records(unreadable.append):
        try:
            rows.append(_row(record))
        except InputError as error:
            unreadable.append(Damage(path=store.folder(record.key) / "record.json", reason=str(error)))
            continue
        if record.status == "finished" and (curve := store.curve(record.key, unreadable.append)):
            curves[record.key] = curve
    sweeps = tuple(map(_completed, store.sweeps(unreadable.append)))
    return Results(folder=store.root, runs=_frame(rows), sweeps=sweeps, curves=curves, unreadable=tuple(unreadable))


def _completed(sweep: Sweep) -> Sweep:
    """The manifest with its experiment and overrides, which those of earlier versions say in their names only."""
    if sweep.launched is not None:
        return sweep
    words = (sweep.name if sweep.search is None else sweep.name.removeprefix("search_")).split("_")
    first = next((place for place, word in enumerate(words) if set("=.+~") & set(word)), len(words))
    overrides = re.split(r"_(?=(?:arch|data|train|compress|search|seed)[.=])", "_".join(words[first:]))
    return replace(sweep, experiment="_".join(words[:first]) or None, overrides=tuple(filter(None, overrides)))


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*COLUMNS, "seed", "data", "compress"])
    top1 = frame.set_index("key")["top1"]
    # Records older than this field name only the run whose network they compressed.
    float_top1 = frame["float_top1"].fillna(frame["float_key"].map(top1[top1.index.notna()])).astype(float)
    return frame.assign(size_mib=frame["size_bytes"].astype(float) / MIB, float_top1=float_top1)


def _row(record: Record) -> dict[str, Any]:
    """The record flat. Raises InputError if it is none that this version can have written: stores may be merged."""
    config = record.config
    if config is None:
        raise InputError(record.unknown)
    data, train, compress = _columns(config.data), _columns(config.train), fields.read(config.compress)
    for name in FRACTIONS:
        value = getattr(record, name)
        require(value is None or 0 <= value <= 1, name, "in [0, 1]", value)
    for name in POSITIVE:
        value = getattr(record, name)
        require(value is None or value > 0, name, "above 0", value)
    for name in ("top1", "validation_top1") if record.status == "finished" else ():
        require(getattr(record, name) is not None, name, "known of a finished run", None)
    return {
        **{name: getattr(record, name) for name in COLUMNS},  # dataclasses.asdict copies deeply, 8 times slower
        "seed": config.seed,
        "family": config.family,
        **vars(config.arch),
        "data": data.pop("name"),
        **{f"data.{name}": value for name, value in data.items()},
        **{f"train.{name}": value for name, value in train.items()},
        "compress": compress.pop("method"),
        **{f"compress.{name}": value for name, value in compress.items()},
    }


def _columns(spec: Any) -> dict[str, Any]:
    """All settings but where files lie. Raises InputError for text that tables could not show."""
    settings = fields.settings_of(spec.__class__)
    found = {name: value for name, value in vars(spec).items() if not settings[name].place}
    for name, value in found.items():
        if isinstance(value, str):
            require(value.isprintable(), name, "printable", value)
    return found
