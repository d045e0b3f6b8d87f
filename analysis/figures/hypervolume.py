"""The progress of a search: hypervolume over cost."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import costs
from analysis.axes import SIZE
from analysis.style import BLUE, panels
from analysis.view import View
from fire.stats import hypervolume

Floats = NDArray[np.float64]


class Info(NamedTuple):
    """After each run of a search: the cost so far in epochs x GMACs an image, and the hypervolume, 1 in the end.

    The hypervolume is the area that finished runs dominate, over the logarithm of their cost. It is bounded a tenth of
    their range beyond the most costly and below the worst, so that these count, too. A run that was stopped and resumed
    counts once, at its last end, with all of its epochs; failed runs count as free, because no record says how far they
    trained.
    """

    cost: tuple[float, ...]
    volume: tuple[float, ...]
    finished: int
    stopped: int


def info(view: View) -> Info | None:
    """The runs of a search in the order in which they ended; those stopped early cost the epochs that they trained.

    None if no finished run has both the cost and the accuracy that networks were chosen by.
    """
    axis = view.cost or SIZE
    runs, _ = costs.with_comparable_latencies(view.runs, axis)
    runs = runs.sort_values(["end", "key"], kind="stable")
    known = runs[[axis.column, view.judged_by]].notna().all(axis=1)
    finished = ((runs["status"] == "finished") & known).to_numpy()
    if not finished.any():
        return None
    size = np.log10(runs[axis.column].to_numpy(np.float64))
    quality = runs[view.judged_by].to_numpy(np.float64)
    cost = np.cumsum(runs["epochs"].fillna(0).to_numpy(np.float64) * runs["macs"].to_numpy(np.float64)) / 1e9
    reference = (
        float(size[finished].max() + (np.ptp(size[finished]) / 10 or 1)),
        float(quality[finished].min() - (np.ptp(quality[finished]) / 10 or 1)),
    )
    volumes = _volumes(np.where(finished, size, np.nan), quality, reference)
    return Info(
        cost=tuple(cost),
        volume=tuple(volume / volumes[-1] for volume in volumes),
        finished=int(finished.sum()),
        stopped=int((runs["status"] == "stopped").sum()),
    )


def _volumes(sizes: Floats, qualities: Floats, reference: tuple[float, float]) -> list[float]:
    """The hypervolume after each run; one whose size is NaN adds none.

    Of equally large runs an earlier, worse one stays on the front, so that the area is the sum of the same strips,
    to the last bit, as over all runs.
    """
    front, volume, volumes = np.empty((0, 2)), 0.0, []
    for size, quality in zip(sizes, qualities, strict=True):
        no_larger, no_worse = front[:, 0] <= size, front[:, 1] >= quality
        if not np.isnan(size) and not (no_larger & no_worse).any():
            front = np.vstack([front[no_larger | (front[:, 1] > quality)], (size, quality)])
            volume = hypervolume(front[:, 0], front[:, 1], reference)
        volumes.append(volume)
    return volumes


def draw(info: Info, ax: Axes) -> None:
    """Draw a staircase that rises to 1."""
    ax.step((0, *info.cost), (0, *info.volume), where="post", color=BLUE, linewidth=1.8)
    ax.set_ylim(0, 1.05)
    ax.set_xlim(0, None)
    ax.set_xlabel("cost: epochs x GMACs an image")
    ax.set_ylabel("hypervolume, of the final one")
    ax.set_title(f"{info.finished} runs to the end, {info.stopped} stopped early")


def figure(view: View) -> Figure | None:
    """The hypervolume of a search's runs over their cost of training; None if no finished run can be judged."""
    shown = info(view)
    if shown is None:
        return None
    whole, (ax,) = panels(columns=1, width=5.2, height=3.6)
    draw(shown, ax)
    return whole
