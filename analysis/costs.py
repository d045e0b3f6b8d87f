"""What accuracy is weighed against: size, operations, latency."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.stats import pareto_front


class Cost(NamedTuple):
    """What accuracy is shown over: a column, its name for people, and by what it is multiplied for them."""

    column: str
    name: str
    scale: float = 1.0


SIZE = Cost("size_mib", "size of the fp32 parameters, MiB")

# Objectives that are costs, by their names.
COSTS = {
    "size_bytes": SIZE,
    "macs": Cost("macs", "multiply-accumulates of an image, millions", 1e-6),
    "latency": Cost("latency_seconds", "latency of one image, ms", 1e3),
}


def cost_of(objectives: Sequence[str], finished: pd.DataFrame) -> Cost:
    """The first of the search's objectives that is a cost and known of a finished run; else size."""
    costs = (COSTS[name] for name in objectives if name in COSTS)
    return next((cost for cost in costs if finished[cost.column].notna().any()), SIZE)


def with_comparable_latencies(runs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The runs with latencies of one machine, device and number of threads only, that of most finished runs; and how
    many finished runs are without theirs for that."""
    place = runs.groupby(["host", "device", "threads"], dropna=False, sort=False).ngroup()
    timed = (runs["status"] == "finished") & runs["latency_seconds"].notna()
    here = place.isin(place[timed].mode().head(1))
    return runs.assign(latency_seconds=runs["latency_seconds"].where(here)), int((timed & ~here).sum())


def front(finished: pd.DataFrame, cost: Cost = SIZE) -> NDArray[np.bool_]:
    """Which finished runs no other beats in cost and validation accuracy."""
    return pareto_front(finished[cost.column], finished["validation_top1"])
