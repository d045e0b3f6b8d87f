"""Faults on purpose: the library that puts them in, what counts as a trial, and a few trials of each kind."""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from bench.chaos import calls, damage, kills, mutations
from bench.chaos.__main__ import Fault, Row, _tried, held, markdown, merged
from bench.chaos.commands import SOURCE, Ended
from bench.chaos.results import differences
from bench.chaos.scene import Scene, Subject, Trial, attempt
from fire.train import checkpoints
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


RELATIVE = """
import os, sys
os.chdir(sys.argv[1])
os.mkdir("a")
open("a/b", "w").close()
os.truncate("a/b", 0)
os.link("a/b", "a/c")
os.symlink("b", "a/d")
os.rename("a/c", "a/e")
os.unlink("a/e")
"""


def test_calls_with_relative_paths_are_listed_with_whole_ones(library, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.WRITER", RELATIVE)
    (tmp_path / "folder").mkdir()
    _, calls = struck(library, tmp_path / "folder")
    made = ["mkdir a", "open a/b", "truncate a/b", "link a/c", "link a/d", "rename a/e", "unlink a/e"]
    assert calls == [f"{call} {tmp_path}/folder/{path}" for call, path in (each.split() for each in made)]


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


@pytest.mark.parametrize(("made", "wrong"), [((), []), (("a/b",), ["results made anew, with a/b"]), (("a/",), [])])
def test_a_folder_that_vanished_comes_back_as_it_was(made, wrong, tmp_path):
    gone, away = tmp_path / "results", tmp_path / "results.gone"
    away.mkdir()
    (away / "own").touch()
    for name in made:
        (gone / name).parent.mkdir(parents=True)
        (gone / name).mkdir() if name.endswith("/") else (gone / name).touch()
    assert calls.returned(gone) == wrong
    assert [path.name for path in gone.iterdir()] == ["own"]
    assert calls.returned(gone) == []  # nothing had vanished


@pytest.mark.parametrize(
    ("name", "listed", "begun"),
    [
        ("run", ["mkdir results", "open results", "fsync #1 (deleted)", "mkdir results"], False),
        ("run", ["mkdir results", "open results", "fsync #1 (deleted)", "mkdir results", "open results"], True),
        ("search", ["open results", "open results", "open sweeps/.search.json.5.tmp"], False),
        ("search", ["open results", "rename sweeps/search.json"], True),
    ],
)
def test_when_a_run_has_begun(name, listed, begun):
    each = Subject(name=name, begins=Path.mkdir, arguments=lambda _: (), expected={}, calls=[], differ=differences)
    assert calls._begun(each, listed) == begun


def test_a_process_that_is_not_there_yet_cannot_be_killed():
    class Begun:
        process = 2**30  # there is none

        def poll(self) -> bool:
            return False

        def alive(self) -> list[int]:
            return []

    assert not any(kills._kill(Begun(), victim) for victim in kills.VICTIMS)


def test_a_trial_that_raises_has_not_held():
    assert attempt("a", lambda: json.loads("{")) == [
        Trial(
            what="a",
            wrong=["JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
        )
    ]
    assert attempt("a", lambda: None) == []
    assert attempt("a", list) == [Trial(what="a", wrong=[])]


def test_a_fault_that_cannot_be_tried_has_not_held(capsys):
    def trials(scene: Scene, wanted: int):
        raise RuntimeError("a run, with nothing in its way: exit code 1")
        yield

    fault = Fault(name="a", what="a", holds="a", trials=trials, sample=3, full=3)
    tried = _tried(fault, argparse.Namespace(full=True, most=None, seed=0))
    assert (tried.tried, tried.survived) == (1, 0)
    assert "with nothing in its way" in capsys.readouterr().err


def test_a_row_without_trials_has_not_held():
    assert held(row("a", 3))
    assert not held(row("a", 0))
    assert not held(dataclasses.replace(row("a", 3), survived=2))


def test_a_mutation_changes_what_a_file_says():
    content = b'{"a": 1}'
    drawn = iter([content, b'{"a":  1}', b'{"a": 2}', b""])
    assert mutations.other(lambda *_: next(drawn), content, random.Random(0)) == b'{"a": 2}'


def test_a_signed_checkpoint_is_read_past_its_digest(tmp_path):
    whole = mutations.with_digest(b"state" * 100)
    changed = mutations.signed(whole, random.Random(0))
    assert changed != whole
    assert checkpoints._verified(changed) != checkpoints._verified(whole)


@pytest.mark.parametrize("zipped", [False, True])
def test_the_harm_of_a_pickle_is_done_where_torch_is_careless(zipped, tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(damage.harm(tmp_path / "harm", 2, zipped))
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("zipped", [False, True])
def test_a_harmful_checkpoint_is_refused_without_a_warning_or_harm(zipped, tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(mutations.with_digest(damage.harm(tmp_path / "harm", 4, zipped)))
    with warnings.catch_warnings(record=True, action="always") as said, pytest.raises(checkpoints.CheckpointError):
        checkpoints.read(path, 3)
    assert not said
    assert not (tmp_path / "harm").exists()


def test_a_search_is_struck_at_some_of_its_calls(tmp_path):
    made = [
        Subject(
            name=name, begins=Path.mkdir, arguments=lambda _: (), expected={}, calls=["a"] * 300, differ=differences
        )
        for name in ("run", "search")
    ]
    chosen = calls._shuffled(Scene(tmp_path, random.Random(0)), made, ("before", "after"))
    assert [sum(each.name == name for each, *_ in chosen) for name in ("run", "search")] == [600, 200]


def test_a_command_may_write_into_its_copy_and_its_own_output_alone():
    within = ["open /scene/1/results/a", "mkdir /scene/1", "write /var/tmp/chaos-own/out", "open /dev/null"]
    others = ["write /var/tmp/chaos-other/out", "open /scene/10/a", "open /scene/1/../whole/a", "unlink /scene/whole/a"]
    ended = Ended(code=0, out="", err="", calls=[*within, *others], scratch=Path("/var/tmp/chaos-own"))
    assert damage._outside(ended, Path("/scene/1")) == others


def test_a_trial_of_each_kind_holds():
    done = subprocess.run(
        [sys.executable, "-m", "bench.chaos", "--most", "1"], cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout[done.stdout.index("| fault") :].strip().splitlines()[2:]
    assert len(table) == 12
    assert all(line.endswith("| 1 | 1 |") for line in table)
