"""What a newcomer types first: make sr, with and without Fashion-MNIST."""

import os
import shutil
import subprocess

import pytest

from tests.sweeping import ROOT, command

NO_DATA = 69  # EX_UNAVAILABLE of sysexits.h
# In place of the environment's python: writes down what it is called with; the data sets in the file `missing` are not
# there, and an argument fail=N ends in exit code N.
PYTHON = """#!/bin/sh
echo "$*" >> calls
case "$*" in *fail=*) exit "${*#*fail=}";; esac
case "$*" in *data=digits*) missing=;; *sweep*) missing=$(cat missing);; esac
[ -z "$missing" ] || { echo "sweep: no data" >&2; exit 69; }
"""
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}


@pytest.fixture
def make(tmp_path):
    """make in a folder that is set up, with a stub for python: exit code, lines of output, calls of python."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/.complete").touch()
    (tmp_path / ".venv/bin/python").write_text(PYTHON)
    (tmp_path / ".venv/bin/python").chmod(0o755)

    # These tests may be run by make themselves, whose make inherits its options and says which folder it enters.
    environment = {name: value for name, value in os.environ.items() if name not in OF_MAKE}

    def run(*arguments: str, missing: str = "") -> tuple[int, list[str], list[str]]:
        (tmp_path / "missing").write_text(missing)
        done = subprocess.run(
            ["make", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout.splitlines(), (tmp_path / "calls").read_text().splitlines()

    return run


REPORT = "-m analysis results --out report"


@pytest.mark.parametrize(("target", "experiment"), [("sr", "sr"), ("pct", "pct_3x3"), ("bypass", "bypass")])
def test_make_trains_and_reports(target, experiment, make):
    assert make(target, "ARGS=seed=0,1") == (0, [], [f"-m sweep experiment={experiment} seed=0,1", REPORT])


def test_make_reports_the_results_that_it_made(make):
    calls = ["-m sweep experiment=sr results_dir=mine", "-m analysis mine --out report"]
    assert make("sr", "ARGS=results_dir=mine") == (0, [], calls)


@pytest.mark.parametrize(("target", "experiment"), [("sr", "sr"), ("pct", "pct_3x3"), ("bypass", "bypass")])
def test_make_goes_on_with_the_digits_where_fashion_mnist_is_missing(target, experiment, make):
    code, lines, calls = make(target, "ARGS=train.epochs=1", missing="fashion_mnist")
    note = f"make {target}: on scikit-learn's digits, because Fashion-MNIST is missing"
    first = f"-m sweep experiment={experiment} train.epochs=1"
    assert (code, lines, calls) == (0, [note, note], [first, f"{first} data=digits", REPORT])


@pytest.mark.parametrize("chosen", ["data=cifar10", "data.root=/mnt/fashion"])
def test_make_trains_on_no_other_data_than_those_that_were_chosen(chosen, make):
    code, lines, calls = make("sr", f"ARGS=seed=1 {chosen}", missing="all")
    assert (code, lines, calls) == (2, [], [f"-m sweep experiment=sr seed=1 {chosen}"])  # 2: make's own


@pytest.mark.parametrize("failure", [1, 2, 130])
def test_make_stops_at_any_other_failure(failure, make):
    code, lines, calls = make("sr", f"ARGS=fail={failure}")
    assert (code, lines, calls) == (2, [], [f"-m sweep experiment=sr fail={failure}"])


@pytest.mark.parametrize("mode", ["one run", "a sweep"])
def test_missing_data_set_has_its_exit_code_and_the_command_that_goes_on(mode, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:9")  # the discard port: no proxy listens there
    axis = {"one run": "arch.sr=0.5", "a sweep": "arch.sr=0.5,0.25"}[mode]
    arguments = ["-m"] * (mode == "a sweep") + [axis, "data=cifar10", "data.limit=50", f"data_dir={tmp_path}/data"]
    code, out, err = command(*arguments, f"results_dir={tmp_path}/results")
    assert (code, out) == (NO_DATA, "")
    (line,) = err.splitlines()
    assert line.startswith("sweep: cifar10 is not on this machine and cannot be downloaded (")
    others = " ".join(word for word in arguments if not word.startswith("data=") and not word.startswith("data."))
    assert line.endswith(f": python -m sweep {others} results_dir={tmp_path}/results data=digits")
