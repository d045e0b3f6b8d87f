"""The duel: SqueezeNets against ResNet8, MLPerf Tiny's reference for CIFAR-10, at no more of each of its budgets."""

import pandas as pd

from analysis import tables
from analysis.compression import family_name
from fire.stats import welch

EXPERIMENT, REFERENCE = "duel", "resnet8"
COSTS = ("parameters", "macs", "weight_bytes", "peak_ram_bytes")
NOTE = (
    "Trained alike, on the same images; accuracies in int8 are those of the ONNX files, on the test images. 95 % "
    "intervals are Student's t over seeds. The difference is that of the int8 accuracies to ResNet8, with Welch's 95 % "
    "interval; p is one-sided, of Welch's test, that the network is not more accurate."
)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each network of the finished runs without compression that have an int8 file, ResNet8 first.

    The runs share their data and their training. Columns: network (with the settings in which it differs from others of
    its family), those of COSTS, n, top1 and int8_top1 with the ends of their intervals, difference (a fraction of 1)
    with the ends of its interval, p. The last ones are missing for ResNet8, and where a network has one seed.
    """
    finished = runs[(runs["status"] == "finished") & runs["int8_top1"].notna() & (runs["compress"] == "none")]
    settings = [name for name in tables.network_columns(finished) if name in tables.METAPARAMETERS]
    groups = finished.groupby([finished[name].map(repr) for name in settings], sort=False)
    parts = sorted((part for _, part in groups), key=lambda part: part["family"].iloc[0] != REFERENCE)
    if not parts:
        return pd.DataFrame()
    firsts = pd.concat([part.head(1) for part in parts])
    alike = firsts.groupby("family")
    varied = [name for name in settings if (alike[name].nunique(dropna=False) > 1).any()]
    rows = []
    for part, name in zip(parts, tables.names(firsts, varied), strict=True):
        family = str(part["family"].iloc[0])
        words = ", ".join(filter(None, (family_name(family), name if (firsts["family"] == family).sum() > 1 else "")))
        row = {"network": words, **part.iloc[0][list(COSTS)], "n": len(part)}
        for metric in ("top1", "int8_top1"):
            row |= tables.interval(metric, part[metric].to_numpy(float))
        if family != REFERENCE and parts[0]["family"].iloc[0] == REFERENCE:
            found = welch(part["int8_top1"].to_numpy(float), parts[0]["int8_top1"].to_numpy(float))
            row |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
            row["p"] = found.p
        rows.append(row)
    return pd.DataFrame(rows)
