"""Tables as text: what programs and people read is what the frame holds, and nothing of it is run."""

import csv
import io

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from analysis import export

NASTY = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "\r=1",
    "x\r=1",
    "＝1",
    "<script>alert(1)</script>",
    "a|b",
    "a\\|b",
    "two\nlines",
    "`a|b`",
    "![x](http://example.com/x.png)",
    "&lt;",
    "*a* **b** ~c~",
    "results/__x__/record.json",
    "_a_ b_c_d _e",
)


def test_written_tables_read_back(tmp_path):
    # Student's t of 1 degree of freedom at 97.5 % is 12.706; the standard error of {0.8, 0.9} is 0.05.
    half = 12.706 * 0.05
    groups = pd.DataFrame(
        {
            "sr": [0.25, 0.5],
            "parameters": [1_000, 2_000],
            "size_mib": [0.1, 1 / 3],
            "top1": [0.7, 0.85],
            "top1_low": [float("nan"), 0.85 - half],
            "top1_high": [float("nan"), 0.85 + half],
            "n": [1, 2],
        }
    )
    export.write(groups, tmp_path / "out", "sr")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "sr.csv"), groups)
    lines = (tmp_path / "out" / "sr.md").read_text().splitlines()
    assert lines[0] == "| sr | parameters | MiB | top1 % | n |"
    assert lines[2:] == [
        "| 0.25 | 1,000 | 0.100 | 70.00 | 1 |",
        "| 0.5 | 2,000 | 0.333 | 85.00 (21.47 to 148.53) | 2 |",
    ]


def test_bytes_keep_their_digits_beside_missing_ones():
    shown = export.readable(pd.DataFrame({"int8_bytes": [1_234_567.0, float("nan")]}))
    assert shown["int8_bytes"].tolist() == ["1,234,567", "-"]


@pytest.mark.parametrize("text", NASTY)
def test_no_cell_is_a_formula(text):
    written = export.csv(pd.DataFrame({"text": [text], "number": [-0.5]}))
    _, (cell, number) = csv.reader(io.StringIO(written, newline=""))
    assert cell.lstrip("'").split() == text.split()
    assert cell[0] not in "=+-@\t\r\n＝"
    assert number == "-0.5", "numbers keep their minus sign"


@pytest.mark.parametrize("text", NASTY)
def test_a_cell_of_markdown_shows_its_text(text):
    table = MarkdownIt("commonmark").enable("table").parse(export.markdown(pd.DataFrame({"a": [text], "b": ["last"]})))
    _, _, cell, last = [token for token in table if token.type == "inline"]
    assert {child.type for child in cell.children} <= {"text", "text_special"}
    assert "".join(child.content for child in cell.children) == " ".join(text.split())
    assert last.content == "last"
