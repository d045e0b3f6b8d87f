"""Every command with every path that it is given: one line and exit code 2 where the path cannot be used."""

import contextlib
import ctypes
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.__main__ import write as analysis_command
from sweep.__main__ import answer as sweep_command
from sweep.commands import exits
from sweep.compress import _main as compress_command
from sweep.evaluate import _main as evaluate_command
from sweep.run import run
from sweep.search.__main__ import answer as search_command
from sweep.store import WEIGHTS
from tests.sweeping import TINY, image_folder, launch

SMALL = (*TINY, "train.epochs=1", "data.limit=64")
SIZES = ("data.stored_size=20", "data.image_size=20", "data.validation=1")
AXES = ("arch.freq=2", "arch.pct_3x3=0.5", "arch.bypass=none", "arch.fires=2", "arch.sr=0.25,0.5", "search.first=[]")
FOLDER = ("data=image_folder", "arch=squeezenet_narrow", *SIZES)
# For each argument that is a path: the command line, and last the kind of file that the path names.
COMMANDS: dict[str, tuple[Callable[[list[str]], None], str, list[str]]] = {
    "a run's results_dir": (sweep_command, "results", [*SMALL, "data_dir=$DATA", "results_dir=$PATH"]),
    "a run's data_dir": (sweep_command, "data", [*SMALL, "seed=1", "results_dir=$RESULTS", "data_dir=$PATH"]),
    "a run's data.root": (
        sweep_command,
        "images",
        [*FOLDER, "results_dir=$RESULTS", "data_dir=$DATA", "data.root=$PATH"],
    ),
    "a run's train.weights": (
        sweep_command,
        "weights",
        [*SMALL, "results_dir=$RESULTS", "data_dir=$DATA", "arch.norm=none", "train.weights=$PATH"],
    ),
    "a sweep's results_dir": (
        sweep_command,
        "results",
        ["-m", *SMALL, "seed=1,2", "data_dir=$DATA", "results_dir=$PATH"],
    ),
    "a sweep's data_dir": (
        sweep_command,
        "data",
        ["-m", *SMALL, "seed=1,2", "results_dir=$RESULTS", "data_dir=$PATH"],
    ),
    "a sweep's data.root": (
        sweep_command,
        "images",
        ["-m", *FOLDER, "seed=1,2", "results_dir=$RESULTS", "data_dir=$DATA", "data.root=$PATH"],
    ),
    "a sweep's train.weights": (
        sweep_command,
        "weights",
        ["-m", *SMALL, "results_dir=$RESULTS", "data_dir=$DATA", "arch.norm=none", "train.weights=$PATH"],
    ),
    "a user's experiments": (
        sweep_command,
        "experiments",
        ["--config-dir", "$PATH", "experiment=mine", "dry_run=true"],
    ),
    "help's experiments": (sweep_command, "experiments", ["--help", "--config-dir", "$PATH", "experiment=mine"]),
    "a search's results_dir": (
        sweep_command,
        "results",
        ["experiment=search", *SMALL, *AXES, "data_dir=$DATA", "results_dir=$PATH"],
    ),
    "a search's data_dir": (
        sweep_command,
        "data",
        ["experiment=search", *SMALL, *AXES, "results_dir=$RESULTS", "data_dir=$PATH"],
    ),
    "evaluate's weights": (evaluate_command, "weights", ["$PATH", "data=digits", "data_dir=$DATA"]),
    "evaluate's data_dir": (evaluate_command, "data", ["$WEIGHTS", "data=digits", "data_dir=$PATH"]),
    "evaluate's data.root": (
        evaluate_command,
        "images",
        ["$WEIGHTS", "data=image_folder", "data.channels=1", "data_dir=$DATA", "data.root=$PATH"],
    ),
    "compress's run": (compress_command, "a run", ["$PATH", "compress.epochs=1", "data_dir=$DATA"]),
    "compress's data_dir": (compress_command, "data", ["$RUN", "compress.epochs=1", "data_dir=$PATH"]),
    "best's results": (search_command, "results", ["best", "$PATH"]),
    "analysis's results": (analysis_command, "results", ["$PATH", "--out", "$NEW"]),
    "analysis's report": (analysis_command, "report", ["$RESULTS", "--out", "$PATH"]),
}
PROGRAMS = {
    sweep_command: "sweep",
    evaluate_command: "sweep.evaluate",
    compress_command: "sweep.compress",
    search_command: "sweep.search",
    analysis_command: "analysis",
}
# Folders that are made if they are missing, and what a command only reads and may be read-only.
MADE = ("results_dir", "data_dir", "report")
ONLY_READ = ("data.root", "weights", "experiments", "best's results", "analysis's results", "evaluate's data_dir")


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, Path]:
    """What the paths stand for: a store with a finished run, its weights, data, images, experiments."""
    root = tmp_path_factory.mktemp("given")
    made = launch(*SMALL, f"data_dir={root}/data", f"results_dir={root}/results")
    record = run(*made)
    assert record.status == "finished"
    (root / "experiments/experiment").mkdir(parents=True)
    (root / "experiments/experiment/mine.yaml").write_text("# @package _global_\nseed: 7\n")
    (root / "report").mkdir()
    image_folder(root / "images")
    for part in ("train", "val"):
        for label in "01":  # as the weights, which are of digits, name their classes
            (root / f"images/{part}/class{label}").rename(root / f"images/{part}/{label}")
    return {
        "results": root / "results",
        "a run": root / "results" / record.key,
        "weights": root / "results" / record.key / WEIGHTS,
        "data": root / "data",
        "images": root / "images",
        "experiments": root / "experiments",
        "report": root / "report",
    }


def outcome(name: str, path: Path, given: dict[str, Path], tmp_path: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command with the path in its place.

    more: arguments of sweeps, which train otherwise.
    """
    command, _, arguments = COMMANDS[name]
    arguments = [*arguments, *(more if command is sweep_command else ())]
    for place, value in {
        "$PATH": path,
        "$RESULTS": tmp_path / "results",
        "$DATA": given["data"],
        "$WEIGHTS": given["weights"],
        "$RUN": given["a run"],
        "$NEW": tmp_path / "new",
    }.items():
        arguments = [argument.replace(place, str(value)) for argument in arguments]
    if name == "analysis's report":
        arguments[0] = str(given["results"])
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            exits.guarded(PROGRAMS[command], lambda: command(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Have the permission bits of files bind this thread, also where it is root's: capabilities(7)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, found = _Header(0x20080522, 0), (_Capabilities * 2)()
    assert libc.capget(ctypes.byref(header), found) == 0, os.strerror(ctypes.get_errno())
    before = found[0].effective
    found[0].effective &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), found) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        found[0].effective = before
        assert libc.capset(ctypes.byref(header), found) == 0, os.strerror(ctypes.get_errno())


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[Path]:
    """The path with other permissions, which bind."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        with bound_by_permissions():
            yield path
    finally:
        path.chmod(before)


def refused(name: str, path: Path, given: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = outcome(name, path, given, tmp_path)
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"{PROGRAMS[COMMANDS[name][0]]}: ")
    assert "Traceback" not in out
    assert path.name in err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_path_below_a_file(name, given, tmp_path):
    (tmp_path / "file").write_text("")
    refused(name, tmp_path / "file/below", given, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_for_a_folder_or_a_folder_for_a_file(name, given, tmp_path):
    path = tmp_path / "other"
    if COMMANDS[name][1] == "weights":
        path.mkdir()
    else:
        path.write_text("")
    refused(name, path, given, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_longer_than_file_systems_take(name, given, tmp_path):
    refused(name, tmp_path / ("long" * 100), given, tmp_path)


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.endswith(MADE)])
def test_a_path_that_does_not_exist(name, given, tmp_path):
    refused(name, tmp_path / "missing", given, tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_path_without_permissions(name, given, tmp_path):
    with mode(given[COMMANDS[name][1]], 0) as path:
        refused(name, path, given, tmp_path)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith("data.root")])
def test_a_class_folder_without_permissions(name, given, tmp_path):
    with mode(given["images"] / "val" / "1", 0):
        code, _, err = outcome(name, given["images"], given, tmp_path)
    assert (code, err.count("\n")) == (2, 1), err
    assert str(given["images"] / "val" / "1") in err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(("results_dir", "report", "a run"))])
def test_a_read_only_folder_that_is_written(name, given, tmp_path):
    with mode(given[COMMANDS[name][1]], 0o555) as path:
        refused(name, path, given, tmp_path)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith("data_dir")])
def test_a_read_only_folder_for_data_that_are_not_there(name, given, tmp_path):
    (tmp_path / "empty").mkdir()
    with mode(tmp_path / "empty", 0o555) as path:
        refused(name, path, given, tmp_path)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(ONLY_READ)])
def test_what_is_only_read_may_be_read_only(name, given, tmp_path):
    with mode(given[COMMANDS[name][1]], 0o555) as path:
        code, _, err = outcome(name, path, given, tmp_path, "dry_run=true")
    assert (code, err) == (0, "")
