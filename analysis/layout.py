"""Whole figures in the one style: axes side by side, drawn, ready to be shown or saved."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import compression, figures, paper, search, tables

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "analysis",  # the same figure gives the same file
    "figure.dpi": 110,
    "savefig.dpi": 160,
}


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, which are to be made, and shown or saved, within it; nothing is changed outside."""
    with mpl.rc_context(STYLE):
        yield


def curve(runs: pd.DataFrame, metaparameter: str) -> Figure:
    """Size versus accuracy of a sweep; in a panel of its own what the paper published, where it has the curve."""
    published = metaparameter in paper.FIGURE_3
    figure, axes = _figure(columns=2 if published else 1, width=5.2, height=4.0)
    figures.draw_curve(figures.curve_info(runs, metaparameter), axes[0])
    if published:
        figures.draw_curve(figures.paper_curve_info(metaparameter), axes[1], color=figures.ORANGE)
    return figure


def bypass(runs: pd.DataFrame) -> Figure:
    """The kinds of bypass compared; in a panel of its own the paper's table 3."""
    figure, axes = _figure(columns=2, width=4.6, height=3.6)
    figures.draw_bypass(figures.bypass_info(runs), axes[0])
    figures.draw_bypass(figures.paper_bypass_info(), axes[1])
    return figure


def pareto(
    runs: pd.DataFrame,
    by: Sequence[str],
    group: str,
    cost: figures.Cost = figures.SIZE,
    judged_by: str = "top1",
) -> Figure:
    """Accuracy of all networks of one data set over their cost, with the front of the accuracy they are judged by."""
    figure, (ax,) = _figure(columns=1, width=6.5, height=4.2)
    figures.draw_pareto(figures.pareto_info(runs, by, group, cost, judged_by), ax, group)
    return figure


def networks(runs: pd.DataFrame) -> Figure:
    """All networks of one data set and the front, apart by their bypass, or by family where some can have none."""
    group = "bypass" if runs.get("bypass", pd.Series(dtype=object)).notna().all() else "family"
    return pareto(runs, tables.network_columns(runs), group)


def file_size(runs: pd.DataFrame, along: Sequence[str]) -> Figure:
    """Size of the file versus accuracy of the compressed networks of a sweep."""
    figure, (ax,) = _figure(columns=1, width=8.5, height=4.2)
    compression.draw_size(compression.size_info(runs, along), ax)
    return figure


def hypervolume(runs: pd.DataFrame, cost: figures.Cost) -> Figure:
    """How a search came along."""
    figure, (ax,) = _figure(columns=1, width=5.2, height=3.6)
    search.draw_hypervolume(search.hypervolume_info(runs, cost), ax)
    return figure


def importance(runs: pd.DataFrame, columns: Sequence[str]) -> Figure | None:
    """Which metaparameters matter; None if there are too few finished runs."""
    info = search.importance_info(runs, columns)
    if info is None:
        return None
    figure, (ax,) = _figure(columns=1, width=5.6, height=1.4 + 0.3 * len(info.names))
    search.draw_importance(info, ax)
    return figure


def parallel(runs: pd.DataFrame, columns: Sequence[str], cost: figures.Cost) -> Figure | None:
    """The finished runs along the columns; None if these are not two."""
    info = search.parallel_info(runs, columns, cost)
    if len(info.axes) < 2:
        return None
    figure, (ax,) = _figure(columns=1, width=2.5 + 1.3 * len(info.axes), height=4.2)
    search.draw_parallel(info, ax)
    return figure


def distribution(runs: pd.DataFrame, group: str) -> Figure | None:
    """Sub-spaces compared at matched size; None if there are not two with sizes in common."""
    info = search.distribution_info(runs, group)
    if info is None:
        return None
    figure, (ax,) = _figure(columns=1, width=5.6, height=3.8)
    search.draw_distribution(info, ax)
    return figure


def training(labels: dict[str, str], curves: dict[str, pd.DataFrame]) -> Figure:
    """Validation accuracy and training loss of runs over epochs."""
    figure, axes = _figure(columns=2, width=4.8, height=3.6)
    figures.draw_training(figures.training_info(labels, curves), *axes)
    return figure


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write <name>.png and <name>.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def _figure(columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])
