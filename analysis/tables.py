"""Groups of runs: the settings in which they differ, their names, means over seeds."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fire.arch import BYPASSES, FAMILIES
from fire.stats import mean_interval
from sweep.labels import short_names
from sweep.manifests import Sweep

OVERVIEW = ("key", "family", "sr", "pct_3x3", "bypass")
COSTS = ("parameters", "size_mib", "macs", "activations")
RESULTS = (
    *("top1", "size_mib", "parameters", "macs", "peak_ram_bytes", "weight_bytes", "flash_bytes"),
    *("top5", "validation_top1", "train_seconds"),
)
METAPARAMETERS = {
    "family",
    *(field.name for spec in FAMILIES.values() for field in dataclasses.fields(spec)),
}
# Spellings that do not follow from the name; other data sets are shown by their names, with spaces.
DATA_NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
METHOD_NAMES = {"none": "fp32", "deep_compression": "Deep Compression", "entropy": "entropy"}
CONTENTS = {"data.root": "data.fingerprint"}  # where pictures lie is no column: what they are is one
# Columns that change a result's last bits, and at times more, although configuration and seed are the same.
COMPUTED_WITH = ("precision", "kernels", "threads", "device", "torch")


def columns_of(runs: pd.DataFrame, sweep: Sweep) -> list[str]:
    """The columns that a sweep varies: arch.sr -> sr, train.lr -> train.lr; for presets, those in which runs differ.

    Where the preset's name is itself a column, as that of data, those in which runs of one name differ are added.
    """
    found: list[str] = []
    for override in sweep.varied:
        name = override.removeprefix("arch.").removesuffix(".name").removesuffix(".method")
        name = CONTENTS.get(name, name)
        for column in (*network_columns(runs), "seed"):
            inside = (
                column in METAPARAMETERS if name == "arch" else column.startswith((f"{name}.", f"{name}_fingerprint"))
            )
            alike = runs.groupby(name, dropna=False)[column] if name in runs else runs[column]
            if column == name or (inside and np.max(alike.nunique(dropna=False)) > 1):
                found.append(column)
    return list(dict.fromkeys(found))


def along(runs: pd.DataFrame, sweep: Sweep) -> tuple[str, ...]:
    """The columns in which a sweep's networks differ: all that it varies but seeds; failing that, the compression."""
    varied = tuple(name for name in columns_of(runs, sweep) if name != "seed")
    return varied or (("compress",) if (runs["compress"] != "none").any() else ())


def names(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """A short name for each row, made of its settings in these columns: "Deep Compression, density 0.2".

    Settings that a row lacks, such as the density of a network that is not compressed, are left out.
    """
    rows = [{name: plain(row[name]) for name in columns if pd.notna(row[name])} for _, row in frame.iterrows()]
    methods = [METHOD_NAMES.get(row.pop("compress", ""), "") for row in rows]
    settings = short_names(rows, equals=" ", comma=", ")
    return [", ".join(filter(None, parts)) for parts in zip(methods, settings, strict=True)]


def labels(runs: pd.DataFrame, columns: Iterable[str]) -> dict[str, str]:
    """A short name for the key of each finished run, made of its settings in these columns: "sr 0.5, seed 1".

    Of columns that tell the same runs apart, the first is enough.
    """
    finished, columns = runs[runs["status"] == "finished"], list(columns)
    keys = finished["key"].astype(str)
    found = names(finished, telling(finished, columns) or columns)
    return {key: name or key for key, name in zip(keys, found, strict=True)}


def network_columns(runs: pd.DataFrame) -> tuple[str, ...]:
    """The settings of networks, training and data: runs that agree in these columns differ by their seeds alone."""
    columns = map(str, runs.columns)
    return tuple(each for each in columns if each in METAPARAMETERS or is_of(each, ("data", "train", "compress")))


def is_of(column: str, parts: Iterable[str]) -> bool:
    """Whether the column is of one of these parts of a run: of data are data and data.limit, and not data_title."""
    return column.partition(".")[0] in parts


def is_number(column: "pd.Series[Any]") -> bool:
    """Whether the column's values are numbers, which yes and no are not: a curve can lead from one to the next."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def differing(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The columns in which rows differ; missing is a value, too."""
    return [name for name in columns if frame[name].map(repr).nunique() > 1]


def differ_within(setting: "pd.Series[Any]", groups: "pd.Series[str]") -> bool:
    """Whether rows of one group differ in the setting, such as runs whose data set and epochs a table names."""
    return bool((setting.map(repr).groupby(groups.to_numpy()).nunique() > 1).any())


def telling(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The columns in which rows differ, without those that tell the same rows apart as one before."""
    found = {tuple(pd.factorize(frame[name].map(repr))[0]): name for name in reversed(differing(frame, columns))}
    return list(found.values())[::-1]


def apart(runs: pd.DataFrame, groups: tuple[str, ...]) -> list[tuple[str, pd.DataFrame]]:
    """The runs in parts that agree in all settings of these parts of a run, such as data; each with its name."""
    columns = [name for name in map(str, runs.columns) if is_of(name, groups)]
    shown = runs[columns].map(repr)
    parts = [part for _, part in runs.groupby([shown[name] for name in columns], sort=False)]
    firsts = pd.concat([part.head(1) for part in parts]) if parts else runs
    naming = [name for name in differing(runs, columns) if name != "data.fingerprint" or not _is_titled(runs)]
    return list(zip(names(firsts, naming), parts, strict=True))


def recipes(runs: pd.DataFrame) -> "pd.Series[str]":
    """How each run was trained: the epochs, with the settings in which recipes of as many epochs differ.

    Empty if all runs were trained alike.
    """
    found = pd.Series("", index=runs.index)
    if len(apart(runs, ("train",))) > 1:
        for epochs, alike in runs.groupby("train.epochs"):
            columns = telling(alike, [name for name in map(str, alike.columns) if name.startswith("train.")])
            shown = [
                ", ".join(filter(None, (counted(int(str(epochs)), "epoch"), setting)))
                for setting in names(alike, columns)
            ]
            found.update(pd.Series(shown, index=alike.index))
    return found


def _is_titled(runs: pd.DataFrame) -> bool:
    """Whether each data set of the runs has a title that no other has."""
    fingerprints = runs["data.fingerprint"].groupby(runs["data_title"], dropna=False).nunique(dropna=False)
    return bool(runs["data_title"].notna().all() and (fingerprints == 1).all())


def networks(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs, the smallest first: keys, the metaparameters, all other settings that differ, and results."""
    finished = runs[runs["status"] == "finished"].sort_values(["size_mib", "seed"], kind="stable")
    columns = dict.fromkeys([*OVERVIEW, *differing(finished, network_columns(runs)), "seed", *RESULTS])
    return finished[[name for name in columns if name in runs]]


def interval(name: str, values: Any) -> dict[str, float]:
    """The mean of a metric, and the ends of its 95 % interval, under the names of their columns."""
    found = mean_interval(values)
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def over_seeds(runs: pd.DataFrame, by: list[str], metric: str = "top1") -> pd.DataFrame:
    """Means of finished runs that agree in the columns `by`: a row a group, the smallest networks first.

    Columns: by, parameters, size_mib, macs, activations, the metric's mean, <metric>_low and <metric>_high (the ends of
    its 95 % interval, missing for one seed), n, train_seconds (mean).
    """
    finished = runs[runs["status"] == "finished"]
    groups = finished.groupby(by, sort=False, dropna=False)
    means = [interval(metric, found.to_numpy(dtype=float)) for _, found in groups[metric]]
    frame = groups.head(1)[list(dict.fromkeys([*by, *COSTS]))].reset_index(drop=True)
    frame[list(interval(metric, ()))] = pd.DataFrame(means, columns=list(interval(metric, ())))
    frame["n"] = groups[metric].count().to_numpy()
    frame["train_seconds"] = groups["train_seconds"].mean().to_numpy()
    return frame.sort_values(["size_mib", *by], kind="stable").reset_index(drop=True)


def filled(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with "none" in these columns where a network's family lacks the setting: NaN equals not even itself."""
    gaps = [name for name in columns if frame[name].isna().any()]
    return frame.assign(**{name: frame[name].astype(object).where(frame[name].notna(), "none") for name in gaps})


def plain(value: Any) -> str:
    """A setting's value for people: 0.5, not 0.50000."""
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Settings in the order in which they are shown: numbers, kinds of bypass as in fire.arch, other texts."""

    def place(value: Any) -> tuple[int, float, str]:
        if isinstance(value, int | float):
            return (0, value, "")
        return (1, BYPASSES.index(value) if value in BYPASSES else math.inf, str(value))

    return sorted(values, key=place)


def setting_of(runs: pd.DataFrame) -> str:
    """The data set of the runs, and the length of their training: "digits, 3 epochs"."""
    return ", ".join(filter(None, (data_of(runs), epochs_of(runs))))


def data_of(runs: pd.DataFrame) -> str:
    """The titles of the data sets; the names of those without a title."""
    titles = runs["data_title"] if "data_title" in runs else runs["data"].map(lambda name: None)
    known = titles.fillna(runs["data"].map(lambda name: DATA_NAMES.get(name, name.replace("_", " "))))
    return ", ".join(known.unique()) or "no runs"


def epochs_of(runs: pd.DataFrame) -> str:
    """The numbers of epochs: "3 and 5 epochs"; empty without runs."""
    counts = [f"{count:g}" for count in sorted(runs["train.epochs"].unique())]
    several = " and ".join(filter(None, (", ".join(counts[:-1]), *counts[-1:])))
    return f"{several} epoch{'' if counts == ['1'] else 's'}" if counts else ""


def counted(number: int, noun: str) -> str:
    """The number with its noun: "2 seeds"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def seeds(counts: pd.Series) -> str:
    """The numbers of seeds of some networks: "1 to 3 seeds"."""
    ends = sorted({int(counts.min()), int(counts.max())})
    return f"{' to '.join(map(str, ends))} seed{'' if ends == [1] else 's'}"


def differences(runs: pd.DataFrame) -> str:
    """A sentence on how finished runs differ in precision, kernels, threads, device or torch; empty if they do not."""
    finished = runs[runs["status"] == "finished"]
    parts = []
    for name in COMPUTED_WITH:
        counts = Counter("not recorded" if pd.isna(value) else plain(value) for value in finished[name])
        if len(counts) > 1:
            parts.append(f"{name} {', '.join(f'{value} ({count})' for value, count in sorted(counts.items()))}")
    if not parts:
        return ""
    return f"These runs were not all computed alike (in brackets: how many): {'; '.join(parts)}."


def gains(runs: pd.DataFrame, along: Sequence[str], metaparameter: str) -> pd.DataFrame:
    """The test accuracy that each step along a metaparameter gains, from each value to the next larger network.

    A row a network, with the columns along and points_per_mib, percentage points per MiB of fp32 parameters; missing
    for the smallest, and for networks of the same size.
    """
    by = list(dict.fromkeys([*along, metaparameter]))
    groups = over_seeds(runs, by)
    others = [name for name in by if name != metaparameter]
    steps = groups.groupby(others, dropna=False)[["size_mib", "top1"]] if others else groups[["size_mib", "top1"]]
    gained = steps.diff()
    per_mib = 100 * gained["top1"] / gained["size_mib"].where(gained["size_mib"] > 0)
    return groups[[*by, "size_mib"]].assign(points_per_mib=per_mib)
