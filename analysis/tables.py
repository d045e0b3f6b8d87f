"""Runs in groups: what they differ in, what they are called, means over seeds."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.stats import mean_interval
from fire.arch import FAMILIES
from sweep.manifests import Sweep

OVERVIEW = ("key", "family", "sr", "pct_3x3", "bypass")
RESULTS = ("top1", "size_mib", "parameters", "macs", "top5", "validation_top1", "train_seconds")
METAPARAMETERS = {
    "family",
    *(field.name for spec in FAMILIES.values() for field in dataclasses.fields(spec)),
}
# Spellings that do not follow from the name; other data sets are shown by their names, with spaces.
DATA_NAMES = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
# What changes a result's last bits, and at times more, beside configuration and seed.
COMPUTED_WITH = ("precision", "kernels", "threads", "device", "torch")


def columns_of(runs: pd.DataFrame, sweep: Sweep) -> list[str]:
    """The columns of what a sweep varies: arch.sr -> sr, train.lr -> train.lr; of a preset, where its runs differ."""
    found: list[str] = []
    for override in sweep.varied:
        name = override.removeprefix("arch.").removesuffix(".name").removesuffix(".method")
        for column in (*network_columns(runs), "seed"):
            inside = column in METAPARAMETERS if name == "arch" else column.startswith(f"{name}.")
            if column == name or (name not in runs and inside and runs[column].nunique(dropna=False) > 1):
                found.append(column)
    return list(dict.fromkeys(found))


def along(runs: pd.DataFrame, sweep: Sweep) -> list[str]:
    """The columns that tell a sweep's networks apart: what it varies but seeds; if that is nothing, the compression."""
    varied = [name for name in columns_of(runs, sweep) if name != "seed"]
    return varied or (["compress"] if (runs["compress"] != "none").any() else [])


def labels(runs: pd.DataFrame, columns: list[str]) -> dict[str, str]:
    """A short name for each finished run's key from the columns that tell the runs apart: "sr 0.5, seed 1"."""
    return {
        str(run["key"]): ", ".join(setting(name, run[name]) for name in columns if pd.notna(run[name])) or run["key"]
        for _, run in runs[runs["status"] == "finished"].iterrows()
    }


def network_columns(runs: pd.DataFrame) -> list[str]:
    """The columns that tell networks, recipes and data apart: runs that agree in them differ by their seeds alone."""
    names = map(str, runs.columns)
    return [name for name in names if name in METAPARAMETERS or name.startswith(("data", "train.", "compress"))]


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


def plain(value: Any) -> str:
    """A setting's value for people: numbers without zeros that say nothing."""
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def setting(column: str, value: Any) -> str:
    """A setting for people: compress.conv_bits as "conv_bits 5"."""
    return f"{column.rpartition('.')[2]} {plain(value)}"


def in_order(values: Iterable[Any]) -> list[Any]:
    """Settings in the order in which they are shown: numbers, kinds of bypass from none to complex, other texts."""
    order = {"none": 0, "simple": 1, "complex": 2}
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, order.get(str(v), 3), str(v)))


def setting_of(runs: pd.DataFrame) -> str:
    """What the runs were trained on, and for how long: "digits, 3 epochs"."""
    return f"{data_of(runs)}, {epochs_of(runs)}"


def data_of(runs: pd.DataFrame) -> str:
    """The names of the data sets."""
    return ", ".join(DATA_NAMES.get(name, name.replace("_", " ")) for name in runs["data"].unique()) or "no runs"


def epochs_of(runs: pd.DataFrame) -> str:
    """The numbers of epochs: "3/5 epochs"."""
    counts = sorted(runs["train.epochs"].unique())
    return f"{'/'.join(f'{count:g}' for count in counts)} epoch{'' if counts == [1] else 's'}"


def counted(number: int, noun: str) -> str:
    """The number with its noun: "2 seeds"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def differences(runs: pd.DataFrame) -> str:
    """A sentence on what the finished runs were computed with, where they differ in it; empty where they do not."""
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
    """What a parameter buys along a metaparameter: test accuracy gained from each value to the next larger network.

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
