"""Figures in two steps: xxx_info computes what is shown, draw_xxx draws it on axes. Tests compare the former."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import paper
from analysis.stats import pareto_front
from analysis.tables import over_seeds
from fire.cost import MIB

# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
NAMES = {"sr": "squeeze ratio (SR)", "pct_3x3": "percentage of 3x3 filters", "bypass": "bypass"}
DATA_NAMES = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "digits",
    "image_folder": "image folder",
}


class CurveInfo(NamedTuple):
    """Accuracy over size along one metaparameter, in the order of sizes. Accuracies in percent; no interval is NaN."""

    title: str
    metaparameter: str
    metric: str
    values: tuple[float, ...]
    size_mib: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int


def curve_info(runs: pd.DataFrame, metaparameter: str) -> CurveInfo:
    """Test accuracy of a sweep's finished runs over fp32 size, with the mean over seeds and its 95 % interval."""
    groups = over_seeds(runs, [metaparameter])
    seeds = int(groups["n"].max()) if len(groups) else 0
    return CurveInfo(
        title=f"{setting_name(runs)}, {_count(seeds, 'seed')}",
        metaparameter=metaparameter,
        metric="test top-1",
        values=tuple(groups[metaparameter].astype(float)),
        size_mib=tuple(groups["size_mib"]),
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
        seeds=seeds,
    )


def paper_curve_info(metaparameter: str) -> CurveInfo:
    """The same of the paper's figure 3."""
    points = paper.FIGURE_3[metaparameter]
    none = (float("nan"),) * len(points)
    return CurveInfo(
        title="ImageNet, as published (figure 3)",
        metaparameter=metaparameter,
        metric="top-5",
        values=tuple(point.value for point in points),
        size_mib=tuple(point.size_mib for point in points),
        accuracy=tuple(100 * point.top5 for point in points),
        low=none,
        high=none,
        seeds=0,
    )


def draw_curve(info: CurveInfo, ax: Axes, color: str = BLUE) -> None:
    """Accuracy over size, the metaparameter's values along the top, as in the paper's figure 3."""
    accuracy = np.array(info.accuracy)
    spread = np.array([accuracy - info.low, info.high - accuracy])
    if np.isfinite(spread).any():
        ax.errorbar(
            info.size_mib, accuracy, yerr=np.nan_to_num(spread), fmt="none", ecolor=color, elinewidth=1.2, capsize=3
        )
    ax.plot(info.size_mib, accuracy, marker="o", color=color, linewidth=1.8, markersize=6)
    ax.set_xlabel("size of the fp32 parameters, MiB")
    ax.set_ylabel(f"{info.metric} accuracy, %")
    ax.set_title(info.title)
    ax.set_xlim(0, max(info.size_mib) * 1.07)
    _room(ax, info)
    top = ax.secondary_xaxis("top")
    top.set_xticks(info.size_mib, [_value(info.metaparameter, value) for value in info.values])
    top.set_xlabel(NAMES.get(info.metaparameter, info.metaparameter))
    for size in info.size_mib:
        ax.axvline(size, color="#eeeeee", linewidth=0.8, zorder=0)
    ax.grid(visible=False, axis="x")


class BypassInfo(NamedTuple):
    """Accuracy of each kind of bypass, in percent, with the size in MiB and the ends of the interval."""

    title: str
    metric: str
    kinds: tuple[str, ...]
    size_mib: tuple[float, ...]
    accuracy: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def bypass_info(runs: pd.DataFrame) -> BypassInfo:
    """Test accuracy of a sweep's finished runs for each kind of bypass there is, none first."""
    order = [row.bypass for row in paper.TABLE_3]
    groups = over_seeds(runs, ["bypass"]).sort_values("bypass", key=lambda kinds: kinds.map(order.index))
    seeds = int(groups["n"].max()) if len(groups) else 0
    return BypassInfo(
        title=f"{setting_name(runs)}, {_count(seeds, 'seed')}",
        metric="test top-1",
        kinds=tuple(groups["bypass"]),
        size_mib=tuple(groups["size_mib"]),
        accuracy=tuple(100 * groups["top1"]),
        low=tuple(100 * groups["top1_low"]),
        high=tuple(100 * groups["top1_high"]),
    )


def paper_bypass_info() -> BypassInfo:
    """The same of the paper's table 3; the complex bypass at the size of its weights, 6.06 MiB, not the printed 7.7."""
    parameters = {"none": 1_248_424, "simple": 1_248_424, "complex": 1_589_672}
    none = (float("nan"),) * len(paper.TABLE_3)
    return BypassInfo(
        title="ImageNet, as published (table 3)",
        metric="top-1",
        kinds=tuple(row.bypass for row in paper.TABLE_3),
        size_mib=tuple(4 * parameters[row.bypass] / MIB for row in paper.TABLE_3),
        accuracy=tuple(100 * row.top1 for row in paper.TABLE_3),
        low=none,
        high=none,
    )


def draw_bypass(info: BypassInfo, ax: Axes) -> None:
    """A point with its interval for each kind of bypass."""
    colors = dict(zip(("none", "simple", "complex"), CYCLE, strict=False))
    for place, kind in enumerate(info.kinds):
        accuracy = info.accuracy[place]
        if np.isfinite(info.low[place]):
            spread = [[accuracy - info.low[place]], [info.high[place] - accuracy]]
            ax.errorbar(place, accuracy, yerr=spread, color=colors[kind], capsize=4, elinewidth=1.4)
        ax.plot(place, accuracy, marker="o", markersize=8, color=colors[kind])
        ax.annotate(f"{accuracy:.2f}", (place, accuracy), xytext=(9, -3), textcoords="offset points", fontsize=9)
    ax.set_xticks(range(len(info.kinds)), [f"{k}\n{s:.2f} MiB" for k, s in zip(info.kinds, info.size_mib, strict=True)])
    ax.set_xlim(-0.5, len(info.kinds) - 0.5 + 0.15)
    ax.set_ylabel(f"{info.metric} accuracy, %")
    ax.set_title(info.title)
    _room(ax, info)
    ax.grid(visible=False, axis="x")


class Cost(NamedTuple):
    """What accuracy is shown over: a column, its name for people, and by what it is multiplied for them."""

    column: str
    name: str
    scale: float = 1.0


SIZE = Cost("size_mib", "size of the fp32 parameters, MiB")


class ParetoInfo(NamedTuple):
    """Networks of one data set, means over seeds: cost, test accuracy in percent, group, and which lie on the front."""

    title: str
    judged_by: str
    cost_name: str
    cost: tuple[float, ...]
    accuracy: tuple[float, ...]
    group: tuple[str, ...]
    front: tuple[bool, ...]


def pareto_info(
    runs: pd.DataFrame, by: Sequence[str], group: str = "bypass", cost: Cost = SIZE, judged_by: str = "top1"
) -> ParetoInfo:
    """All finished runs of one data set; runs that agree in the columns `by` are one network, trained with seeds.

    judged_by: the accuracy whose front it is; for networks that were chosen, that which they were chosen by.
    """
    columns = list(dict.fromkeys([*by, group]))
    means = {name: over_seeds(runs, columns, name) for name in ("top1", judged_by, cost.column)}
    groups = means["top1"]
    costs = cost.scale * means[cost.column][cost.column]
    return ParetoInfo(
        title=f"{_data_name(runs)}, {_count(len(groups), 'trained network')}, {_epochs(runs)}",
        judged_by=judged_by,
        cost_name=cost.name,
        cost=tuple(costs),
        accuracy=tuple(100 * groups["top1"]),
        group=tuple(str(value) for value in groups[group]),
        front=tuple(bool(is_best) for is_best in pareto_front(costs, means[judged_by][judged_by])),
    )


def draw_pareto(info: ParetoInfo, ax: Axes, group: str = "bypass") -> None:
    """All networks, and a staircase through those on the front."""
    size, accuracy, front = np.array(info.cost), np.array(info.accuracy), np.array(info.front)
    label = "Pareto front" if info.judged_by == "top1" else "front of validation accuracy"
    along = np.flatnonzero(front)[np.argsort(size[front], kind="stable")]
    ax.step(size[along], accuracy[along], where="post", color=GREY, linewidth=1.2, label=label, zorder=1)
    # Seven markers to six colours: 42 groups before two look alike.
    looks = zip(itertools.cycle(CYCLE), itertools.cycle("osD^vPX"), dict.fromkeys(info.group), strict=False)
    for color, marker, name in looks:
        chosen = np.array(info.group) == name
        ax.scatter(
            size[chosen],
            accuracy[chosen],
            color=[color if is_best else "white" for is_best in front[chosen]],
            edgecolors=color,
            marker=marker,
            s=42,
            zorder=2,
        )
        ax.scatter([], [], color=color, marker=marker, s=42, label=f"{group} {name}")
    log_axis(ax, info.cost)
    ax.set_xlabel(f"{info.cost_name} (log scale)")
    ax.set_ylabel("test top-1 accuracy, %")
    ax.set_title(info.title + "; filled: on the front")
    ax.legend(loc="best")


def log_axis(ax: Axes, sizes: Sequence[float]) -> None:
    """A logarithmic horizontal axis with plain numbers around these sizes."""
    smallest, largest = np.nanmin(sizes), np.nanmax(sizes)
    mantissas = (1, 2, 5) if largest > 5 * smallest else (1, 1.5, 2, 3, 4, 5, 7)
    every = [mantissa * 10.0**power for power in range(-4, 8) for mantissa in mantissas]
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set_xticks([tick for tick in every if smallest / 2 < tick < largest * 2])


class TrainingInfo(NamedTuple):
    """For each run its label, epochs, validation top-1 in percent, and training loss in nats."""

    labels: tuple[str, ...]
    epochs: tuple[tuple[int, ...], ...]
    validation_top1: tuple[tuple[float, ...], ...]
    train_loss: tuple[tuple[float, ...], ...]


def training_info(labels: dict[str, str], curves: dict[str, pd.DataFrame]) -> TrainingInfo:
    """The training curves of runs, by the labels of their keys, in the labels' order."""
    shown = [key for key in labels if key in curves]
    return TrainingInfo(
        labels=tuple(labels[key] for key in shown),
        epochs=tuple(tuple(int(epoch) for epoch in curves[key]["epoch"]) for key in shown),
        validation_top1=tuple(tuple(100 * curves[key]["validation_top1"]) for key in shown),
        train_loss=tuple(tuple(curves[key]["train_loss"]) for key in shown),
    )


def draw_training(info: TrainingInfo, accuracy_ax: Axes, loss_ax: Axes) -> None:
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
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    loss_ax.legend(bbox_to_anchor=(1.02, 1), loc="upper left", borderaxespad=0, fontsize=9)


def _room(ax: Axes, info: CurveInfo | BypassInfo) -> None:
    """Room above and below, and no zoom into less than a percentage point."""
    ends = [value for value in (*info.accuracy, *info.low, *info.high) if np.isfinite(value)]
    lowest, highest = min(ends), max(ends)
    pad = max(0.15 * (highest - lowest), (1 - (highest - lowest)) / 2, 0.1)
    ax.set_ylim(max(lowest - pad, 0), min(highest + pad, 100.5))  # an interval of few seeds may reach beyond 100 %


def _value(metaparameter: str, value: float) -> str:
    return f"{100 * value:g}" if metaparameter == "pct_3x3" else f"{value:g}"


def setting_name(runs: pd.DataFrame) -> str:
    """What the runs were trained on, and for how long."""
    return f"{_data_name(runs)}, {_epochs(runs)}"


def _data_name(runs: pd.DataFrame) -> str:
    names = [DATA_NAMES.get(name, name) for name in runs["data"].unique()]
    return ", ".join(names) if names else "no runs"


def _epochs(runs: pd.DataFrame) -> str:
    counts = sorted(runs["train.epochs"].unique())
    return f"{'/'.join(f'{count:g}' for count in counts)} epochs"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
