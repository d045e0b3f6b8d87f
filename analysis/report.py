"""The report: every figure and table of a store, and a page that shows them."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import compression, export, figures, layout, search, tables
from fire.errors import InputError
from sweep.store import Sweep

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }}
h2 {{ font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }}
img {{ max-width: 100%; height: auto; }} .scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }}
th, td {{ padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #e5e5e5; white-space: nowrap; }}
th {{ background: #f6f6f6; }} th:first-child, td:first-child {{ text-align: left; }}
.note {{ color: #666; font-size: 0.9rem; }} code {{ background: #f4f4f4; padding: 0 0.2rem; }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
<ul>{contents}</ul>
{sections}
</body></html>
"""
TITLES = {
    "sr": "Squeeze ratio",
    "pct_3x3": "Percentage of 3x3 filters",
    "bypass": "Bypass",
    "results": "SqueezeNet compressed",
    "results_alexnet": "AlexNet compressed",
    "deep_compression": "Deep Compression: density and bits",
    "entropy": "Entropy-coded networks: the price of a bit",
}
TABLE_2_SWEEPS = "results"  # what the names of sweeps begin with whose runs are those of the paper's tables 2 and 3


@dataclass(frozen=True)
class Section:
    """A part of the report: its figures (names, with what they show) and its tables, by name."""

    title: str
    figures: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, pd.DataFrame], ...]
    note: str = ""


def write(results_dir: Path, out: Path) -> Path:
    """Write all figures, tables and index.html into the folder `out`; the path of the page.

    Raises InputError if the results are no directory, hold no finished run, or `out` cannot be written.
    """
    runs = tables.load(results_dir)
    if not (runs["status"] == "finished").any():
        raise InputError(f"the results must hold a finished run, got none in {str(results_dir)!r}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with layout.style():
            sections = list(_sections(results_dir, runs, out))
        for section in sections:
            for name, frame in section.tables:
                export.write(frame, out / "tables", name)
        page = out / "index.html"
        page.write_text(_page(runs, sections))
    except OSError as error:
        raise InputError(f"the report must go to a writable directory, got {str(out)!r} ({error.strerror})") from error
    return page


def _sections(results_dir: Path, runs: pd.DataFrame, out: Path) -> Iterator[Section]:
    for sweep in sorted(tables.sweeps(results_dir), key=_place):
        part = tables.of_sweep(runs, sweep)
        if (part["status"] == "finished").any():
            section = _sweep_section if sweep.search is None else _search_section
            yield section(results_dir, part, sweep, out / "figures")
    yield from _paper_s_table(results_dir, runs)
    yield from _overview(runs[(runs["compress"] == "none") & (runs["status"] == "finished")], out / "figures")
    failed = runs[runs["status"] == "failed"]
    if len(failed):
        yield Section("Failed runs", (), (("failed", failed[["key", "error", "host", "end"]]),))
    unreadable = tables.unreadable(results_dir, runs)
    if len(unreadable):
        note = "Damaged, or of another version of this program; they are in no figure and no other table."
        yield Section("Records that cannot be read", (), (("unreadable", unreadable),), note)


def _sweep_section(results_dir: Path, runs: pd.DataFrame, sweep: Sweep, folder: Path) -> Section:
    columns = tables.columns_of(runs, sweep)
    compressed = (runs["compress"] != "none").any()
    finished = int((runs["status"] == "finished").sum())
    along = [name for name in columns if name != "seed"] or (["compress"] if compressed else [])
    by = along or ([name for name in tables.OVERVIEW[1:] if name in runs] if "seed" in columns else ["key"])
    table = compression.by_network(runs, by) if compressed else tables.over_seeds(runs, by)
    name = sweep.name
    shown: list[tuple[str, str]] = []
    several = len(table) > 1  # networks
    if compressed:
        if several:
            layout.save(layout.file_size(runs, along), folder, name)
            shown.append((name, "Accuracy over the size of the file"))
    elif len(along) == 1 and pd.api.types.is_numeric_dtype(runs[along[0]]):
        layout.save(layout.curve(runs, along[0]), folder, name)
        shown.append((name, f"Accuracy over size along {figures.NAMES.get(along[0], along[0])}"))
    elif along == ["bypass"]:
        layout.save(layout.bypass(runs), folder, name)
        shown.append((name, "Accuracy of the kinds of bypass"))
    elif along and several:
        group = next((column for column in along if not column.startswith("data")), along[0])
        parts = tables.apart(runs[runs["status"] == "finished"], ("data",))
        for number, (_, part) in enumerate(parts, 1):  # accuracies on different data have no front in common
            figure = _numbered(name, number, len(parts))
            layout.save(layout.pareto(part, along, group), folder, figure)
            shown.append((figure, "Accuracy over size"))
    labels = tables.labels(runs, along or columns)
    curves = tables.curves(results_dir, list(labels))
    if curves:
        layout.save(layout.training(labels, curves), folder, f"{name}-training")
        shown.append((f"{name}-training", "Training curves"))
    note = (
        f"Sweep {name}: {finished} of {len(sweep.keys)} runs finished. "
        "Means over seeds have their 95 % interval (Student's t)."
    )
    title = _title(name, along)
    return Section(title, tuple(shown), ((name, table),), note)


def _numbered(name: str, number: int, of: int) -> str:
    """The name of one of so many figures or tables."""
    return name if of == 1 else f"{name}-{number}"


def _experiment(name: str) -> str | None:
    """The experiment among TITLES that a sweep's name begins with."""
    fitting = [each for each in TITLES if name == each or name.startswith(f"{each}_")]
    return max(fitting, key=len, default=None)


def _place(sweep: Sweep) -> tuple[int, str]:
    """Where in the report a sweep stands: the paper's experiments in their order, then others by name."""
    experiment = _experiment(sweep.name)
    return (len(TITLES) if experiment is None else list(TITLES).index(experiment), sweep.name)


def _title(name: str, along: list[str]) -> str:
    """Of a sweep's section: by its experiment, or by what it varies."""
    experiment = _experiment(name)
    if experiment is not None:
        rest = name.removeprefix(experiment).removeprefix("_")
        return f"{TITLES[experiment]}: {rest}" if rest else TITLES[experiment]
    return TITLES.get(along[0], along[0]) if len(along) == 1 else name


def _search_section(results_dir: Path, runs: pd.DataFrame, sweep: Sweep, folder: Path) -> Section:
    """What a search found. Whatever compares accuracies is of runs that were trained to the end."""
    runs, elsewhere = search.with_comparable_latencies(runs)
    finished = runs[runs["status"] == "finished"]
    columns = tables.columns_of(runs, sweep)
    varied = [name for name in columns if finished[name].nunique() > 1]
    group = "bypass" if "bypass" in varied else next(iter(varied or columns), None)
    told = sweep.search or {}
    objectives = list(told.get("objectives", ()))
    cost = search.cost_of(objectives, finished)
    drawn = [
        ("volume", "Hypervolume over cost", layout.hypervolume(runs, cost)),
        ("importance", "Importance of the metaparameters", layout.importance(runs, varied)),
        ("parallel", "Networks as lines along the axes", layout.parallel(runs, varied, cost)),
    ]
    if group is not None:
        front = layout.pareto(runs, ["key"], group, cost, "validation_top1")
        drawn.insert(0, ("front", "Accuracy over cost", front))
        drawn.append(("distribution", "Accuracy at matched size", layout.distribution(runs, group)))
    shown = []
    for name, alt, figure in drawn:
        if figure is not None:
            layout.save(figure, folder, f"{sweep.name}-{name}")
            shown.append((f"{sweep.name}-{name}", alt))
    stopped = int((runs["status"] == "stopped").sum())
    best = finished[search.front(finished, cost)].sort_values(cost.column)
    shown_costs = ("parameters", "size_mib", "macs", *(["latency_seconds"] if "latency" in objectives else []))
    table = best[[*varied, *shown_costs, "validation_top1", "top1", "key"]]
    note = (
        f"Search {sweep.name}: {len(runs)} networks tried, {len(finished)} trained to the end, {stopped} stopped "
        f"early, which are in no figure but as cost. Objectives: {', '.join(objectives)}; constraints: "
        f"{', '.join(told.get('constraints', ())) or 'none'}. Networks were chosen on the validation set, and those "
        f"marked and in the table are the ones that no other beats in validation top-1 and {cost.name}, whatever else "
        "the objectives are. A search looks where it expects much: distributions over its networks are not those of "
        "the space, unless search.sampler=random and search.reduction=1."
    )
    if elsewhere and "latency" in objectives:
        note += (
            f" Latencies left out: {elsewhere}, taken on another machine or device or with another number of threads "
            "than the others."
        )
    return Section(TITLES.get(sweep.name, f"Search: {sweep.name}"), tuple(shown), ((sweep.name, table),), note)


def _paper_s_table(results_dir: Path, runs: pd.DataFrame) -> Iterator[Section]:
    """Tables 2 and 3 of the paper with our networks."""
    named = [sweep for sweep in tables.sweeps(results_dir) if sweep.name.startswith(TABLE_2_SWEEPS)]
    keys = {key for sweep in named for key in sweep.keys}
    chosen = runs[runs["key"].isin(keys) & (runs["status"] == "finished")]
    note = (
        "Bytes are of the file on disk, of the parameters for fp32; accuracies are of the decoded file. Intervals "
        "are of 95 % over seeds, drops paired with the fp32 network that was compressed."
    )
    # Apart by what accuracies depend on besides network and seed: data and recipe.
    parts = [part for _, data in chosen.groupby("data", sort=False) for part in tables.apart(data, ("data.", "train."))]
    for number, (told, part) in enumerate(parts, 1):
        title = ", ".join(filter(None, (f"The paper's tables 2 and 3, and ours: {figures.setting_name(part)}", told)))
        yield Section(title, (), ((_numbered("table_2", number, len(parts)), compression.table_2(part)),), note)


def _overview(runs: pd.DataFrame, folder: Path) -> Iterator[Section]:
    """For each data set all networks with the Pareto front, and the table of all finished runs."""
    for data, of_name in runs.groupby("data"):
        parts = tables.apart(of_name, ("data.",))
        for number, (told, part) in enumerate(parts, 1):
            figure, table = (_numbered(f"{what}-{data}", number, len(parts)) for what in ("pareto", "runs"))
            layout.save(layout.networks(part), folder, figure)
            yield Section(
                ", ".join(filter(None, (f"All networks: {figures.DATA_NAMES.get(str(data), str(data))}", told))),
                ((figure, "All networks and the Pareto front"),),
                ((table, tables.networks(part)),),
            )


def _page(runs: pd.DataFrame, sections: list[Section]) -> str:
    finished = runs[runs["status"] == "finished"]
    commits = {
        f"{commit[:7]}{' (with changes)' if dirty else ''}"
        for commit, dirty in zip(finished["git_commit"], finished["git_dirty"], strict=True)
        if isinstance(commit, str)
    }
    known = {name: set(finished[name].dropna()) for name in ("torch", "precision", "host")} | {"commit": commits}
    origin = "; ".join(f"{name} {', '.join(sorted(each[:60] for each in values))}" for name, values in known.items())
    contents = "".join(f'<li><a href="#{n}">{html.escape(part.title)}</a></li>' for n, part in enumerate(sections))
    title = "SqueezeNet design space: results"
    summary = (
        f"{len(finished)} finished runs. Accuracies are of the test set, which training and searches do not look at. "
        f"Sizes are of fp32 parameters in MiB (2<sup>20</sup> bytes). {html.escape(origin)}."
    )
    shown = "\n".join(_section_html(part, f"{n}") for n, part in enumerate(sections))
    return PAGE.format(title=title, summary=summary, contents=contents, sections=shown)


def _section_html(section: Section, anchor: str) -> str:
    parts = [f'<h2 id="{anchor}">{html.escape(section.title)}</h2>']
    for name, alt in section.figures:
        source = html.escape(f"figures/{name}")
        parts.append(f'<p><a href="{source}.png"><img src="{source}.svg" alt="{html.escape(alt)}"></a></p>')
    if section.note:
        parts.append(f'<p class="note">{html.escape(section.note)}</p>')
    for name, frame in section.tables:
        rows = export.readable(frame).to_html(index=False, border=0)
        link = html.escape(f"tables/{name}")
        parts.append(f'<div class="scroll">{rows}</div>')
        parts.append(
            f'<p class="note">This table as <a href="{link}.csv">CSV</a>, <a href="{link}.md">Markdown</a></p>'
        )
    return "\n".join(parts)
