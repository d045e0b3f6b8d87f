"""Costs of networks as axes: size, operations, latency."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fire.stats import pareto_front


class CostAxis(NamedTuple):
    """A column of costs as an axis: its name for people, and the factor to that name's unit."""

    column: str
    name: str
    scale: float = 1.0


SIZE = CostAxis("size_mib", "size of the fp32 parameters, MiB")
MACS = CostAxis("macs", "multiply-accumulates of an image, millions", 1e-6)
LATENCY = CostAxis("latency_seconds", "latency of one image, ms", 1e3)
AXES = {"size_bytes": SIZE, "macs": MACS, "latency": LATENCY}  # by the names of a search's objectives


def axis_of(objectives: Sequence[str], finished: pd.DataFrame) -> CostAxis:
    """The first of the search's objectives that is a cost and known of a finished run; otherwise size."""
    axes = (AXES[name] for name in objectives if name in AXES)
    return next((axis for axis in axes if finished[axis.column].notna().any()), SIZE)


def with_comparable_latencies(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Keep the latencies of one machine, device and number of threads: those of most finished runs.

    Returns the runs, and the number of finished runs whose latency was left out.
    """
    place = runs.groupby(["host", "device", "threads"], dropna=False, sort=False).ngroup()
    timed = (runs["status"] == "finished") & runs["latency_seconds"].notna()
    here = place.isin(place[timed].mode().head(1))
    return runs.assign(latency_seconds=runs["latency_seconds"].where(here)), int((timed & ~here).sum())


def front(costs: ArrayLike, accuracies: ArrayLike) -> NDArray[np.bool_]:
    """Which networks no other beats in cost and accuracy."""
    return pareto_front(np.column_stack([costs, -np.asarray(accuracies, np.float64)]))
