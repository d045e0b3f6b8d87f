"""The duel: a SqueezeNet against ResNet8, MLPerf Tiny's reference for CIFAR-10, at no more of each of its budgets."""

import pandas as pd

from analysis import tables
from analysis.compression import FAMILY_NAMES
from fire.stats import welch

EXPERIMENT, REFERENCE = "duel", "resnet8"
BUDGETS = ("parameters", "macs", "weight_bytes", "peak_ram_bytes")
NOTE = (
    "Trained alike, on the same images; accuracies in int8 are those of the ONNX files, on the test images. 95 % "
    "intervals are Student's t over seeds. The difference is that of the int8 accuracies to ResNet8, with Welch's 95 % "
    "interval; p is one-sided, of Welch's test, that the network is not more accurate. The search used other seeds."
)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each family of the finished runs that have an int8 file, ResNet8 first.

    Columns: network, those of BUDGETS, n, top1 and int8_top1 with the ends of their intervals, difference (a fraction
    of 1) with the ends of its interval, p. The last ones are missing for ResNet8, and where a network has one seed.
    """
    finished = runs[(runs["status"] == "finished") & runs["int8_top1"].notna()]
    families = sorted(finished["family"].unique(), key=lambda family: (family != REFERENCE, family))
    accuracies = {family: finished[finished["family"] == family]["int8_top1"].to_numpy(float) for family in families}
    rows = []
    for family in families:
        of_family = finished[finished["family"] == family]
        row = {"network": FAMILY_NAMES[family], **of_family.iloc[0][list(BUDGETS)], "n": len(of_family)}
        for metric in ("top1", "int8_top1"):
            row |= tables.interval(metric, of_family[metric].to_numpy(float))
        if family != REFERENCE and REFERENCE in accuracies:
            found = welch(accuracies[family], accuracies[REFERENCE])
            row |= {"difference": found.difference, "difference_low": found.low, "difference_high": found.high}
            row["p"] = found.p
        rows.append(row)
    return pd.DataFrame(rows)
