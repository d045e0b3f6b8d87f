"""The house rules that a program can check: sizes of files and functions, and plain words."""

import ast
import re
import subprocess
from pathlib import Path

from tests.sweeping import ROOT

TRACKED = [Path(path) for path in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()]
CODE = [path for path in TRACKED if path.suffix in (".py", ".cpp", ".h")]
# The lab book keeps the words of its day; records are data.
PROSE = [
    path
    for path in TRACKED
    if path.suffix in (".py", ".cpp", ".h", ".md", ".yaml", ".toml", ".ipynb")
    and path not in (Path("docs/log.md"), Path("tests/test_style.py"))
    and not path.is_relative_to("docs/results")
]
FOREIGN = re.compile(r"\b(told|comes? to|at hand|so many|let expect|what that which|stands)\b", re.IGNORECASE)


def test_no_file_is_longer_than_300_lines():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in CODE}
    assert len(lines) > 200
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_no_function_is_longer_than_60_lines():
    functions = [
        (path, node)
        for path in CODE
        if path.suffix == ".py"
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) > 1000
    assert [f"{path}: {f.name}" for path, f in functions if (f.end_lineno or 0) - f.lineno >= 60] == []


def test_no_sentence_has_to_be_read_twice():
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in PROSE
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert len(PROSE) > 200
    assert found == []
