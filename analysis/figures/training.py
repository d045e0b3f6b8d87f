"""Training curves: validation accuracy and training loss over epochs."""

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import tables
from analysis.style import make_room, panels
from analysis.view import View


class Info(NamedTuple):
    """For each run its label, epochs, validation top-1 in percent, and training loss in nats."""

    labels: tuple[str, ...]
    epochs: tuple[tuple[int, ...], ...]
    validation_top1: tuple[tuple[float, ...], ...]
    train_loss: tuple[tuple[float, ...], ...]


def info(view: View) -> Info | None:
    """The training curves of the finished runs that have one, in their order; None if none has."""
    labels, curves = tables.labels(view.runs, list(view.along) or ["seed"]), view.curves
    shown = [key for key in labels if key in curves]
    if not shown:
        return None
    return Info(
        labels=tuple(labels[key] for key in shown),
        epochs=tuple(tuple(row.epoch for row in curves[key]) for key in shown),
        validation_top1=tuple(tuple(100 * row.validation_top1 for row in curves[key]) for key in shown),
        train_loss=tuple(tuple(row.train_loss for row in curves[key]) for key in shown),
    )


def draw(info: Info, accuracy_ax: Axes, loss_ax: Axes) -> None:
    """Validation accuracy and training loss over epochs; labels from dark to light, one colour for all their runs."""
    names = list(dict.fromkeys(info.labels))
    colors = mpl.colormaps["viridis"](np.linspace(0, 0.9, max(len(names), 2)))
    for label, epochs, top1, loss in zip(info.labels, info.epochs, info.validation_top1, info.train_loss, strict=True):
        color = colors[names.index(label)]
        accuracy_ax.plot(epochs, top1, color=color, marker=".", linewidth=1.2)
        loss_ax.plot(epochs, loss, color=color, marker=".", linewidth=1.2)
    for name, color in zip(names, colors, strict=False):
        loss_ax.plot([], [], color=color, marker=".", label=name)
    for ax, name in ((accuracy_ax, "validation top-1 accuracy, %"), (loss_ax, "training loss, nats")):
        ax.set_xlabel("epoch")
        ax.set_ylabel(name)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    loss_ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)


def figure(view: View) -> Figure | None:
    """Validation accuracy and training loss of runs over epochs; None if none of them has a curve."""
    shown = info(view)
    if shown is None:
        return None
    whole, axes = panels(columns=2, width=4.1, height=3.6)
    draw(shown, *axes)
    make_room(whole, axes[1])
    return whole
