"""From the store to DataFrames: the runs, the sweeps, the training curves, and the files that cannot be read."""

import dataclasses
import functools
import operator
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import index
from analysis.index import Table
from fire import fields
from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.cost import MIB
from fire.data.spec import DataSpec
from fire.errors import InputError, require
from fire.train.progress import Epoch
from fire.train.spec import TrainSpec
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.store import Damage, Store

COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in ("config", "unknown")]
ORDER = [
    *COLUMNS,
    *("seed", "family", *(field.name for spec in FAMILIES.values() for field in dataclasses.fields(spec))),
    *("data", *(f"data.{field.name}" for field in dataclasses.fields(DataSpec))),
    *(f"train.{field.name}" for field in dataclasses.fields(TrainSpec)),
    *("compress", *(f"compress.{field.name}" for field in dataclasses.fields(CompressSpec))),
]
VALUES = operator.attrgetter(*COLUMNS)
NAMED_BY = {"data": "name", "compress": "method"}  # the setting whose column is named as its part
FRACTIONS = ("top1", "top5", "validation_top1", "float_top1", "onnx_top1", "int8_top1", "int8_validation_top1")
MANY = 1000  # records; fewer are read in less time than the index takes to write
POSITIVE = (
    *("parameters", "macs", "activations", "size_bytes", "peak_ram_bytes", "weight_bytes", "flash_bytes"),
    *("file_bytes", "latency_seconds", "onnx_bytes", "onnx_latency_seconds", "int8_bytes", "int8_latency_seconds"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """The content of a results directory.

    runs: a row a run, finished, stopped or failed. Columns: those of sweep.store.Record; the metaparameters under their
    own names (family, sr, pct_3x3, ...); data, the name of the data set; data.* and train.*; compress, the method, and
    compress.*, the settings it reads; size_mib; float_top1, of the run that a compressed network was made from;
    data_title, of the run of this data set that ended last of those with a title. What a run does not have is missing
    (NaN or None).
    curves: of the finished runs of sweeps, by key. unreadable: the files that cannot be read, and why.
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
    begun = time.time_ns()
    stamps = store.stamps()
    table = index.load(store.root, stamps)
    known = set(table.column("key"))
    new = [key for key in stamps if key not in known]
    for keys in (new[start : start + MANY] for start in range(0, len(new), MANY)):
        table.add(_rows(store, keys, unreadable))
    if table.size - len(known) >= MANY:
        index.save(store.root, table, stamps, begun)
    runs = _frame(table)
    sweeps = tuple(map(_completed, store.sweeps(unreadable.append)))
    finished = set(runs["key"][runs["status"] == "finished"])
    compared = dict.fromkeys(key for sweep in sweeps if sweep.search is None for key in sweep.keys if key in finished)
    curves = {key: curve for key in compared if (curve := store.curve(key, unreadable.append))}
    unreadable.sort(key=lambda damage: damage.path)
    return Results(folder=store.root, runs=runs, sweeps=sweeps, curves=curves, unreadable=tuple(unreadable))


def _rows(store: Store, keys: Sequence[str], unreadable: list[Damage]) -> Iterator[dict[str, Any]]:
    """A row for each of the runs whose record can be read."""
    for key in keys:
        record = store.read(key, unreadable.append)
        if record is not None:
            try:
                yield _row(record)
            except InputError as error:
                unreadable.append(Damage(path=store.folder(key) / "record.json", reason=str(error)))


def _completed(sweep: Sweep) -> Sweep:
    """The manifest with its experiment and overrides, which those of earlier versions say in their names only."""
    if sweep.launched is not None:
        return sweep
    words = (sweep.name if sweep.search is None else sweep.name.removeprefix("search_")).split("_")
    first = next((place for place, word in enumerate(words) if set("=.+~") & set(word)), len(words))
    overrides = re.split(r"_(?=(?:arch|data|train|compress|search|seed)[.=])", "_".join(words[first:]))
    return replace(sweep, experiment="_".join(words[:first]) or None, overrides=tuple(filter(None, overrides)))


def _frame(table: Table) -> pd.DataFrame:
    frame = table.frame("key", ORDER) if table.size else pd.DataFrame(columns=[*COLUMNS, "seed", "data", "compress"])
    top1 = frame.set_index("key")["top1"]
    # Records older than this field name only the run whose network they compressed.
    float_top1 = frame["float_top1"].fillna(frame["float_key"].map(top1[top1.index.notna()])).astype(float)
    size_mib = frame["size_bytes"].astype(float) / MIB
    return frame.assign(size_mib=size_mib, float_top1=float_top1, data_title=_titles(frame))


def _titles(frame: pd.DataFrame) -> "pd.Series[Any]":
    """The title of each run's data set: the one in the record that ended last of those that have one."""
    data_set = [name for name in ("data", "data.fingerprint") if name in frame]
    in_time = frame.sort_values("end", kind="stable", na_position="first")
    return in_time.groupby(data_set, dropna=False, sort=False)["data_title"].transform("last").reindex(frame.index)


def _row(record: Record) -> dict[str, Any]:
    """The record flat. Raises InputError if it is none that this version can have written: stores may be merged."""
    config = record.config
    if config is None:
        raise InputError(record.unknown)
    values = dict(zip(COLUMNS, VALUES(record), strict=True))  # dataclasses.asdict copies deeply, 8 times slower
    for name in FRACTIONS:
        value = values[name]
        if value is not None and not 0 <= value <= 1:
            require(False, name, "in [0, 1]", value)
    for name in POSITIVE:
        value = values[name]
        if value is not None and not value > 0:
            require(False, name, "above 0", value)
    if record.status == "finished":
        for name in ("top1", "validation_top1"):
            require(values[name] is not None, name, "known of a finished run", None)
    return {
        **values,
        "seed": config.seed,
        "family": config.family,
        **vars(config.arch),
        **_columns("data", config.data),
        **_columns("train", config.train),
        **_columns("compress", config.compress),
    }


@functools.lru_cache(maxsize=1024)  # runs share most of their settings
def _columns(part: str, spec: Any) -> dict[str, Any]:
    """The columns of all settings but where files lie; of a compression, of those that it reads.

    Raises InputError for text that tables could not show.
    """
    settings = fields.settings_of(spec.__class__)
    found = vars(spec) if part != "compress" else fields.read(spec)
    columns = {}
    for name, value in found.items():
        if not settings[name].place:
            require(not isinstance(value, str) or value.isprintable(), name, "printable", value)
            columns[part if name == NAMED_BY.get(part) else f"{part}.{name}"] = value
    return columns
