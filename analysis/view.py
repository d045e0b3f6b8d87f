"""The runs that a figure shows, and how it compares them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from analysis import tables
from analysis.axes import CostAxis
from fire.train.progress import Epoch

METRICS = {
    "top1": "test top-1",
    "validation_top1": "validation top-1",
    "int8_validation_top1": "validation top-1 in int8",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The runs of a sweep, a search or a data set, whether finished or not.

    along: the columns in which the networks differ; runs that agree in them differ by their seeds alone. group: the
    column whose values get a colour each. cost: the axis of figures over a cost; None: each has its own. judged_by: the
    accuracy that networks were chosen by. curves: training curves by keys of runs.
    """

    runs: pd.DataFrame
    along: tuple[str, ...] = ()
    group: str | None = None
    cost: CostAxis | None = None
    judged_by: str = "top1"
    curves: Mapping[str, tuple[Epoch, ...]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The name of the accuracy that networks were chosen by."""
        return METRICS[self.judged_by]

    @property
    def finished(self) -> pd.DataFrame:
        """The finished runs."""
        return self.runs[self.runs["status"] == "finished"]

    @property
    def is_compressed(self) -> bool:
        """Whether some of the networks are compressed."""
        return bool((self.finished["compress"] != "none").any())

    @property
    def by(self) -> list[str]:
        """The columns that are equal in the runs of one network, trained with several seeds."""
        return list(dict.fromkeys([*(self.along or ("key",)), *([self.group] if self.group else [])]))

    def of_each_data_set(self) -> list["View"]:
        """A view for each data set, since accuracies on different images are not comparable."""
        return [replace(self, runs=part) for _, part in tables.apart(self.finished, ("data",))]
