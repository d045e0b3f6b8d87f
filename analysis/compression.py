"""Compressed networks: their bytes, their loss of accuracy by compression, the paper's table 2."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis import paper, tables
from analysis.view import View
from sweep.manifests import Sweep

FAMILY_NAMES = {"alexnet": "AlexNet", "squeezenet": "SqueezeNet", "resnet8": "ResNet8"}
EXPERIMENTS = ("results", "results_alexnet")  # their networks are those of the paper's tables 2 and 3


def with_bytes(runs: pd.DataFrame) -> pd.DataFrame:
    """The finished runs with two more columns, bytes and drop.

    bytes: of the compressed file, or of the parameters in fp32. drop: the test top-1 of the run that was compressed
    less that of the compressed network, a fraction of 1; missing where there was no compression.
    """
    finished = runs[runs["status"] == "finished"]
    return finished.assign(
        bytes=finished["file_bytes"].astype(float).fillna(finished["size_bytes"]).astype("int64"),
        drop=finished["float_top1"] - finished["top1"].astype(float),
    )


def by_network(runs: pd.DataFrame, by: list[str], cost: str = "bytes") -> pd.DataFrame:
    """Means over seeds of finished runs that agree in the columns `by`: a row a group, the most costly first.

    Columns: by, bytes, cost (another column of the runs), n, top1 and drop with their 95 % intervals; drop is missing
    if it is unknown of a seed.
    """
    rows: list[dict[str, Any]] = []
    for values, group in with_bytes(runs).groupby(by, sort=False, dropna=False):
        drops = group["drop"].to_numpy(dtype=float)
        rows.append(
            {
                **dict(zip(by, values, strict=True)),
                cost: float(group[cost].mean()),
                "bytes": round(float(group["bytes"].mean())),
                "n": int(group["top1"].notna().sum()),
                **tables.interval("top1", group["top1"].to_numpy(dtype=float)),
                **tables.interval("drop", drops if np.isfinite(drops).all() else []),
            }
        )
    numbers = ["bytes", "n", "top1", "top1_low", "top1_high", "drop", "drop_low", "drop_high"]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*by, *numbers, cost])))
    return frame.sort_values(cost, ascending=False, kind="stable").reset_index(drop=True)


def summary(view: View) -> pd.DataFrame:
    """A row for each network, means over seeds; with bytes and drop if some networks are compressed."""
    runs = view.runs
    overview = [name for name in tables.OVERVIEW[1:] if name in runs]
    by = list(view.along) or list(dict.fromkeys([*overview, *tables.differing(runs, tables.network_columns(runs))]))
    return by_network(runs, by) if view.is_compressed else tables.over_seeds(runs, by)


def paper_parts(runs: pd.DataFrame, sweeps: Iterable[Sweep]) -> list[tuple[str, pd.DataFrame]]:
    """The finished runs of these sweeps that belong into the paper's tables 2 and 3, in parts that share their data and
    their training, each with its name."""
    keys = {key for sweep in sweeps if sweep.experiment in EXPERIMENTS and sweep.search is None for key in sweep.keys}
    chosen = runs[runs["key"].isin(keys) & (runs["status"] == "finished")]
    return [
        (", ".join(filter(None, (tables.setting_of(part), setting))), part)
        for _, data in chosen.groupby("data", sort=False)
        for setting, part in tables.apart(data, ("data", "train"))
    ]


def table_2(runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's tables 2 and 3 with our networks beside the published ones; missing is NaN.

    The runs share their data and their training. Columns: network (with the settings in which it differs from others of
    its kind), compression, those of `by_network`, reduction (of bytes, against our AlexNet in fp32 if it is among the
    runs), paper_mb, paper_reduction, paper_top1 (on ImageNet; missing where several networks are of one kind).
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
    is_alone = groups.groupby(kind, dropna=False)["bytes"].transform("size") == 1  # else the paper has none of them
    for (_, ours), name, alone in zip(groups.iterrows(), tables.names(groups, varied), is_alone, strict=True):
        bypass = ours["bypass"] if isinstance(ours["bypass"], str) else "none"
        words = (family_name(ours["family"]), "" if bypass == "none" else f"{bypass} bypass", name)
        rows.append(
            {
                "network": ", ".join(filter(None, words)),
                "compression": tables.METHOD_NAMES[ours["compress"]],
                "bytes": ours["bytes"],
                "reduction": alexnet.iloc[0] / ours["bytes"] if len(alexnet) == 1 else np.nan,
                **ours.drop([*kind, *varied, "bytes"]),
                **_published(ours["family"] if alone else "", bypass, ours["compress"]),
            }
        )
    return pd.DataFrame(rows)


def family_name(family: str) -> str:
    """The family's name for people; its own where the report knows none."""
    return FAMILY_NAMES.get(family, family)


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
