"""The progress of a search: hypervolume over cost."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import costs
from analysis.axes import SIZE
from analysis.style import BLUE, panels
from analysis.view import View
from fire.stats import hypervolume


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


def info(view: View) -> Info:
    """The runs of a search in the order in which they ended; those stopped early cost the epochs that they trained."""
    axis = view.cost or SIZE
    runs, _ = costs.with_comparable_latencies(view.runs, axis)
    runs = runs.sort_values(["end", "key"], kind="stable")
    finished = ((runs["status"] == "finished") & runs[axis.column].notna()).to_numpy()
    size = np.log10(runs[axis.column].to_numpy(np.float64))
    quality = runs[view.judged_by].to_numpy(np.float64)
    cost = np.cumsum(runs["epochs"].fillna(0).to_numpy(np.float64) * runs["macs"].to_numpy(np.float64)) / 1e9
    reference = (
        float(size[finished].max() + (np.ptp(size[finished]) / 10 or 1)),
        float(quality[finished].min() - (np.ptp(quality[finished]) / 10 or 1)),
    )
    volumes = [
        hypervolume(size[: n + 1][finished[: n + 1]], quality[: n + 1][finished[: n + 1]], reference)
        for n in range(len(runs))
    ]
    return Info(
        cost=tuple(cost),
        volume=tuple(volume / volumes[-1] for volume in volumes),
        finished=int(finished.sum()),
        stopped=int((runs["status"] == "stopped").sum()),
    )


def draw(info: Info, ax: Axes) -> None:
    """Draw a staircase that rises to 1."""
    ax.step((0, *info.cost), (0, *info.volume), where="post", color=BLUE, linewidth=1.8)
    ax.set_ylim(0, 1.05)
    ax.set_xlim(0, None)
    ax.set_xlabel("cost: epochs x GMACs an image")
    ax.set_ylabel("hypervolume, of the final one")
    ax.set_title(f"{info.finished} runs to the end, {info.stopped} stopped early")


def figure(view: View) -> Figure:
    """The hypervolume of a search's runs over their cost of training."""
    whole, (ax,) = panels(columns=1, width=5.2, height=3.6)
    draw(info(view), ax)
    return whole
