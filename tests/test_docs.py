"""The files, commands and numbers in the README and the pages of docs/ are right."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra import compose

from analysis import claims, compression, export, tables
from analysis.results import read
from sweep import compress, evaluate
from sweep.commands.command import compose as compose_command
from sweep.compose import load, presets
from tests.pictures import two_classes

ROOT = Path(__file__).parents[1]
NAMES = ("curves", "compression", "search", "bench", "export", "device", "scale", "map", "reliability", "setup")
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in (*NAMES, "tabular/README"))]
README, CURVES, COMPRESSION, SEARCH, BENCH, *_ = (path.read_text() for path in PAGES)
CODE = [code for path in PAGES for code in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)]
COMMANDS = sorted({line.split("#")[0].strip() for block in CODE for line in block.splitlines()})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.stem}/{path.stem}")
def test_files_and_figures_that_it_links_to_exist(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert len(links) > 2
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short():
    assert len(README.split()) <= 1200


TARGETS = {name for path in PAGES for name in re.findall(r"(?:^|`)make (\w+)", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_targets_exist(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r"python -m sweep( -m)? \S*=", c)])
def test_sweep_commands_compose(command, tmp_path):
    arguments = shlex.split(command.replace("FOLDER", str(two_classes(tmp_path))))
    overrides = [word for word in arguments[arguments.index("sweep") + 1 :] if "=" in word]
    single = [re.sub(r"^([^=]*)=([^\[\]]*?),.*", r"\1=\2", word) for word in overrides]  # the first of each list
    with presets():
        assert load(compose("config", overrides=single)).key


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if re.search(r"python -m sweep\.(compress|evaluate|export)", c)]
)
def test_commands_on_runs_and_files_compose(command):
    _, _, module, _, *others = shlex.split(command)
    overrides = [word for word in others if "=" in word]
    parts, options = {
        "sweep.compress": (["compress"], compress.OPTIONS),
        "sweep.evaluate": (evaluate.PARTS, evaluate.OPTIONS),
        "sweep.export": (evaluate.PARTS, evaluate.OPTIONS),
    }[module]
    assert compose_command(overrides, parts, options)


@pytest.mark.parametrize("page", [README, COMPRESSION], ids=["README", "compression"])
def test_its_compressed_networks_are_those_of_the_committed_results(page):
    written = (ROOT / "docs" / "tables" / "table_2.md").read_text()
    results = read(ROOT / "docs" / "results")
    ((_, runs),) = compression.paper_parts(results.runs, results.sweeps)
    assert written == export.markdown(export.readable(compression.table_2(runs)))
    expected = set()
    for row in written.splitlines()[2:]:
        network, method, size, reduction, seeds, top1, drop, mb, smaller, paper_top1 = _cells(row)
        network, _, rate = network.partition(", rate ")
        paper = [] if mb == "-" else [f"{mb} MB", smaller, f"{float(paper_top1):.1f} %"]
        drops = [drop.replace("-", "", drop == "-")] if page == COMPRESSION else []
        published = ", ".join(each for each in paper if each not in ("-", "1x"))
        expected.add((network, method, rate, size, reduction, top1, *drops, seeds, published))
    shown = set()
    for line in page.partition("## In colour")[0].splitlines():
        if line.startswith(("| SqueezeNet", "| AlexNet")):
            network, method, *cells = _cells(line.replace("*", ""))
            rate = re.search(r"rate[ =](0\.\d+)", method)
            method = re.split(r"[ ,]*[`(]|, ", method)[0]
            default = "0.05" if method == "entropy" else ""
            shown.add((network, method, rate[1] if rate else default, *cells))
    assert len(shown) == (len(expected) if page == COMPRESSION else 5)
    assert shown <= expected


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


def test_its_tables_are_those_of_the_committed_results():
    results = read(ROOT / "docs" / "results")
    curves = [sweep for sweep in results.sweeps if sweep.experiment in ("sr", "pct_3x3", "bypass")]
    assert len(curves) >= 5
    for sweep in curves:
        written = (ROOT / "docs" / "tables" / f"{sweep.name}.md").read_text()
        (varied,) = [name.removeprefix("arch.") for name in sweep.varied if name != "seed"]
        assert written == export.markdown(export.readable(tables.over_seeds(results.of(sweep), [varied])))
        assert written in CURVES, sweep.name
    claimed = (ROOT / "docs" / "tables" / "claims.md").read_text()
    assert claimed == export.markdown(export.readable(claims.table(claims.tested(results.runs))))
    assert claimed in CURVES
    assert (ROOT / "docs" / "tables" / "duel-int8.md").read_text() in SEARCH
    coded = [sweep.name for sweep in results.sweeps if "arch=squeezenet_mlperf_tiny" in sweep.overrides]
    assert len(coded) == 2
    for name in (*coded, "smallest"):
        assert (ROOT / "docs" / "tables" / f"{name}.md").read_text() in COMPRESSION


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
    tables = sorted((ROOT / "docs/bench").glob("*/table.md"))
    assert tables
    for table in tables:
        assert table.read_text() in BENCH


@pytest.mark.parametrize(
    ("page", "section", "measured"),
    [
        ("search.md", "## A tabular benchmark", "bench_search_tabular.md"),
        ("map.md", "## How well it orders networks", "bench_map.md"),
    ],
)
def test_tables_on_the_tabular_benchmark_are_what_was_measured(page, section, measured):
    rows = re.findall(r"^\| .*", (ROOT / "docs" / page).read_text().partition(section)[2], re.MULTILINE)
    numbers = [number for row in rows for number in re.findall(r"\d+\.\d+ \(\d+\.\d+ to \d+\.\d+", row)]
    assert len(numbers) >= 15
    found = (ROOT / "docs" / measured).read_text().replace(" % (", " (")
    assert [number for number in numbers if number not in found] == []


def test_the_readme_reads_records_as_it_says(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(program.replace('"results"', f'"{ROOT}/docs/results"'), {})
    assert "top1" in capsys.readouterr().out
