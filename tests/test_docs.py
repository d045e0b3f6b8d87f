"""What the README says is there, runs, and has the numbers of the committed results."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra import compose

from analysis import export, tables
from analysis.results import read
from sweep import compress, evaluate
from sweep.commands.command import compose as compose_command
from sweep.config import load, presets
from sweep.search.spec import quoted

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```(?:sh|bash)?\n(.*?)```", README, re.DOTALL)
COMMANDS = sorted({line.split("#")[0].strip() for block in CODE for line in block.splitlines()})


def test_files_and_figures_that_it_links_to_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src="([^":]+)"', README)
    assert len(links) > 3
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake (\w+)", README))))
def test_make_targets_exist(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r"python -m sweep( -m)? \S*=", c)])
def test_sweep_commands_compose(command):
    arguments = shlex.split(command)
    overrides = [word for word in arguments[arguments.index("sweep") + 1 :] if "=" in word]
    overrides = [quoted(word) for word in overrides]
    single = [re.sub(r"^([^=]*)=([^\[\]]*?),.*", r"\1=\2", word) for word in overrides]  # the first of each list
    with presets():
        assert load(compose("config", overrides=single)).key


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r"python -m sweep\.(compress|evaluate)", c)])
def test_commands_on_runs_and_files_compose(command):
    _, _, module, _, *overrides = shlex.split(command)
    parts, options = {
        "sweep.compress": (["compress"], compress.OPTIONS),
        "sweep.evaluate": (evaluate.PARTS, evaluate.OPTIONS),
    }[module]
    assert compose_command(overrides, parts, options)


def test_its_compressed_networks_are_those_of_the_committed_results():
    _, _, *rows = (ROOT / "docs" / "tables" / "table_2.md").read_text().splitlines()
    assert len(rows) >= 8
    for row in rows:
        _, _, size, reduction, seeds, top1, drop, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        told = (size, reduction, f"| {top1} |", f"| {drop} |" if drop != "-" else "", f"| {seeds} |")
        assert any(all(part in line.replace("*", "") for part in told) for line in README.splitlines()), row


@pytest.mark.parametrize("name", ["sr", "pct_3x3", "bypass"])
def test_its_tables_are_those_of_the_committed_results(name):
    written = (ROOT / "docs" / "tables" / f"{name}.md").read_text()
    results = read(ROOT / "docs" / "results")
    (sweep,) = [sweep for sweep in results.sweeps if sweep.name == name]
    runs = results.of(sweep)
    assert written == export.markdown(export.readable(tables.over_seeds(runs, [sweep.varied[0].removeprefix("arch.")])))
    for row in written.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        value, parameters, top1 = cells[0], cells[1], cells[5]
        assert any(all(part in line for part in (f"| {value} |", parameters, top1)) for line in README.splitlines()), (
            row
        )


def test_the_file_tree_names_every_folder_of_code():
    tree = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "fire/" in block)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {parent.name for path in tracked if path.endswith(".py") for parent in list(Path(path).parents)[:-1]}
    assert {"fire", "search", "figures", "tests"} <= folders
    assert folders - {"hydra_plugins"} <= set(re.findall(r"^ *(\w+)/", tree, re.MULTILINE))


def test_every_module_says_what_it_is_for():
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = [path for path in tracked.stdout.split() if path.startswith(("fire", "sweep", "analysis"))]
    assert len(modules) > 60
    assert [path for path in modules if not ast.get_docstring(ast.parse((ROOT / path).read_text()))] == []


def test_its_benchmarks_are_those_that_were_measured():
    table = [line for line in (ROOT / "docs" / "bench.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert "\n".join(table) in README
