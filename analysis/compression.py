"""Compressed networks: their bytes, what they lost against the networks they were made from, the paper's table 2."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import paper, tables
from analysis.figures import CYCLE, DATA_NAMES, log_axis
from analysis.stats import mean_interval

FAMILY_NAMES = {"alexnet": "AlexNet", "squeezenet": "SqueezeNet"}
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
        told = [_setting(name, ours[name]) for name in varied if pd.notna(ours[name])]
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


class SizeInfo(NamedTuple):
    """Accuracy, in percent, over the bytes of each network, in lines: groups of points that differ in one setting."""

    title: str
    lines: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]  # what each point's setting is
    kilobytes: tuple[tuple[float, ...], ...]  # of 1,000 bytes
    accuracy: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    in_order: bool  # whether that setting is a number, so that lines mean something


def size_info(runs: pd.DataFrame, along: Sequence[str]) -> SizeInfo:
    """The finished runs of a sweep along these columns: a line moves along the last of them that is not the method."""
    groups = by_network(runs, list(along))
    *others, last = sorted(along, key=lambda column: column != "compress") if len(along) > 1 else along
    names = [", ".join(filter(None, (_setting(name, row[name]) for name in others))) for _, row in groups.iterrows()]
    parts = [groups[[name == line for name in names]] for line in dict.fromkeys(sorted(names))]
    counts = sorted({int(groups["n"].min()), int(groups["n"].max())})
    seeds = f"{' to '.join(map(str, counts))} seed{'' if counts == [1] else 's'}"
    data = ", ".join(DATA_NAMES.get(name, name) for name in runs["data"].unique())

    def of(column: str, factor: float) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(factor * part[column].astype(float)) for part in parts)

    return SizeInfo(
        title=f"{data}, {seeds}",
        lines=tuple(dict.fromkeys(sorted(names))),
        points=tuple(tuple(_setting(last, value) for value in part[last]) for part in parts),
        kilobytes=of("bytes", 1e-3),
        accuracy=of("top1", 100),
        low=of("top1_low", 100),
        high=of("top1_high", 100),
        in_order=bool(pd.api.types.is_numeric_dtype(groups[last])),
    )


def draw_size(info: SizeInfo, ax: Axes) -> None:
    """Accuracy over the size of the file, on a log scale: lines with their settings, or points of each kind."""
    kinds = sorted({point for points in info.points for point in points})  # each with one look
    lines = zip(info.lines, info.points, info.kilobytes, info.accuracy, info.low, info.high, strict=True)
    for color, (line, points, kilobytes, accuracy, low, high) in zip(CYCLE * 9, lines, strict=False):
        spread = np.nan_to_num([np.subtract(accuracy, low), np.subtract(high, accuracy)])
        if info.in_order:
            ax.errorbar(kilobytes, accuracy, yerr=spread, color=color, marker="o", capsize=3, label=line)
            for point, x, y in zip(points, kilobytes, accuracy, strict=True):
                ax.annotate(point, (x, y), xytext=(0, 7), textcoords="offset points", fontsize=8, ha="center")
            continue
        for i, point in enumerate(points):
            place = kinds.index(point)
            x = kilobytes[i] * 1.05 ** (place - (len(kinds) - 1) / 2) if line else kilobytes[i]  # side by side
            label = ", ".join(name for name in (line, point) if name)
            look: dict[str, Any] = {
                "color": color if line else CYCLE[place],
                "marker": "osD^vP"[place % 6],
                "linestyle": "none",
            }
            ax.errorbar(x, accuracy[i], yerr=spread[:, [i]], capsize=3, label=label, **look)
    log_axis(ax, [size for line in info.kilobytes for size in line])
    ax.set_xlabel("size of the file, kB of 1,000 bytes (log scale)")
    ax.set_ylabel("test top-1 accuracy, %")
    ax.set_title(info.title)
    ax.margins(x=0.12, y=0.15)
    if any(info.lines) or not info.in_order:
        ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)


def _setting(column: str, value: Any) -> str:
    """A setting for people; empty where there is none, as of density in a network that is not compressed."""
    if pd.isna(value):
        return ""
    return METHOD_NAMES[value] if column == "compress" else tables.setting(column, value)
