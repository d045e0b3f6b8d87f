"""The report's sections, and the lists of their figures: sweeps, searches, the paper's tables, all networks, maps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis import claims, compression, costs, duel, maps, smallest, tables
from analysis.axes import CostAxis
from analysis.figures import (
    bypass,
    curve,
    distribution,
    file_size,
    hypervolume,
    importance,
    latency,
    parallel,
    pareto,
    training,
)
from analysis.results import Results
from analysis.section import Section, Shown, notes_of
from analysis.view import View
from sweep.manifests import Sweep


class Kind(NamedTuple):
    """A kind of figure: a text for those who do not see it, its function, and the end of its file's name.

    apart: whether each data set has a figure of its own.
    """

    text: str
    figure: Callable[[View], Figure | None]
    ending: str = ""
    apart: bool = False


# The figures of each section. Of those with the same ending the first that suits is shown.
TRAINING = Kind("Training curves", training.figure, "training")
OF_SWEEPS = (
    Kind("Accuracy of compressed networks", file_size.figure),
    Kind("Accuracy along one setting", curve.figure),
    Kind("Accuracy of the kinds of bypass", bypass.figure),
    Kind("Accuracy over cost", pareto.figure, apart=True),
    Kind("Accuracy over latency", latency.figure, "latency", apart=True),
    TRAINING,
)
OF_SEARCHES = (
    Kind("Accuracy over cost", pareto.figure, "front"),
    Kind("Hypervolume over cost", hypervolume.figure, "volume"),
    Kind("Importance of the metaparameters", importance.figure, "importance"),
    Kind("Networks as lines along the axes", parallel.figure, "parallel"),
    Kind("Accuracy at matched size", distribution.figure, "distribution"),
)
OF_NETWORKS = (
    Kind("All networks and the Pareto front", pareto.figure),
    Kind("All networks: accuracy over latency", latency.figure, "latency"),
)

# Experiments in the order of the paper. Others follow by name.
TITLES = {
    "sr": "Squeeze ratio",
    "pct_3x3": "Percentage of 3x3 filters",
    "bypass": "Bypass",
    "results": "SqueezeNet compressed",
    "results_alexnet": "AlexNet compressed",
    "deep_compression": "Deep Compression: density and bits",
    "entropy": "Entropy-coded networks: the price of a bit",
    "duel": "A SqueezeNet against ResNet8",
}


def of(results: Results, x: CostAxis | None = None) -> Iterator[Section]:
    """All sections, one after the other: figures need much memory. x: the axis of all figures over a cost."""
    yield from of_sweeps(results, x)
    yield from of_paper_tables(results)
    yield from smallest.of(results)
    yield from claims.of(results)
    yield from of_duels(results)
    yield from of_networks(results, x)
    yield from maps.of(results)
    yield from of_warnings(results)
    yield from of_failed(results)
    yield from of_unreadable(results)


def of_sweeps(results: Results, x: CostAxis | None = None) -> Iterator[Section]:
    """A section for each sweep or search with a finished run: the paper's experiments first, then others by name."""
    known = list(TITLES)

    def place(sweep: Sweep) -> tuple[int, str]:
        return (known.index(sweep.experiment) if sweep.experiment in known else len(known), sweep.name)

    for sweep in sorted(results.sweeps, key=place):
        runs = results.of(sweep)
        if (runs["status"] == "finished").any():
            yield _sweep(results, runs, sweep, x) if sweep.search is None else _search(runs, sweep, x)


def _sweep(results: Results, runs: pd.DataFrame, sweep: Sweep, x: CostAxis | None) -> Section:
    view = view_of(results, sweep, x)
    finished = int((runs["status"] == "finished").sum())
    note = (
        f"Sweep {sweep.name}: {finished} of {len(sweep.keys)} runs finished. "
        "Means over seeds have their 95 % interval (Student's t)."
    )
    return Section(
        title=title(sweep, view.along),
        figures=tuple(figures_of_sweep(view, sweep.name)),
        tables=((sweep.name, compression.summary(view)),),
        notes=notes_of(note, without(x, runs), tables.differences(runs)),
    )


def without(x: CostAxis | None, runs: pd.DataFrame) -> str:
    """A sentence that none of the runs has the cost of the axis; empty if one has, or without an axis."""
    if x is None or costs.unless_unknown(x, runs) is not None:
        return ""
    name, _, _ = x.name.rpartition(", ")
    return f"None of these runs has a {name}: their figures keep axes of their own."


def view_of(results: Results, sweep: Sweep, x: CostAxis | None = None) -> View:
    """The runs of a sweep, compared along the columns that it varies. x: a cost, unless none of them has it."""
    runs = results.of(sweep)
    along = tables.along(runs, sweep)
    few = [column for column in along if runs[column].nunique() <= pareto.MOST_LOOKS]
    group = next((column for column in few if not tables.is_of(column, ("data",))), few[0] if few else None)
    cost = costs.unless_unknown(x, runs)
    return View(runs=runs, along=along, group=group, cost=cost, curves=results.curves)


def figures_of_sweep(view: View, name: str) -> Iterator[Shown]:
    """The figures of a sweep that suit what it varies; only training curves where there are not two networks."""
    several = view.along and len(compression.summary(view)) > 1
    return figures_of(view, OF_SWEEPS if several else (TRAINING,), name)


def figures_of(view: View, kinds: Iterable[Kind], name: str) -> Iterator[Shown]:
    """The figures of these kinds that suit the view; their files' names begin with `name`."""
    endings = set()
    for kind in kinds:
        if kind.ending in endings:
            continue
        views = view.of_each_data_set() if kind.apart else [view]
        for number, part in enumerate(views, 1):
            drawn = kind.figure(part)
            if drawn is not None:
                endings.add(kind.ending)
                words = (_numbered(name, number, len(views)), kind.ending)
                yield Shown(name="-".join(filter(None, words)), text=kind.text, figure=drawn)


def title(sweep: Sweep, along: Sequence[str] = ()) -> str:
    """The experiment, or the setting that is varied, and the overrides of this sweep."""
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


def _search(runs: pd.DataFrame, sweep: Sweep, x: CostAxis | None) -> Section:
    """The networks that a search found. Only runs that were trained to the end are compared."""
    columns = tables.columns_of(runs, sweep)
    finished = runs[runs["status"] == "finished"]
    varied = [name for name in columns if finished[name].nunique() > 1]
    settings = sweep.search or {}
    objectives = list(settings.get("objectives", ()))
    cost = costs.unless_unknown(x, runs) or costs.axis_of(objectives, finished)
    along = tuple(varied or columns)
    group = "bypass" if "bypass" in along else next(iter(along), None)
    judged_by = "int8_validation_top1" if cost.top1 == "int8_top1" else "validation_top1"
    judged = runs[(runs["status"] != "finished") | runs[judged_by].notna()]  # an old run may have no int8 file
    view = View(runs=judged, along=along, group=group, cost=cost, judged_by=judged_by)
    comparable, elsewhere = costs.with_comparable_latencies(finished)
    comparable, _ = costs.with_comparable_latencies(comparable, cost)
    on_front = costs.front(comparable[cost.column], comparable[judged_by])
    best = comparable[on_front].sort_values(cost.column)
    timed = ["latency_seconds"] if "latency" in objectives else []
    shown_costs = dict.fromkeys(("parameters", "size_mib", "macs", *timed, cost.column))
    shown_top1 = dict.fromkeys((judged_by, "validation_top1", cost.top1, "top1"))
    stopped, failed = (int((runs["status"] == status).sum()) for status in ("stopped", "failed"))
    note = (
        f"Search {sweep.name}: {len(runs)} networks tried, {len(finished)} trained to the end, {stopped} stopped early "
        f"(these count as cost alone){f', {failed} failed' if failed else ''}. Objectives: {', '.join(objectives)}; "
        f"constraints: {', '.join(settings.get('constraints', ())) or 'none'}. "
        "Networks were chosen on the validation set. Those "
        f"marked and in the table are the ones that no other beats in {view.metric} and {cost.name}, whatever the "
        "other objectives are. A search samples good networks more often: distributions over its networks are those of "
        "the space only with search.sampler=random and search.reduction=1."
    )
    if elsewhere and "latency" in objectives:
        note += (
            f" Latencies left out: {elsewhere}, measured on another machine or device, or with another number of "
            "threads, than the others."
        )
    return Section(
        title=title(sweep),
        figures=tuple(figures_of(view, OF_SEARCHES, sweep.name)),
        tables=((sweep.name, best[[*varied, *shown_costs, *shown_top1, "key"]]),),
        notes=notes_of(note, without(x, runs), tables.differences(runs)),
    )


def of_paper_tables(results: Results) -> Iterator[Section]:
    """Tables 2 and 3 of the paper with our networks: a section for each data set and recipe."""
    note = (
        "Bytes: the size of the file, or of the parameters in fp32. Accuracies are those of the decoded file, with "
        "95 % intervals over seeds. A drop compares a network with the fp32 network that was compressed."
    )
    parts = compression.paper_parts(results.runs, results.sweeps)
    for number, (name, runs) in enumerate(parts, 1):
        yield Section(
            title=f"The paper's tables 2 and 3, and ours: {name}",
            tables=((_numbered("table_2", number, len(parts)), compression.table_2(runs)),),
            notes=notes_of(note, tables.differences(runs)),
        )


def of_duels(results: Results) -> Iterator[Section]:
    """The networks of the experiment beside ResNet8: a section for each data set and recipe."""
    keys = {key for sweep in results.sweeps if sweep.experiment == duel.EXPERIMENT for key in sweep.keys}
    parts = tables.apart(results.runs[results.runs["key"].isin(keys)], ("data", "train"))
    for number, (setting, runs) in enumerate(parts, 1):
        if len(found := duel.table(runs)):
            yield Section(
                title=f"In int8 against ResNet8: {tables.data_of(runs)}, {setting or tables.epochs_of(runs)}",
                tables=((_numbered("duel-int8", number, len(parts)), found),),
                notes=notes_of(duel.NOTE, tables.differences(runs)),
            )


def of_networks(results: Results, x: CostAxis | None = None) -> Iterator[Section]:
    """For each data set all networks without compression, their Pareto fronts, and the table of their runs."""
    runs = results.runs[(results.runs["compress"] == "none") & (results.runs["status"] == "finished")]
    for data, of_name in runs.groupby("data"):
        parts = tables.apart(of_name, ("data",))
        for number, (setting, part) in enumerate(parts, 1):
            name = ", ".join(filter(None, (tables.data_of(part), setting)))
            group = "bypass" if "bypass" in part and part["bypass"].notna().all() else "family"
            cost = costs.unless_unknown(x, part)
            view = View(runs=part, along=tables.network_columns(part), group=group, cost=cost)
            figures = figures_of(view, OF_NETWORKS, _numbered(f"pareto-{data}", number, len(parts)))
            yield Section(
                title=f"All networks: {name}",
                figures=tuple(figures),
                tables=((_numbered(f"runs-{data}", number, len(parts)), tables.networks(part)),),
                notes=notes_of(without(x, part), tables.differences(part)),
            )


def of_warnings(results: Results) -> Iterator[Section]:
    """The finished runs whose accuracy may mislead or that left out images, with the reasons."""
    finished = results.runs[results.runs["status"] == "finished"]
    columns = ["warning", "images_skipped", "left_out"]
    warned = finished[finished["warning"].notna() | (finished["images_skipped"] > 0) | finished["left_out"].notna()]
    if len(warned):
        frame = warned[["key", *(name for name in columns if warned[name].notna().any())]]
        note = "images_skipped: images that could not be read. left_out: other files in the image folder."
        yield Section(title="Warnings", tables=(("warnings", frame),), notes=notes_of(note))


def of_failed(results: Results) -> Iterator[Section]:
    """The runs that failed, and why."""
    failed = results.runs[results.runs["status"] == "failed"]
    if len(failed):
        yield Section(title="Failed runs", tables=(("failed", failed[["key", "error", "host", "end"]]),))


def of_unreadable(results: Results) -> Iterator[Section]:
    """The files that cannot be read, and why."""
    if results.unreadable:
        note = "Damaged, or written by another version of this program. No figure and no other table includes them."
        rows = [(str(damage.path), damage.reason) for damage in results.unreadable]
        frame = pd.DataFrame(rows, columns=["file", "reason"])
        yield Section(title="Files that cannot be read", tables=(("unreadable", frame),), notes=(note,))
