"""Compressed networks: their bytes, what they lost against the networks they were made from, the paper's table 2."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import paper, tables
from analysis.stats import mean_interval
from sweep.manifests import Sweep

FAMILY_NAMES = {"alexnet": "AlexNet", "squeezenet": "SqueezeNet"}
EXPERIMENTS = ("results", "results_alexnet")  # whose networks are those of the paper's tables 2 and 3
METHOD_NAMES = {"none": "fp32", "deep_compression": "Deep Compression", "entropy": "entropy"}


def with_bytes(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs with two columns more: bytes and drop.

    bytes: of the compressed file, or of the parameters in fp32. drop: test top-1 that compression cost against the run
    it started from, a fraction of 1; missing where there was no compression.
    """
    finished = runs[runs["status"] == "finished"]
    return finished.assign(
        bytes=finished["file_bytes"].astype(float).fillna(finished["size_bytes"]).astype("int64"),
        drop=finished["float_top1"] - finished["top1"].astype(float),
    )


def by_network(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Finished runs that agree in the columns `by`, together, over their seeds: a row a group, the largest first.

    Columns: by, bytes (the mean), n, top1 with its 95 % interval, drop with its own (paired with the runs they started
    from; missing if one of these is not known).
    """
    rows: list[dict[str, Any]] = []
    for values, group in with_bytes(runs).groupby(by, sort=False, dropna=False):
        top1 = mean_interval(group["top1"].to_numpy(dtype=float))
        drops = group["drop"].to_numpy(dtype=float)
        drop = mean_interval(drops if np.isfinite(drops).all() else [])
        rows.append(
            {
                **dict(zip(by, values, strict=True)),
                "bytes": round(float(group["bytes"].mean())),
                "n": top1.n,
                "top1": top1.mean,
                "top1_low": top1.low,
                "top1_high": top1.high,
                "drop": drop.mean,
                "drop_low": drop.low,
                "drop_high": drop.high,
            }
        )
    numbers = ["bytes", "n", "top1", "top1_low", "top1_high", "drop", "drop_low", "drop_high"]
    frame = pd.DataFrame(rows, columns=[*by, *numbers])
    return frame.sort_values("bytes", ascending=False, kind="stable").reset_index(drop=True)


def summary(runs: pd.DataFrame, along: Sequence[str]) -> pd.DataFrame:
    """Finished runs over their seeds, a row for each value of the columns: with bytes and drop if some are compressed.

    Without columns, a row for each network.
    """
    names = [name for name in tables.network_columns(runs) if runs[name].map(repr).nunique() > 1]
    by = list(along) or list(dict.fromkeys([*(name for name in tables.OVERVIEW[1:] if name in runs), *names]))
    return by_network(runs, by) if (runs["compress"] != "none").any() else tables.over_seeds(runs, by)


def paper_parts(runs: pd.DataFrame, sweeps: Iterable[Sweep]) -> list[tuple[str, pd.DataFrame]]:
    """The finished runs of those sweeps that belong into the paper's tables 2 and 3, apart by what else accuracies
    depend on, data and recipe, each behind its name."""
    keys = {key for sweep in sweeps if sweep.experiment in EXPERIMENTS and sweep.search is None for key in sweep.keys}
    chosen = runs[runs["key"].isin(keys) & (runs["status"] == "finished")]
    return [
        (", ".join(filter(None, (tables.setting_of(part), setting))), part)
        for _, data in chosen.groupby("data", sort=False)
        for setting, part in tables.apart(data, ("data.", "train."))
    ]


def table_2(runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's tables 2 and 3 with our networks beside the published ones; missing is NaN. Runs of one setting.

    Columns: network (with what tells it from others of its kind), compression, those of `by_network`, reduction (of
    bytes, against our AlexNet in fp32 if there is one among the runs), paper_mb, paper_reduction, paper_top1 (of
    ImageNet).
    """
    kind = ["family", "bypass", "compress"]
    runs = runs.assign(bypass=runs.get("bypass"))  # which AlexNet has not
    settings = [
        name for name in map(str, runs.columns) if name in tables.METAPARAMETERS or name.startswith("compress.")
    ]
    varied = [name for name in settings if (runs.groupby(kind, dropna=False)[name].nunique(dropna=False) > 1).any()]
    groups = by_network(runs, [*kind, *varied])
    alexnet = groups[(groups["family"] == "alexnet") & (groups["compress"] == "none")]["bytes"]
    rows = []
    for _, ours in groups.iterrows():
        bypass = ours["bypass"] if isinstance(ours["bypass"], str) else "none"
        told = [setting(name, ours[name]) for name in varied if pd.notna(ours[name])]
        rows.append(
            {
                "network": ", ".join(
                    [FAMILY_NAMES[ours["family"]], *([] if bypass == "none" else [f"{bypass} bypass"]), *told]
                ),
                "compression": METHOD_NAMES[ours["compress"]],
                "bytes": ours["bytes"],
                "reduction": alexnet.iloc[0] / ours["bytes"] if len(alexnet) == 1 else np.nan,
                **ours.drop([*kind, *varied, "bytes"]),
                **_published(ours["family"], bypass, ours["compress"]),
            }
        )
    return pd.DataFrame(rows)


def _published(family: str, bypass: str, method: str) -> dict[str, float]:
    """The paper's numbers: of table 2, or of table 3 for networks with bypass."""
    mb, reduction, top1 = np.nan, np.nan, np.nan
    for row in paper.TABLE_2:
        if (row.network, row.method) == (family, method) and bypass == "none":
            mb, reduction, top1 = row.printed_mb, row.reduction, row.top1
    for kind in paper.TABLE_3:
        if (kind.bypass, "squeezenet", "none") == (bypass, family, method) and bypass != "none":
            mb, top1 = kind.printed_mb, kind.top1
    return {"paper_mb": mb, "paper_reduction": reduction, "paper_top1": top1}


def setting(column: str, value: Any) -> str:
    """A setting for people; empty where there is none, as of density in a network that is not compressed."""
    if pd.isna(value):
        return ""
    return METHOD_NAMES[value] if column == "compress" else tables.setting(column, value)
