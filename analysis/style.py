"""The one style of all figures: colours, axes, files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision can distinguish.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)

MOST_NAMES = 100  # in a legend
AROUND_AXES = 1.0  # inches that titles and labels take above and below

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
    "svg.fonttype": "none",  # letters stay text: half the size, and a reader can search them
    "text.parse_math": False,  # texts come from results: a dollar sign is no formula
    "figure.dpi": 110,
    "savefig.dpi": 160,
}


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, which are to be made, and shown or saved, within it; nothing is changed outside."""
    with mpl.rc_context(STYLE):
        yield


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write <name>.png and <name>.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


def panels(columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side, each of this size in inches."""
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def make_room(figure: Figure, ax: Axes) -> None:
    """Make the figure wider by the legend beside the axes, and as high, if there is one: else it leaves them no room.

    A legend of more than MOST_NAMES is left out.
    """
    legend = ax.get_legend()
    if legend is not None and len(legend.get_texts()) > MOST_NAMES:
        legend.remove()
    elif legend is not None:
        extent = legend.get_window_extent(FigureCanvasAgg(figure).get_renderer())  # type: ignore[no-untyped-call]
        figure.set_figwidth(figure.get_figwidth() + extent.width / figure.dpi)
        figure.set_figheight(max(figure.get_figheight(), extent.height / figure.dpi + AROUND_AXES))


def log_axis(ax: Axes, sizes: Sequence[float]) -> None:
    """A logarithmic horizontal axis with plain numbers around these sizes."""
    smallest, largest = np.nanmin(sizes), np.nanmax(sizes)
    mantissas: Sequence[float] = (1, 2, 5) if largest > 5 * smallest else (1, 1.5, 2, 3, 4, 5, 7)
    if smallest < largest <= 1.6 * smallest:
        mantissas = (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)
    every = [mantissa * 10.0**power for power in range(-4, 8) for mantissa in mantissas]
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set_xticks([tick for tick in every if smallest / 2 < tick < largest * 2])
    if smallest == largest:  # around one size matplotlib would show two decades, with numbers on a part of them
        ax.set_xlim(smallest / 2, largest * 2)


def set_accuracy_limits(ax: Axes, percentages: Sequence[float]) -> None:
    """Leave room above and below the accuracies, and zoom into no less than a percentage point. NaN is left out."""
    ends = [value for value in percentages if np.isfinite(value)]
    lowest, highest = min(ends), max(ends)
    pad = max(0.15 * (highest - lowest), (1 - (highest - lowest)) / 2, 0.1)
    ax.set_ylim(max(lowest - pad, 0), min(highest + pad, 100.5))  # an interval of few seeds may reach beyond 100 %
