"""Tables as text: readable numbers, CSV for programs, Markdown for people."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fire.cost import KIB

HEADINGS = {
    "drop": "drop, points",
    "difference": "difference, points",
    "paper_mb": "paper, MB",
    "paper_reduction": "paper, reduction",
    "paper_top1": "paper, top1 %",
}
# A spreadsheet takes texts for a formula that begin with one of these, full-width signs included (OWASP).
FORMULAS = tuple("=+-@\t\n＝＋－＠")
IN_KIB = {"peak_ram_bytes": "peak RAM, KiB", "weight_bytes": "int8 weights, KiB", "flash_bytes": "flash, KiB"}
PERCENTAGES = ("top1", "top5", "validation_top1", "int8_top1", "int8_validation_top1", "paper_top1")


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table for people: percentages, MiB, KiB, MMACs and minutes as text; missing is a dash.

    The ends of an interval, columns *_low and *_high, follow the mean in its column.
    """
    shown: dict[str, list[str]] = {}
    for name in frame.columns:
        values, title = list(frame[name]), HEADINGS.get(name, name)
        if name.removesuffix("_low").removesuffix("_high") != name:
            continue
        if name in ("drop", "difference") or name in PERCENTAGES:
            shown[HEADINGS.get(name, f"{name} %")] = _with_ends(frame, name, lambda v: f"{100 * v:.2f}")
        elif name == "ratio":
            shown[title] = _with_ends(frame, name, lambda v: f"{v:.2f}")
        elif name == "bytes":
            shown[title] = _with_ends(frame, name, lambda v: f"{v:,.0f}")
        elif name.endswith("reduction"):
            shown[title] = [_text(value, lambda v: f"{v:,.0f}x") for value in values]
        elif name == "size_mib":
            shown["MiB"] = [_text(value, lambda v: f"{v:.3f}") for value in values]
        elif name in IN_KIB:
            shown[IN_KIB[name]] = [_text(value, lambda v: f"{v / KIB:,.1f}") for value in values]
        elif name == "macs":
            shown["MMACs"] = [_text(value, lambda v: f"{v / 1e6:.1f}") for value in values]
        elif name == "train_seconds":
            shown["training, min"] = [_text(value, lambda v: f"{v / 60:.1f}") for value in values]
        elif name == "p":
            shown["p"] = [_text(value, lambda v: f"{v:.2g}") for value in values]
        elif name in ("parameters", "activations") or name.endswith("_bytes"):
            shown[name] = [_text(value, lambda v: f"{int(v):,}") for value in values]
        else:
            shown[title] = [_text(value, lambda v: f"{v:g}" if isinstance(v, float) else str(v)) for value in values]
    return pd.DataFrame(shown)


ENDS = ("_low", "_high")


def _with_ends(frame: pd.DataFrame, name: str, show: Callable[[Any], str]) -> list[str]:
    """Means as text, each with the ends of its interval if it has one."""
    columns = [frame[each] if each in frame else [None] * len(frame) for each in (name, *(name + end for end in ENDS))]
    rows = ([_text(value, show) for value in row] for row in zip(*columns, strict=True))
    return [mean if low == "-" else f"{mean} ({low} to {high})" for mean, low, high in rows]


def markdown(frame: pd.DataFrame) -> str:
    """A table in Markdown, as GitHub reads it; the cells show their text, on one line. Addresses become links."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "".join("| " + " | ".join(_escaped(str(cell)) for cell in row) + " |\n" for row in rows)


def _escaped(cell: str) -> str:
    """Text that Markdown takes for neither HTML, code, emphasis, a link, an image nor the end of the cell."""
    special = r"[\\|`*~\[\]]|(?<![^\W_])_+|_+(?![^\W_])"  # an underscore within a word is none
    escaped = re.sub(special, lambda found: "".join(f"\\{character}" for character in found[0]), " ".join(cell.split()))
    return html.escape(escaped, quote=False)


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV, with all digits. Texts that a spreadsheet would take for a formula begin with an apostrophe."""
    return frame.map(_inert).to_csv(index=False)


def _inert(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell  # numbers keep their minus sign
    text = "\n".join(cell.splitlines())  # a lone carriage return would end the row: it is not quoted
    return f"'{text}" if text.startswith(FORMULAS) else text


def write(frame: pd.DataFrame, folder: Path, name: str) -> None:
    """Write the table as <name>.csv, for programs, and as <name>.md, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.csv").write_text(csv(frame), "utf-8", "backslashreplace")
    (folder / f"{name}.md").write_text(markdown(readable(frame)), "utf-8", "backslashreplace")


def _text(value: Any, show: Any) -> str:
    missing = value is None or (isinstance(value, float | np.floating) and np.isnan(value))
    return "-" if missing else str(show(value))
