"""The smallest compressed files of networks that lose little: chosen on validation images, reported on test images."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from analysis.compression import family_name
from analysis.results import Results
from analysis.section import Section, notes_of
from fire.compress.spec import MOST_LOST
from fire.stats import p_of_zero

POINTS = f"{100 * MOST_LOST:g} points"
NOTE = (
    f"Of each seed, the smallest file counts whose validation accuracy is at most {POINTS} below that of the network "
    "that was compressed. Bytes, test top-1 and drop are those of these files, with 95 % intervals over seeds "
    "(Student's t; of bytes and ratio geometric means, with the interval of their logarithms). tried: files of a seed. "
    "n: seeds that have such a file, of all seeds. ratio: bytes over those of Deep Compression of the same trained "
    "networks, with p of the two-sided t-test of its logarithm; pairs: networks of which both have such a file."
)


def of(results: Results) -> Iterator[Section]:
    """The section of the report, if a network was compressed with several settings."""
    parts = compressed(results.runs)
    if parts:
        yield Section(
            title=f"The smallest files that lose at most {POINTS}",
            tables=(("smallest", table(parts)),),
            notes=notes_of(NOTE, tables.differences(pd.concat(parts))),
        )


def compressed(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """The compressed networks whose loss of validation accuracy is known (the column lost), a frame a trained network.

    Only of networks of which a method was tried with several settings.
    """
    files = runs[(runs["status"] == "finished") & (runs["compress"] != "none") & runs["float_validation_top1"].notna()]
    files = files.assign(lost=files["float_validation_top1"] - files["validation_top1"].astype(float))
    parts = [part for _, part in files.groupby([files[name].map(repr) for name in _settings(files)], sort=False)]
    several = [part for part in parts if (part.groupby(["compress", "seed"]).size() > 1).any()]
    return sorted(several, key=lambda part: (tables.setting_of(part), -part["size_bytes"].iloc[0]))


def _settings(files: pd.DataFrame) -> list[str]:
    """The columns in which files of the same trained network, but for its seed, agree."""
    return [name for name in tables.network_columns(files) if not tables.is_of(name, ("compress",))]


def table(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """A row for each trained network and each method of compression that was tried with several settings.

    Columns: network, data, compression, tried, n, seeds, settings (of the files that count), bytes, reduction (against
    fp32), top1 and drop (fractions of 1), ratio (of the bytes over Deep Compression's), each but the reduction with the
    ends of its interval, pairs (the seeds of the ratio), and p. What no file of a row has is missing.
    """
    firsts = pd.concat([part.head(1) for part in parts])
    data = pd.Series([tables.setting_of(part) for part in parts])
    columns = [
        name for name in _settings(firsts) if name in tables.METAPARAMETERS or tables.differ_within(firsts[name], data)
    ]
    names = tables.names(firsts, tables.telling(firsts, columns))
    rows = []
    for part, name in zip(parts, names, strict=True):
        shared = {
            "network": ", ".join(filter(None, (family_name(part["family"].iloc[0]), name))),
            "data": tables.setting_of(part),
        }
        chosen = {method: _chosen(of_method) for method, of_method in part.groupby("compress")}
        for method, of_method in part.groupby("compress"):
            if (of_method.groupby("seed").size() > 1).any():
                rows.append(shared | _row(of_method, chosen[method], chosen.get("deep_compression")))
    return pd.DataFrame(rows)


def _chosen(files: pd.DataFrame) -> pd.DataFrame:
    """The smallest file of each seed that loses little, by seed."""
    little = files[files["lost"] <= MOST_LOST + 1e-9]  # rounding must not decide about an image
    return little.sort_values("file_bytes", kind="stable").groupby("seed").head(1).set_index("seed").sort_index()


def _row(files: pd.DataFrame, chosen: pd.DataFrame, deep: pd.DataFrame | None) -> dict[str, Any]:
    """files: of one method. chosen: those that count, by seed. deep: those of Deep Compression, if it was tried."""
    size = _geometric("bytes", chosen["file_bytes"])
    knobs = tables.differing(files, [name for name in map(str, files.columns) if name.startswith("compress.")])
    counts = Counter(tables.names(chosen.sort_values(knobs), knobs))
    method = files["compress"].iloc[0]
    row = {
        "compression": tables.METHOD_NAMES[method],
        "tried": int(files.groupby("seed").size().max()),
        "n": len(chosen),
        "seeds": files["seed"].nunique(),
        "settings": "; ".join(f"{name} ({count})" for name, count in counts.items()),
        **size,
        "reduction": float(files["size_bytes"].iloc[0] / size["bytes"]),
        **tables.interval("top1", chosen["top1"].to_numpy(float)),
        **tables.interval("drop", (chosen["float_top1"] - chosen["top1"].astype(float)).to_numpy(float)),
    }
    if deep is None or method == "deep_compression":
        return row
    ratios = (chosen["file_bytes"] / deep["file_bytes"]).dropna()
    return row | _geometric("ratio", ratios) | {"pairs": len(ratios), "p": p_of_zero(np.log(ratios.to_numpy(float)))}


def _geometric(name: str, values: "pd.Series[float]") -> dict[str, float]:
    """The geometric mean and the ends of its 95 % interval, under the names of their columns."""
    return {column: float(np.exp(log)) for column, log in tables.interval(name, np.log(values.astype(float))).items()}
