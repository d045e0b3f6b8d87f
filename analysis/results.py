"""From the store to DataFrames: the runs, the sweeps, the training curves, and the files that cannot be read."""

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
from fire.cost import MIB
from fire.errors import InputError
from fire.train.progress import Epoch
from sweep.manifests import Sweep
from sweep.map import stored
from sweep.map.stored import Map
from sweep.rows import COLUMNS, ORDER, row_of
from sweep.store import Damage, Store

MANY = 1000  # records; fewer are read in less time than the index takes to write


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """The content of a results directory.

    runs: a row a run, finished, stopped or failed. Columns: those of sweep.store.Record; the metaparameters under their
    own names (family, sr, pct_3x3, ...); data, the name of the data set; data.* and train.*; compress, the method, and
    compress.*, the settings it reads; size_mib; float_top1 and float_validation_top1, of the run that a compressed
    network was made from; data_title, of the run of this data set that ended last of those with a title. What a run
    does not have is missing (NaN or None).
    curves: of the finished runs of sweeps, by key. maps: made by python -m analysis map. unreadable: the files that
    cannot be read, and why.
    """

    folder: Path
    runs: pd.DataFrame
    sweeps: tuple[Sweep, ...]
    curves: Mapping[str, tuple[Epoch, ...]]
    maps: tuple[Map, ...] = ()
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
    maps = tuple(stored.read_all(store.root, unreadable.append))
    unreadable.sort(key=lambda damage: damage.path)
    return Results(folder=store.root, runs=runs, sweeps=sweeps, curves=curves, maps=maps, unreadable=tuple(unreadable))


def _rows(store: Store, keys: Sequence[str], unreadable: list[Damage]) -> Iterator[dict[str, Any]]:
    """A row for each of the runs whose record can be read."""
    for key in keys:
        record = store.read(key, unreadable.append)
        if record is not None:
            try:
                yield row_of(record)
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
    before = frame.set_index("key")[["top1", "validation_top1"]]
    # Records older than these fields name only the run whose network they compressed; it may be another one by now.
    now = {name: frame["float_key"].map(of_key[of_key.index.notna()]) for name, of_key in before.items()}
    float_top1 = frame["float_top1"].fillna(now["top1"]).astype(float)
    same = now["validation_top1"].where(now["top1"] == float_top1)
    return frame.assign(
        size_mib=frame["size_bytes"].astype(float) / MIB,
        float_top1=float_top1,
        float_validation_top1=frame["float_validation_top1"].fillna(same).astype(float),
        data_title=_titles(frame),
    )


def _titles(frame: pd.DataFrame) -> "pd.Series[Any]":
    """The title of each run's data set: the one in the record that ended last of those that have one."""
    data_set = [name for name in ("data", "data.fingerprint") if name in frame]
    in_time = frame.sort_values("end", kind="stable", na_position="first")
    return in_time.groupby(data_set, dropna=False, sort=False)["data_title"].transform("last").reindex(frame.index)
