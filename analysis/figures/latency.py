"""Accuracy over latency, with the Pareto front."""

from dataclasses import replace

from matplotlib.figure import Figure

from analysis import costs, tables
from analysis.axes import LATENCY
from analysis.figures import pareto
from analysis.view import View


def info(view: View) -> pareto.Info | None:
    """The networks whose latency in milliseconds was measured on one machine, means over seeds.

    None if these are fewer than two, or if all figures have the same axis: then other figures show what this one would.
    """
    finished = view.finished[view.finished["compress"] == "none"]  # compressed networks are never timed
    networks = pareto.info(replace(view, runs=finished, cost=LATENCY)) if view.cost is None else None
    if networks is None or len(networks.cost) < 2:
        return None
    timed, _ = costs.known(finished, None, LATENCY)
    groups = tables.over_seeds(timed, view.by)
    return networks._replace(title=f"{networks.title}, {tables.seeds(groups['n'])}")


def figure(view: View) -> Figure | None:
    """Accuracy over latency; None unless two networks were timed on one machine."""
    shown = info(view)
    return None if shown is None else pareto.figure_of(shown)
