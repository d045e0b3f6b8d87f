"""Reads the tabular benchmark: networks with what each costs and how accurate it was after every epoch.

python -m analysis.tabular writes the Parquet file. This module needs nothing else of the project, so it may be copied.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DRAWN = "tabular"  # the experiment whose networks were drawn before any was trained


@dataclass(frozen=True)
class Tabular:
    """Networks of one recipe. networks: a row each; curves: top-1 by network and epoch.

    Accuracies are fractions of 1 on validation images; networks["top1"] is on the test images.
    """

    networks: pd.DataFrame
    curves: np.ndarray  # (networks, epochs)

    @property
    def epochs(self) -> int:
        """How long each was trained."""
        return self.curves.shape[1]


def load(path: Path | str, experiment: str = DRAWN, seed: int = 0) -> Tabular:
    """The networks of an experiment. Raises ValueError if there are none, or if their recipes or data differ."""
    runs = pd.read_parquet(path)
    chosen = runs[runs["experiments"].map(lambda names: experiment in names) & (runs["seed"] == seed)]
    recipe = [name for name in chosen if name.startswith("train.")]
    alike = chosen[["data_set", "precision", "kernels", *recipe]]
    if len(alike.drop_duplicates()) != 1:
        raise ValueError(f"{path} must hold runs of {experiment} with one recipe on one data set")
    return Tabular(networks=chosen.reset_index(drop=True), curves=np.stack(chosen["curve"].tolist()))
