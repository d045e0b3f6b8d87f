"""The package as pip installs it, used from another folder than the checkout."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.sweeping import ROOT, TINY

PACKAGES = ("fire", "sweep", "analysis", "hydra_plugins")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files of the checkout that git knows."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def installed(tracked, tmp_path_factory) -> Path:
    """A folder with the content of the wheel, which is built from a copy: setuptools writes beside its sources."""
    copy, wheels, site = (tmp_path_factory.mktemp(name) for name in ("copy", "wheels", "site"))
    for name in tracked:
        if name.parts[0] in (*PACKAGES, "conf", "pyproject.toml", "README.md", "LICENSE"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", BUILD, wheels], cwd=copy, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture
def python(installed, tmp_path):
    """Python in an empty folder with the installed packages: exit code, standard output, standard error."""

    def run(*arguments: str, before: Path | None = None) -> tuple[int, str, str]:
        paths = [str(path) for path in (before, installed) if path is not None]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_pinned_versions_support_every_python_that_the_package_does(python):
    """Debian 12 has 3.11.2; a pin of a package that wants a later one ends the first command."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    installed = {canonicalize_name(each.metadata["Name"]): each for each in distributions()}
    pinned = [each for name, each in installed.items() if pins.get(name) == each.version]
    assert len(pinned) > 100
    wanted = {each.name: SpecifierSet(each.metadata.get("Requires-Python", "")) for each in pinned}
    assert [name for name, specifier in wanted.items() if python not in specifier] == []


def test_wheel_has_all_modules_presets_and_sources_of_kernels(installed, tracked):
    # conf/ is a folder of the checkout, and belongs to sweep where it is installed.
    expected = [Path("sweep") / name if name.parts[0] == "conf" else name for name in tracked]
    expected = [name for name in expected if name.parts[0] in PACKAGES]
    found = [path.relative_to(installed) for path in installed.rglob("*") if path.is_file()]
    assert sorted(name for name in found if not name.parts[0].endswith(".dist-info")) == sorted(expected)
    assert {
        "fire/machine/csrc/kernels.cpp",
        "fire/machine/cores.csv",
        "sweep/conf/config.yaml",
        "sweep/page/assets/page.html",
    } <= set(map(str, expected))


def test_installed_packages_sweep_and_report_in_the_users_folder(python, installed, tmp_path):
    code, out, err = python("-m", "sweep", "-m", *TINY, "train.epochs=1", "data.limit=100", "arch.sr=0.5")
    assert (code, err) == (0, ""), out
    assert {path.name for path in tmp_path.iterdir()} == {"data", "results"}
    assert python("-m", "analysis", "results", "--out", "report")[::2] == (0, "")
    assert (tmp_path / "report/index.html").is_file()
    _, out, _ = python("-c", "import fire, sweep.compose, analysis; print(sweep.compose.CONF, *fire.__path__)")
    assert out.split() == [str(installed / "sweep/conf"), str(installed / "fire")]


def test_help_and_dry_run_of_the_installed_package(python):
    code, out, err = python("-m", "sweep", "--help")
    assert (code, err) == (0, "")
    assert re.search("^experiment: .*\\bsr\\b", out, re.MULTILINE)
    code, out, err = python("-m", "sweep", "experiment=sr", "data=digits", "dry_run=true")
    assert (code, err) == (0, "")
    assert "5 points" in out


@pytest.mark.parametrize(
    "module", ["sweep", "sweep.search", "sweep.device", "sweep.compress", "sweep.evaluate", "analysis"]
)
def test_another_package_of_the_name_fire_is_refused_in_a_line(module, python, tmp_path):
    (tmp_path / "other/fire").mkdir(parents=True)
    (tmp_path / "other/fire/__init__.py").write_text("def Fire(component): pass\n")
    code, out, err = python("-m", module, "--help", before=tmp_path / "other")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("sweep: `import fire` must find the package beside sweep/, got another one (python-fire has")
    code, _, err = python("-c", f"import {module}", before=tmp_path / "other")
    assert code == 1
    assert err.splitlines()[-1].startswith("ImportError: `import fire` must find")
