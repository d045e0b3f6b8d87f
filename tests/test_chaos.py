"""Faults on purpose: the library that puts them in, what the trials compare, and a few trials of each kind."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.chaos import calls, damage
from bench.chaos.__main__ import Row, markdown, merged
from bench.chaos.commands import SOURCE, Ended
from bench.chaos.results import differences, differences_of_search, left, trained_twice, untidy
from bench.chaos.scene import Scene, Subject
from tests.sweeping import ROOT

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which(os.environ.get("CC", "cc")) is None,
    reason="faults are put in by a C library, on Linux",
)
WRITER = """
import os, sys
folder = sys.argv[1]
os.mkdir(folder)
with open(folder + "/a.tmp", "wb") as file:
    file.write(b"x")
    file.flush()
    os.fsync(file.fileno())
os.replace(folder + "/a.tmp", folder + "/a")
os.unlink(folder + "/a")
print("end")
"""
CALLS = ["mkdir", "open", "write", "fsync", "rename", "unlink"]  # which the writer makes, as strace shows them


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("library") / "calls.so"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-shared", SOURCE, "-o", path, "-ldl"], check=True
    )
    return path


def struck(library: Path, folder: Path, **settings: object) -> tuple[subprocess.CompletedProcess, list[str]]:
    """The writer with these settings, and the calls that were listed."""
    count, calls = folder.parent / "count", folder.parent / "calls"
    count.write_bytes(bytes(16))
    calls.write_bytes(b"")
    environment = {"LD_PRELOAD": str(library), "CHAOS_FOLDER": str(folder), "CHAOS_COUNT": str(count)}
    environment |= {"CHAOS_CALLS": str(calls)} | {f"CHAOS_{name}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", WRITER, folder], env=os.environ | environment, capture_output=True, text=True
    )
    return done, calls.read_text().splitlines()


def test_calls_that_write_are_listed(library, tmp_path):
    folder = tmp_path / "folder"
    done, calls = struck(library, folder)
    assert done.stdout == "end\n"
    names = ["folder", "folder/a.tmp", "folder/a.tmp", "folder/a.tmp", "folder/a", "folder/a"]
    assert calls == [f"{call} {tmp_path}/{name}" for call, name in zip(CALLS, names, strict=True)]


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_is_killed_before_or_after_a_call(when, number, library, tmp_path):
    done, calls = struck(library, tmp_path / "folder", FAULT=when, AT=number)
    assert (done.returncode, len(calls)) == (-9, number + 1)
    made = number + (when == "after")
    exists = {path.name for path in tmp_path.rglob("*")} & {"folder", "a.tmp", "a"}
    assert exists == ({"folder"} if made else set()) | ({"a.tmp"} if 2 <= made <= 4 else {"a"} if made == 5 else set())


@pytest.mark.parametrize(
    ("fault", "at", "error"),
    [
        ("full", 2, "No space left on device"),
        ("full", 4, ""),  # renaming and removing take no space
        ("read-only", 4, "Read-only file system"),
        ("vanish", 4, "No such file or directory"),
    ],
)
def test_a_disk_fails_from_a_call_on(fault, at, error, library, tmp_path):
    done, _ = struck(library, tmp_path / "folder", FAULT=fault, AT=at, GONE=tmp_path / "folder")
    assert error in done.stderr
    assert (done.returncode == 0) == (error == "")


@pytest.mark.parametrize(
    ("fault", "at", "strikes"),
    [
        ("before", 5, True),
        ("after", 5, True),
        ("before", 6, False),  # the writer makes six calls
        ("read-only", 6, False),
        ("full", 3, True),
        ("full", 4, False),
        ("vanish", 1, True),
        ("vanish", 0, False),  # the folder is not there yet
    ],
)
def test_the_library_says_whether_a_fault_struck(fault, at, strikes, library, tmp_path):
    struck(library, tmp_path / "folder", FAULT=fault, AT=at, GONE=tmp_path / "folder")
    assert int.from_bytes((tmp_path / "count").read_bytes()[8:], sys.byteorder) == strikes


@pytest.mark.parametrize("faults", [calls.kills, calls.disks])
def test_a_fault_that_struck_nothing_is_no_trial(faults, tmp_path, monkeypatch):
    search = Subject(
        name="search", begins=Path.mkdir, arguments=lambda results: (), expected={}, calls=["open a"] * 3,
        differ=differences,
    )  # fmt: skip
    ended = [Ended(code=0, out="", err="", struck=number > 1) for number in range(4)]
    monkeypatch.setattr(calls, "subjects", lambda scene: [search])
    monkeypatch.setattr(Subject, "strike", lambda *_: ended.pop(0))
    monkeypatch.setattr(Subject, "again", lambda *_: [])
    assert len(list(faults(Scene(tmp_path, random.Random(0)), 2))) == 2
    assert ended == []


def row(name: str, tried: int) -> Row:
    return Row(name=name, what=name, holds="-", tried=tried, survived=tried, seed=0, host="a host", commit="0" * 40)


def test_the_table_is_made_in_parts(tmp_path):
    names = ("kills", "calls", "disks")
    merged([row("disks", 5), row("calls", 4)], names, tmp_path)
    merged([row("kills", 3)], names, tmp_path)
    rows = merged([row("calls", 6)], names, tmp_path)
    assert rows == [row("kills", 3), row("calls", 6), row("disks", 5)]
    written = (tmp_path / "table.md").read_text()
    assert written == markdown(rows)
    assert written.count("| calls |") == 1
    assert "| calls | - | 6 | 6 |" in written


def make(results: Path) -> Path:
    """Results of one run."""
    folder = results / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"top1": 0.5, "start": "2026-01-01", "latency_seconds": 1.0}')
    (folder / "curve.csv").write_text("epoch,validation_top1,seconds\n1,0.5,2.0\n")
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "log").write_text("2026-01-01T00:00:00+00:00 epoch 1: {'seconds': 2.0}\n")
    return folder


def test_times_are_no_difference(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / "record.json").write_text('{"top1": 0.5, "start": "2026-01-02", "latency_seconds": 2.0}')
    (other / "curve.csv").write_text("epoch,validation_top1,seconds\n1,0.5,3.0\n")
    (other / "log").unlink()
    assert differences(left(one.parent), left(other.parent)) == []


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("record.json", '{"top1": 0.6}', "differs"),
        ("curve.csv", "epoch,validation_top1,seconds\n1,0.6,2.0\n", "differs"),
        ("weights.safetensors", "other weights", "differs"),
        (".record.json.5.tmp", "", "should not be there"),
        ("weights.safetensors", None, "is missing"),
    ],
)
def test_other_files_are_differences(name, content, found, tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    path = other / name
    path.unlink() if content is None else path.write_text(content)
    assert differences(left(one.parent), left(other.parent)) == [f"{other.name}/{name} {found}"]


def test_a_search_may_choose_other_networks_but_no_other_bits(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    make(tmp_path / "other/b")
    (other / "record.json").write_text('{"top1": 0.6}')
    assert differences_of_search(left(one.parent), left(other.parent)) == []
    (other / "weights.safetensors").write_bytes(b"others")
    (other / ".record.json.5.tmp").touch()
    assert differences_of_search(left(one.parent), left(other.parent)) == [
        f"{other.name}/weights.safetensors differs",
        f"{other.name}/.record.json.5.tmp should not be there",
    ]


def test_an_epoch_that_was_trained_twice_is_counted_once_however_often_it_was_logged(tmp_path):
    log = make(tmp_path) / "log"
    assert trained_twice(tmp_path) == 0
    log.write_text(log.read_text() + "2026-01-01T00:00:09+00:00 epoch 1: {'seconds': 2.0}\n")
    assert trained_twice(tmp_path) == 0  # the same epoch, from its checkpoint
    log.write_text(log.read_text() + "2026-01-01T00:00:09+00:00 epoch 1: {'seconds': 2.5}\n")
    assert trained_twice(tmp_path) == 1


def test_a_traceback_more_than_a_line_and_another_exit_code_are_untidy():
    assert untidy(Ended(code=1, out="", err="sweep: a line\n"), (1,)) == []
    assert len(untidy(Ended(code=2, out="", err="sweep: a line\n"), (1,))) == 1
    assert len(untidy(Ended(code=1, out="", err="sweep: a line\nand another\n"), (1,))) == 1
    assert len(untidy(Ended(code=1, out="", err="Traceback (most recent call last):\n  x\nKeyError\n"), (1,))) == 1


def test_a_command_may_write_into_its_copy_and_its_own_output_alone():
    within = ["open /scene/1/results/a", "mkdir /scene/1", "write /var/tmp/chaos-own/out", "open /dev/null"]
    others = ["write /var/tmp/chaos-other/out", "open /scene/10/a", "open /scene/1/../whole/a", "unlink /scene/whole/a"]
    ended = Ended(code=0, out="", err="", calls=[*within, *others], scratch=Path("/var/tmp/chaos-own"))
    assert damage._outside(ended, Path("/scene/1")) == others


def test_a_trial_of_each_kind_holds():
    done = subprocess.run(
        [sys.executable, "-m", "bench.chaos", "--most", "1"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout[done.stdout.index("| fault") :].strip().splitlines()[2:]
    assert len(table) == 12
    assert all(line.endswith("| 1 | 1 |") for line in table)
