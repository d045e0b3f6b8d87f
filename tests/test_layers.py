"""Who may import whom, as docs/architecture.md has it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeping import ROOT

OURS = {"fire", "sweep", "analysis", "hydra_plugins", "bench"}


def imported(path: Path) -> set[str]:
    """Every imported name with its module, wherever in the file: fire.errors.InputError, numpy."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_the_reader_of_imports_sees_them_all(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import a.b\nfrom c import d\ndef f():\n    from e.f import g, h\n")
    assert imported(path) == {"a.b", "c.d", "e.f.g", "e.f.h"}


@pytest.mark.parametrize("path", files("fire"), ids=lambda path: path.stem)
def test_fire_stands_alone(path):
    others = OURS - {"fire"}
    assert not roots(path) & (others | {"hydra", "omegaconf", "optuna", "pandas", "matplotlib"})


STANDARD_LIBRARY_ONLY = [
    *(str(path.relative_to(ROOT).with_suffix("")) for path in sorted(ROOT.glob("[fs]*/**/spec.py"))),
    "fire/arch",
    "fire/blocks",
    "fire/errors",
    "fire/fields",
    "fire/files",
    "fire/machine/estimate",
    "fire/machine/hardware",
    "fire/machine/native",
    "fire/train/progress",
    "sweep/axes",
    "sweep/commands/exits",
    "sweep/config",
    "sweep/curves",
    "sweep/labels",
    "sweep/manifests",
    "sweep/map/stored",
    "sweep/record",
    "sweep/rows",
    "sweep/store",
    "sweep/typed",
]


def test_every_part_has_its_specification():
    assert {"fire/data/spec", "fire/train/spec", "fire/compress/spec", "sweep/search/spec"} <= set(
        STANDARD_LIBRARY_ONLY
    )


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ONLY)
def test_standard_library_only(name):
    ours = ("fire.", "sweep.config", "sweep.curves", "sweep.manifests", "sweep.record", "sweep.store", "sweep.typed")
    for module in imported(ROOT / f"{name}.py"):
        assert module.partition(".")[0] in sys.stdlib_module_names or module.startswith(ours), module


def test_sweep_does_not_know_analysis():
    for path in files("sweep") + files("hydra_plugins"):
        assert "analysis" not in roots(path), path


def test_analysis_reads_the_store_only():
    allowed = (
        "analysis",
        "sweep.axes",
        "sweep.commands.exits",
        "sweep.labels",
        "sweep.manifests",
        "sweep.map",
        "sweep.page",
        "sweep.rows",
        "sweep.search.budget",
        "sweep.store",
        "fire.arch",
        "fire.cost",
        "fire.errors",
        "fire.files",
        "fire.fields",
        "fire.machine.estimate",
        "fire.stats",
        "fire.train.progress",
        "fire.data.spec",
        "fire.train.spec",
        "fire.compress.spec",
    )
    for path in files("analysis"):
        assert not roots(path) & {"torch", "torchvision", "hydra", "omegaconf", "optuna"}, path
        for name in imported(path):
            if name.partition(".")[0] in OURS:
                assert any(name == module or name.startswith(f"{module}.") for module in allowed), f"{path}: {name}"


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            "fire.cost, fire.data.dataset, fire.data.sources, fire.data.folders, fire.machine.native, "
            "fire.weights.fcn, sweep.store",
            "torch torchvision hydra pandas sklearn",
        ),
        (
            "sweep.__main__, sweep.grid, hydra_plugins.design_space",
            "torch torchvision pandas matplotlib optuna sklearn numpy PIL",
        ),
        ("analysis.__main__", "torch torchvision hydra pandas matplotlib scipy"),
        ("sweep.map.making", "torch torchvision hydra optuna pandas matplotlib sklearn scipy"),
    ],
)
def test_what_starts_fast_loads_nothing_slow(modules, absent):
    program = f"import sys, {modules}; print(*sorted(set({absent.split()}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
