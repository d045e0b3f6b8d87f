"""The report's sections: what is said and shown of sweeps, searches, the paper's tables, all networks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis import compression, costs, tables
from analysis.figures import bypass, curve, distribution, file_size, hypervolume, importance, parallel, pareto, training
from analysis.results import Results
from sweep.manifests import Sweep

# Experiments in the order of the paper. Others follow by name.
TITLES = {
    "sr": "Squeeze ratio",
    "pct_3x3": "Percentage of 3x3 filters",
    "bypass": "Bypass",
    "results": "SqueezeNet compressed",
    "results_alexnet": "AlexNet compressed",
    "deep_compression": "Deep Compression: density and bits",
    "entropy": "Entropy-coded networks: the price of a bit",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure with its file's name and a text for those who do not see it."""

    name: str
    text: str
    figure: Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A part of the report: figures, tables with their files' names, and notes below the tables."""

    title: str
    figures: tuple[Shown, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    notes: tuple[str, ...] = ()


def of(results: Results) -> Iterator[Section]:
    """All sections, one after the other: figures need much memory."""
    for part in SECTIONS:
        yield from part(results)


def of_sweeps(results: Results) -> Iterator[Section]:
    """A section for each sweep or search with a finished run: the paper's experiments first, then others by name."""
    known = list(TITLES)

    def place(sweep: Sweep) -> tuple[int, str]:
        return (known.index(sweep.experiment) if sweep.experiment in known else len(known), sweep.name)

    for sweep in sorted(results.sweeps, key=place):
        runs = results.of(sweep)
        if (runs["status"] == "finished").any():
            yield _sweep(results, runs, sweep) if sweep.search is None else _search(runs, sweep)


def _sweep(results: Results, runs: pd.DataFrame, sweep: Sweep) -> Section:
    along = tables.along(runs, sweep)
    finished = int((runs["status"] == "finished").sum())
    figures = figures_of(runs, along, sweep.name)
    curves = training.figure(tables.labels(runs, along or ["seed"]), results.curves)
    if curves is not None:
        figures.append(Shown(name=f"{sweep.name}-training", text="Training curves", figure=curves))
    note = (
        f"Sweep {sweep.name}: {finished} of {len(sweep.keys)} runs finished. "
        "Means over seeds have their 95 % interval (Student's t)."
    )
    return Section(
        title=title(sweep, along),
        figures=tuple(figures),
        tables=((sweep.name, compression.summary(runs, along)),),
        notes=_notes(note, tables.differences(runs)),
    )


def figures_of(runs: pd.DataFrame, along: Sequence[str], name: str) -> list[Shown]:
    """Accuracy of a sweep's finished runs along these columns: the figures that suit them, with files' names.

    None for a single network. Several for several data sets, whose accuracies have no front in common.
    """
    finished = runs[runs["status"] == "finished"]
    if not along or len(compression.summary(runs, along)) < 2:
        return []
    if (finished["compress"] != "none").any():
        return [Shown(name=name, text="Accuracy over the size of the file", figure=file_size.figure(runs, along))]
    if len(along) == 1 and pd.api.types.is_numeric_dtype(finished[along[0]]):
        text = f"Accuracy along {curve.NAMES.get(along[0], along[0])}"
        return [Shown(name=name, text=text, figure=curve.figure(runs, along[0]))]
    if list(along) == ["bypass"] and finished["bypass"].notna().all():
        return [Shown(name=name, text="Accuracy of the kinds of bypass", figure=bypass.figure(runs))]
    group = next((column for column in along if not column.startswith("data")), along[0])
    parts = tables.apart(finished, ("data",))
    return [
        Shown(
            name=_numbered(name, number, len(parts)),
            text="Accuracy over size",
            figure=pareto.figure(part, along, group),
        )
        for number, (_, part) in enumerate(parts, 1)
    ]


def title(sweep: Sweep, along: Sequence[str] = ()) -> str:
    """The experiment, or what is varied, and the overrides that tell the sweep from others of its kind."""
    experiment = sweep.experiment
    if experiment is None:
        experiment = along[0] if len(along) == 1 else ""
    head = TITLES.get(experiment, experiment)
    if sweep.search is not None:
        head = "Search" if head in ("", "search") else f"Search: {head}"
    return ": ".join(filter(None, (head, " ".join(sweep.overrides)))) or sweep.name


def _numbered(name: str, number: int, of: int) -> str:
    """The name of a figure or table that is one of several."""
    return name if of == 1 else f"{name}-{number}"


def _notes(*notes: str) -> tuple[str, ...]:
    return tuple(filter(None, notes))


def _search(runs: pd.DataFrame, sweep: Sweep) -> Section:
    """What a search found. Only runs that were trained to the end are compared."""
    runs, elsewhere = costs.with_comparable_latencies(runs)
    finished = runs[runs["status"] == "finished"]
    varied = [name for name in tables.columns_of(runs, sweep) if finished[name].nunique() > 1]
    settings = sweep.search or {}
    objectives = list(settings.get("objectives", ()))
    cost = costs.cost_of(objectives, finished)
    drawn = _search_figures(runs, varied or tables.columns_of(runs, sweep), cost)
    stopped = int((runs["status"] == "stopped").sum())
    best = finished[costs.front(finished, cost)].sort_values(cost.column)
    shown_costs = ("parameters", "size_mib", "macs", *(["latency_seconds"] if "latency" in objectives else []))
    note = (
        f"Search {sweep.name}: {len(runs)} networks tried, {len(finished)} trained to the end, {stopped} stopped "
        f"early, which are in no figure but as cost. Objectives: {', '.join(objectives)}; constraints: "
        f"{', '.join(settings.get('constraints', ())) or 'none'}. Networks were chosen on the validation set, and "
        "those marked and in the table are the ones that no other beats in validation top-1 and "
        f"{cost.name}, whatever else the objectives are. A search looks where it expects much: distributions over its "
        "networks are not those of the space, unless search.sampler=random and search.reduction=1."
    )
    if elsewhere and "latency" in objectives:
        note += (
            f" Latencies left out: {elsewhere}, taken on another machine or device or with another number of threads "
            "than the others."
        )
    return Section(
        title=title(sweep),
        figures=tuple(
            Shown(name=f"{sweep.name}-{name}", text=text, figure=figure)
            for name, text, figure in drawn
            if figure is not None
        ),
        tables=((sweep.name, best[[*varied, *shown_costs, "validation_top1", "top1", "key"]]),),
        notes=_notes(note, tables.differences(runs)),
    )


def _search_figures(
    runs: pd.DataFrame, varied: Sequence[str], cost: costs.Cost
) -> list[tuple[str, str, Figure | None]]:
    group = "bypass" if "bypass" in varied else next(iter(varied), None)
    drawn: list[tuple[str, str, Figure | None]] = [
        ("volume", "Hypervolume over cost", hypervolume.figure(runs, cost)),
        ("importance", "Importance of the metaparameters", importance.figure(runs, varied)),
        ("parallel", "Networks as lines along the axes", parallel.figure(runs, varied, cost)),
    ]
    if group is not None:
        front = pareto.figure(runs, ["key"], group, cost, "validation_top1")
        drawn.insert(0, ("front", "Accuracy over cost", front))
        drawn.append(("distribution", "Accuracy at matched size", distribution.figure(runs, group)))
    return drawn


def of_paper_tables(results: Results) -> Iterator[Section]:
    """Tables 2 and 3 of the paper with our networks: a section for each data set and recipe."""
    note = (
        "Bytes are of the file on disk, of the parameters for fp32; accuracies are of the decoded file. Intervals "
        "are of 95 % over seeds, drops paired with the fp32 network that was compressed."
    )
    parts = compression.paper_parts(results.runs, results.sweeps)
    for number, (name, runs) in enumerate(parts, 1):
        yield Section(
            title=f"The paper's tables 2 and 3, and ours: {name}",
            tables=((_numbered("table_2", number, len(parts)), compression.table_2(runs)),),
            notes=_notes(note, tables.differences(runs)),
        )


def of_networks(results: Results) -> Iterator[Section]:
    """For each data set all networks without compression, the Pareto front, and the table of all their runs."""
    runs = results.runs[(results.runs["compress"] == "none") & (results.runs["status"] == "finished")]
    for data, of_name in runs.groupby("data"):
        parts = tables.apart(of_name, ("data.",))
        for number, (setting, part) in enumerate(parts, 1):
            name = ", ".join(filter(None, (tables.data_of(part), setting)))
            figure = _numbered(f"pareto-{data}", number, len(parts))
            text = "All networks and the Pareto front"
            yield Section(
                title=f"All networks: {name}",
                figures=(Shown(name=figure, text=text, figure=pareto.networks(part)),),
                tables=((_numbered(f"runs-{data}", number, len(parts)), tables.networks(part)),),
                notes=_notes(tables.differences(part)),
            )


def of_warnings(results: Results) -> Iterator[Section]:
    """The finished runs whose accuracy may mislead, or that left out images, and why."""
    finished = results.runs[results.runs["status"] == "finished"]
    columns = ["warning", "images_skipped", "left_out"]
    warned = finished[finished["warning"].notna() | (finished["images_skipped"] > 0) | finished["left_out"].notna()]
    if len(warned):
        frame = warned[["key", *(name for name in columns if warned[name].notna().any())]]
        note = "images_skipped could not be read; left_out is what else the image folder held."
        yield Section(title="Warnings", tables=(("warnings", frame),), notes=_notes(note))


def of_failed(results: Results) -> Iterator[Section]:
    """The runs that failed, and why."""
    failed = results.runs[results.runs["status"] == "failed"]
    if len(failed):
        yield Section(title="Failed runs", tables=(("failed", failed[["key", "error", "host", "end"]]),))


def of_unreadable(results: Results) -> Iterator[Section]:
    """The files that cannot be read, and why."""
    if results.unreadable:
        note = "Damaged, or of another version of this program: they are in no figure and no other table."
        rows = [(str(damage.path), damage.reason) for damage in results.unreadable]
        frame = pd.DataFrame(rows, columns=["file", "reason"])
        yield Section(title="Files that cannot be read", tables=(("unreadable", frame),), notes=(note,))


SECTIONS: tuple[Callable[[Results], Iterator[Section]], ...] = (
    of_sweeps,
    of_paper_tables,
    of_networks,
    of_warnings,
    of_failed,
    of_unreadable,
)
