"""From the store to DataFrames."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import mean_interval
from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.cost import MIB
from fire.errors import InputError
from fire.recipe import DataSpec, TrainSpec
from sweep.store import Record, Store, Sweep

OVERVIEW = ("key", "family", "sr", "pct_3x3", "bypass")
RESULTS = ("top1", "size_mib", "parameters", "macs", "top5", "validation_top1", "train_seconds")
NESTED = ("arch", "data", "train", "compress")
METAPARAMETERS = {
    "family",
    *(field.name for spec in FAMILIES.values() for field in dataclasses.fields(spec)),
}
# What a record means that is older than a field: defaults are what was done before (RunConfig.identity).
DEFAULTS: dict[Any, dict[str, Any]] = {
    spec: {field.name: field.default for field in dataclasses.fields(spec)}
    for spec in (*FAMILIES.values(), DataSpec, TrainSpec, CompressSpec)
}
PLACES = ("data.root", "train.weights")  # where files lie; what is in them, their fingerprints tell
COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in NESTED]


def load(results_dir: Path | str) -> pd.DataFrame:
    """All runs of a store, a row a run, finished, stopped or failed.

    Columns: those of sweep.store.Record; the metaparameters under their own names (family, sr, pct_3x3, ...); data, the
    name of the data set; data.* and train.*; compress, the method, and compress.*, the settings it reads; size_mib;
    float_top1, of the run that a compressed network was made from. What a run does not have is missing (NaN or None);
    records that cannot be read are no rows. Raises InputError if the directory does not exist.
    """
    store = _store(results_dir)
    rows = [row for record in store.records() if (row := _row(record)) is not None]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*COLUMNS, "data", "compress"])
    top1 = frame.set_index("key")["top1"]
    # Records that are older than this field tell only whose network they compressed.
    float_top1 = frame["float_top1"].fillna(frame["float_key"].map(top1[top1.index.notna()])).astype(float)
    return frame.assign(size_mib=frame["size_bytes"].astype(float) / MIB, float_top1=float_top1)


def unreadable(results_dir: Path | str, runs: pd.DataFrame) -> pd.DataFrame:
    """The keys of records that have no row: damaged ones, and those of other versions of this program."""
    return pd.DataFrame({"key": sorted(set(_store(results_dir).keys()) - set(runs["key"]))})


def results_with(sweep: str, checkout: Path | str = "..") -> Path:
    """Where the results of a sweep are: in results/ once it has been launched, until then in docs/results.

    Raises InputError if neither has it.
    """
    for folder in (Path(checkout) / "results", Path(checkout) / "docs" / "results"):
        if (folder / "sweeps" / f"{sweep}.json").is_file():
            return folder
    raise InputError(f"the sweep must have been launched (python -m sweep experiment={sweep}), got no {sweep!r}")


def sweeps(results_dir: Path | str) -> list[Sweep]:
    """The sweeps that were launched into a store. Raises InputError if the directory does not exist."""
    return list(_store(results_dir).sweeps())


def of_sweep(runs: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """The runs of a sweep in the order of its points; points without a record have no row."""
    order = {key: position for position, key in enumerate(sweep.keys)}
    part = runs[runs["key"].isin(list(order))]
    return part.sort_values("key", key=lambda keys: keys.map(order)).reset_index(drop=True)


def columns_of(runs: pd.DataFrame, sweep: Sweep) -> list[str]:
    """The columns of what a sweep varies: arch.sr -> sr, train.lr -> train.lr; of a preset, where its runs differ."""
    found: list[str] = []
    for override in sweep.varied:
        name = override.removeprefix("arch.").removesuffix(".name").removesuffix(".method")
        for column in map(str, runs.columns):
            inside = column in METAPARAMETERS if name == "arch" else column.startswith(f"{name}.")
            if column == name or (name not in runs and inside and runs[column].nunique(dropna=False) > 1):
                found.append(column)
    return list(dict.fromkeys(found))


def labels(runs: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    """A short name for each finished run's key from the columns that tell the runs apart: "sr 0.5, seed 1"."""
    return {
        str(run["key"]): ", ".join(setting(name, run[name]) for name in columns if pd.notna(run[name])) or run["key"]
        for _, run in runs[runs["status"] == "finished"].iterrows()
    }


def network_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that tell networks, recipes and data apart: runs that agree in them differ by their seeds alone."""
    return [name for name in runs.columns if name in METAPARAMETERS or name.startswith(("data", "train.", "compress"))]


def apart(runs: pd.DataFrame, groups: tuple[str, ...]) -> list[tuple[str, pd.DataFrame]]:
    """The runs in parts that agree in all columns whose names begin so, each behind what tells it from the others."""
    columns = [name for name in map(str, runs.columns) if name.startswith(groups)]
    shown = runs[columns].map(repr)
    differing = [name for name in columns if shown[name].nunique() > 1]
    parts = [part for _, part in runs.groupby([shown[name] for name in columns], sort=False)]
    return [(", ".join(setting(name, part[name].iloc[0]) for name in differing), part) for part in parts]


def networks(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs, the smallest first: keys, the metaparameters, whatever else differs, and results."""
    finished = runs[runs["status"] == "finished"].sort_values(["size_mib", "seed"], kind="stable")
    differing = [name for name in network_columns(runs) if finished[name].map(repr).nunique() > 1]
    columns = dict.fromkeys([*OVERVIEW, *differing, "seed", *RESULTS])
    return finished[[name for name in columns if name in runs]]


def over_seeds(runs: pd.DataFrame, by: list[str], metric: str = "top1") -> pd.DataFrame:
    """Finished runs that agree in the columns `by`, together: a row a group, in the order of their sizes.

    Columns: by, parameters, size_mib, macs, activations, the metric's mean, <metric>_low and <metric>_high (the ends of
    its 95 % interval, missing for one seed), n, train_seconds (mean).
    """
    finished = runs[runs["status"] == "finished"]
    rows: list[dict[str, Any]] = []
    for values, group in finished.groupby(by, sort=False, dropna=False):
        interval = mean_interval(group[metric].to_numpy(dtype=float))
        first = group.iloc[0]
        rows.append(
            {
                **dict(zip(by, values, strict=True)),
                **{name: first[name] for name in ("parameters", "size_mib", "macs", "activations")},
                metric: interval.mean,
                f"{metric}_low": interval.low,
                f"{metric}_high": interval.high,
                "n": interval.n,
                "train_seconds": float(group["train_seconds"].mean()),
            }
        )
    costs = ("parameters", "size_mib", "macs", "activations")
    columns = (*by, *costs, metric, f"{metric}_low", f"{metric}_high", "n", "train_seconds")
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    return frame.sort_values(["size_mib", *by], kind="stable").reset_index(drop=True)


def curves(results_dir: Path | str, keys: list[str]) -> dict[str, pd.DataFrame]:
    """The training curve of each of these runs that has one: a row an epoch, the columns of fire.progress.Epoch."""
    store = _store(results_dir)
    paths = {key: store.folder(key) / "curve.csv" for key in keys}
    return {key: pd.read_csv(path) for key, path in paths.items() if path.is_file() and path.stat().st_size}


def _store(results_dir: Path | str) -> Store:
    if not Path(results_dir).is_dir():
        raise InputError(f"the results must be a directory, got {str(results_dir)!r}")
    return Store(results_dir)


def _row(record: Record) -> dict[str, Any] | None:
    """The record flat; None if it is none that this version knows, since stores may be merged."""
    try:
        data = DEFAULTS[DataSpec] | record.data
        settings = DEFAULTS[CompressSpec] | record.compress
        used = CompressSpec(method=settings["method"], pruning=settings["pruning"]).used
        arch = DEFAULTS[FAMILIES[record.arch["family"]]] | record.arch
        train = DEFAULTS[TrainSpec] | record.train
    except (InputError, KeyError, TypeError):
        return None
    compress = {name: value for name, value in settings.items() if name in used}
    row = {
        **{name: getattr(record, name) for name in COLUMNS},  # dataclasses.asdict copies deeply, 8 times slower
        **arch,
        "data": data["name"],
        **{f"data.{name}": value for name, value in data.items() if name != "name"},
        **{f"train.{name}": value for name, value in train.items()},
        "compress": compress["method"],
        **{f"compress.{name}": value for name, value in compress.items() if name != "method"},
    }
    return {name: value for name, value in row.items() if name not in PLACES}


def plain(value: Any) -> str:
    """A setting's value for people: numbers without zeros that say nothing."""
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def setting(column: str, value: Any) -> str:
    """A setting for people: compress.conv_bits as "conv_bits 5"."""
    return f"{column.rpartition('.')[2]} {plain(value)}"
