"""The report: every figure and table of a store, and a page that shows them.

With the extra [page] it is the page of sweep/page, frozen: one file with the runs, the figures and the tables. Without
it, it is plain HTML that shows the figures' files.
"""

import html
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from analysis import export, sections, style
from analysis.axes import CostAxis
from analysis.results import Results
from analysis.section import Section
from fire.errors import InputError
from sweep.labels import cut
from sweep.page import document
from sweep.page.snapshot import Snapshot

UNQUOTED = ' !"$()*+,-./:;=?@[]^_{|}~'  # what the address of an embedded picture shows as it is

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2, li, p {{ overflow-wrap: anywhere; }}
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
{contents}
{sections}
</body></html>
"""
TITLE = "SqueezeNet design space: results"
LONGEST_NAME = 150  # bytes: a file's name has at most 255, endings and numbers included


def write(results: Results, out: Path, x: CostAxis | None = None) -> Path:
    """Write all figures, tables and index.html into the folder `out`; the path of the page.

    x: the axis of all figures over a cost; by default each has its own.

    Raises InputError if there is no finished run, or `out` cannot be written.
    """
    if not (results.runs["status"] == "finished").any():
        raise InputError(f"the results must hold a finished run, got none in {str(results.folder)!r}")
    parts: list[tuple[str, str]] = []
    figures, tables = set[str](), set[str]()  # the names of the files
    pictures = out / "figures" if document.is_available() else None
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with style.style():
        for section in sections.of(results, x):
            named = replace(
                section,
                figures=tuple(replace(shown, name=_unused(shown.name, figures)) for shown in section.figures),
                tables=tuple((_unused(name, tables), frame) for name, frame in section.tables),
            )
            with _writing(out):
                _write_files(named, out)
                parts.append((named.title, _section_html(named, f"{len(parts)}", pictures)))
    content, page = _page(results, parts, x), out / "index.html"
    with _writing(out):
        page.write_text(content, "utf-8", "backslashreplace")
    return page


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say in an InputError that the report cannot be written; errors of reading the results are no such ones."""
    try:
        yield
    except OSError as error:
        raise InputError(f"the report must go to a writable directory, got {str(out)!r} ({error.strerror})") from error


def _write_files(section: Section, out: Path) -> None:
    for shown in section.figures:
        style.save(shown.figure, out / "figures", shown.name)
    for name, frame in section.tables:
        export.write(frame, out / "tables", name)


def _unused(name: str, used: set[str]) -> str:
    """A file's name that is not in use, which it then is: this one, cut if it is too long, with a number if need be.

    A user's sweep may have the name of one of the report's own tables.
    """
    short = cut(name, LONGEST_NAME)
    names = itertools.chain([short], (f"{short}-{number}" for number in itertools.count(2)))
    found = next(each for each in names if each not in used)
    used.add(found)
    return found


def _link(folder: str, name: str) -> str:
    """The address of a file of the report, without its ending."""
    return f"{folder}/{quote(os.fsencode(name), safe='=,+')}"


def _page(results: Results, parts: list[tuple[str, str]], x: CostAxis | None) -> str:
    """The page of sections: titles with their HTML."""
    links = "".join(f'<li><a href="#{n}">{html.escape(title)}</a></li>' for n, (title, _) in enumerate(parts))
    summary, contents = _summary(results.runs, x), f"<ul>{links}</ul>"
    shown = "\n".join(content for _, content in parts)
    if not document.is_available():
        return PAGE.format(title=TITLE, summary=summary, contents=contents, sections=shown)
    snapshot = Snapshot(results.folder)
    snapshot.refresh()
    head = f"<p>{summary}</p>\n<details><summary>Figures and tables of the report</summary>{contents}</details>"
    return document.frozen(snapshot, title=TITLE, summary=head, sections=shown, x=x)


def _summary(runs: pd.DataFrame, x: CostAxis | None) -> str:
    """What the numbers are, and which machines and versions they come from."""
    finished = runs[runs["status"] == "finished"]
    commits = {
        f"{commit[:7]}{' (with changes)' if dirty else ''}"
        for commit, dirty in zip(finished["git_commit"], finished["git_dirty"], strict=True)
        if isinstance(commit, str)
    }
    known = {name: set(finished[name].dropna()) for name in ("torch", "precision", "host")} | {"commit": commits}
    origin = "; ".join(
        f"{name} {', '.join(sorted(each[:60] for each in values))}" for name, values in known.items() if values
    )
    return (
        f"{len(finished)} finished runs. Accuracies are of the test set, which training and searches do not look at. "
        f"Sizes are of fp32 parameters in MiB (2<sup>20</sup> bytes). {html.escape(origin)}."
        + (f" Figures over a cost have this axis: {html.escape(x.name)}." if x is not None else "")
    )


def _section_html(section: Section, anchor: str, pictures: Path | None = None) -> str:
    """The section as HTML. pictures: the folder of the figures to embed; None: the page links to their files."""
    parts = [f'<h2 id="{anchor}">{html.escape(section.title)}</h2>']
    for shown in section.figures:
        source = _link("figures", shown.name)
        address = _embedded(pictures / f"{shown.name}.svg") if pictures else f"{source}.svg"
        image = f"<img src='{address}' alt=\"{html.escape(f'{section.title}: {shown.text}')}\">"
        parts.append(f'<p><a href="{source}.png">{image}</a></p>')
    for name, frame in section.tables:
        rows = export.readable(frame).to_html(index=False, border=0).replace("<th>", '<th scope="col">')
        link = _link("tables", name)
        parts.append(f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{anchor}">{rows}</div>')
        parts.append(
            f'<p class="note">This table as <a href="{link}.csv">CSV</a>, <a href="{link}.md">Markdown</a></p>'
        )
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in section.notes]
    return "\n".join(parts)


def _embedded(picture: Path) -> str:
    """The picture as an address that holds it, for an attribute in single quotes. Base64 would be a quarter longer."""
    text = picture.read_text("utf-8").replace("\n", " ")
    return f"data:image/svg+xml,{quote(text, safe=UNQUOTED)}"
